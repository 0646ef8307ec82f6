#include "daemon/broker/identity/known_containers.h"

#include "daemon/broker/identity/container_facts.h"

#include <assert.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

/* In two trees of tsearch(3): by container id, and by place in the cgroup tree. */
struct known_container {
	char id[CONTAINER_ID_LENGTH + 1];
	unsigned engine;
	struct cgroup_identity identity;
	struct known_container *next, *previous;
};

struct known_containers {
	void *by_id;
	void *by_place;
	struct known_container *first;
	size_t count;
};

static int compare_ids(const void *a, const void *b)
{
	return strcmp(
		((const struct known_container *)a)->id, ((const struct known_container *)b)->id);
}

static int compare_places(const void *a, const void *b)
{
	const struct cgroup_identity *left = &((const struct known_container *)a)->identity;
	const struct cgroup_identity *right = &((const struct known_container *)b)->identity;

	if (left->hierarchy != right->hierarchy)
		return left->hierarchy < right->hierarchy ? -1 : 1;
	return (left->id > right->id) - (left->id < right->id);
}

struct known_containers *known_containers_new(void)
{
	return calloc(1, sizeof(struct known_containers));
}

static void forget(struct known_containers *known, struct known_container *container)
{
	(void)tdelete(container, &known->by_id, compare_ids);
	(void)tdelete(container, &known->by_place, compare_places);
	if (container->next)
		container->next->previous = container->previous;
	if (container->previous)
		container->previous->next = container->next;
	else
		known->first = container->next;
	known->count--;
	free(container);
}

void known_containers_free(struct known_containers *known)
{
	if (!known)
		return;
	while (known->first)
		forget(known, known->first);
	free(known);
}

static struct known_container *find(const struct known_containers *known, const char *id)
{
	struct known_container wanted = { 0 };
	struct known_container **found;

	(void)strncpy(wanted.id, id, sizeof wanted.id - 1);
	found = tfind(&wanted, (void *const *)&known->by_id, compare_ids);
	return found ? *found : NULL;
}

void known_containers_add(struct known_containers *known, unsigned engine, const char *id,
	const struct cgroup_identity *identity)
{
	struct known_container *container;
	struct known_container **placed;

	known_containers_remove(known, id);
	container = calloc(1, sizeof *container);
	/* Without this table nothing can be attested; a process that cannot have 150 bytes must
	 * end. */
	assert(container);
	(void)strncpy(container->id, id, sizeof container->id - 1);
	container->engine = engine;
	container->identity = *identity;
	placed = tsearch(container, &known->by_place, compare_places);
	assert(placed);
	if (*placed != container) {
		/* The place of a container that has ended without our hearing of it. */
		forget(known, *placed);
		(void)tsearch(container, &known->by_place, compare_places);
	}
	(void)tsearch(container, &known->by_id, compare_ids);
	container->next = known->first;
	if (known->first)
		known->first->previous = container;
	known->first = container;
	known->count++;
}

void known_containers_remove(struct known_containers *known, const char *id)
{
	struct known_container *container = find(known, id);

	if (container)
		forget(known, container);
}

void known_containers_forget_engine(struct known_containers *known, unsigned engine)
{
	struct known_container *next;

	for (struct known_container *container = known->first; container; container = next) {
		next = container->next;
		if (container->engine == engine)
			forget(known, container);
	}
}

size_t known_containers_count(const struct known_containers *known)
{
	return known->count;
}

const char *known_containers_outermost(const struct known_containers *known,
	const struct cgroup_chain *chain, unsigned *ret_engine,
	struct cgroup_identity *ret_identity)
{
	struct known_container wanted = { .identity.hierarchy = chain->hierarchy };

	for (size_t i = 0; i < chain->depth; i++) {
		struct known_container **found;

		wanted.identity.id = chain->ids[i];
		found = tfind(&wanted, (void *const *)&known->by_place, compare_places);
		if (!found)
			continue;
		*ret_engine = (*found)->engine;
		*ret_identity = (*found)->identity;
		return (*found)->id;
	}
	return NULL;
}

bool known_containers_cross(const struct known_containers *known, const struct cgroup_chain *chain,
	const struct cgroup_identity *own)
{
	struct known_container wanted = { .identity.hierarchy = chain->hierarchy };

	for (size_t i = 0; i < chain->depth; i++) {
		wanted.identity.id = chain->ids[i];
		if (own->hierarchy == chain->hierarchy && own->id == chain->ids[i])
			continue;
		if (tfind(&wanted, (void *const *)&known->by_place, compare_places))
			return true;
	}
	return false;
}
