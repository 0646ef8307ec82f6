/* Where a process is in the cgroup tree, as kernel ids. A path is only a way to the ids of its
 * directories; no decision rests on what a path says. Pre-opened directories: works behind the
 * sandbox, in the host's cgroup namespace only. */
#pragma once

#include "proto/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CGROUP_DEPTH_MAX 32

/* Descriptors of the hierarchies' roots. Version 2 is asked first; where a runtime leaves it at its
 * root (version 1 hosts), the version 1 hierarchies in this order. */
enum cgroup_hierarchy {
	CGROUP_NONE = 0,
	CGROUP_V2,
	CGROUP_V1_SYSTEMD,
	CGROUP_V1_PIDS,
	CGROUP_V1_MEMORY,
	CGROUP_HIERARCHIES,
};

struct cgroup_roots {
	int proc;
	int roots[CGROUP_HIERARCHIES]; /* -1: not mounted */
	bool is_v2_only;
};

/* Inode numbers from just below the root (outermost) to the leaf; in version 2 they are the
 * kernel's cgroup ids. */
struct cgroup_chain {
	enum cgroup_hierarchy hierarchy;
	uint64_t ids[CGROUP_DEPTH_MAX];
	size_t depth;
	bool is_of_root; /* root has made every one: in a subtree that is delegated, a user makes any */
};

/* The directory of a container in its hierarchy. */
struct cgroup_identity {
	enum cgroup_hierarchy hierarchy;
	uint64_t id;
};

/* Opens /proc and the hierarchies below /sys/fs/cgroup. Before the sandbox.
 * -EREMOTE when this process is not in the host's cgroup or pid namespace: then nothing it reads is
 * true of others. */
int cgroup_roots_open(struct cgroup_roots *ret_roots, struct mayfly_error *err);

/* The chain of PID in HIERARCHY, or for CGROUP_NONE in the first one where PID is below the root.
 * The caller pins PID by a pidfd and confirms afterwards that it lives. In version 2 with PIDFD (>=
 * 0) on kernels that have PIDFD_GET_INFO the leaf must be the id that the kernel gives there.
 * Returns 0; -ESRCH; -ENOENT for a process at the root ("no identity"); -ELOOP beyond the depth. */
int cgroup_chain_read(const struct cgroup_roots *roots, pid_t pid, int pidfd,
	enum cgroup_hierarchy hierarchy, struct cgroup_chain *ret_chain);

/* The identity of the container CONTAINER_ID whose init is PID: of init's own ancestors the
 * outermost that the engine named after the container, else init's leaf (an init that moves itself
 * deeper, as systemd does, stays recognised). */
int cgroup_identity_of(const struct cgroup_roots *roots, pid_t pid, int pidfd,
	const char *container_id, struct cgroup_identity *ret_identity);

/* True when IDENTITY is in CHAIN. */
bool cgroup_chain_has(const struct cgroup_chain *chain, const struct cgroup_identity *identity);

/* True when a line of /proc/PID/cgroup has 64 hex digits in a row: a container's id, as engines name
 * their cgroups. Good enough to wait for the engine's word; never a reason to allow. */
bool cgroup_names_a_container(const struct cgroup_roots *roots, pid_t pid);

/* True when a line of /proc/PID/cgroup has a component that names CONTAINER_ID. Good enough to
 * refuse early whoever cannot be in that container; never a reason to allow. */
bool cgroup_mentions(const struct cgroup_roots *roots, pid_t pid, const char *container_id);
