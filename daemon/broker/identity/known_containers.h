/* Every running container that an engine has told of, also those without a secret: an opener that
 * is below another container's cgroup is that container, whoever's cgroup it was started in. Loop
 * thread only; does no I/O. */
#pragma once

#include "daemon/broker/identity/cgroup_identity.h"

#include <stdbool.h>
#include <stddef.h>

struct known_containers;

struct known_containers *known_containers_new(void);
void known_containers_free(struct known_containers *known);

/* Adds or replaces the container ID of engine number ENGINE. */
void known_containers_add(struct known_containers *known, unsigned engine, const char *id,
	const struct cgroup_identity *identity);
void known_containers_remove(struct known_containers *known, const char *id);
/* Before an engine tells everything anew. */
void known_containers_forget_engine(struct known_containers *known, unsigned engine);
size_t known_containers_count(const struct known_containers *known);

/* The outermost known container on CHAIN: the one that whoever is there belongs to, whatever
 * cgroups it has made inside. Its id is valid until the next change of KNOWN; NULL: there is none.
 */
const char *known_containers_outermost(const struct known_containers *known,
	const struct cgroup_chain *chain, unsigned *ret_engine,
	struct cgroup_identity *ret_identity);

/* True when CHAIN passes through a known container other than that of OWN: at any level, so that
 * neither a container started below another one's cgroup nor one with a cgroup of its own inside
 * counts as the other. */
bool known_containers_cross(const struct known_containers *known, const struct cgroup_chain *chain,
	const struct cgroup_identity *own);
