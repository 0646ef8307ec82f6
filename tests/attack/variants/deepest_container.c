/* Naive control: the innermost cgroup that is a container's says who somebody is, whatever is around
 * it. */
#define known_containers_outermost checked_known_containers_outermost
#define known_containers_cross	   checked_known_containers_cross
#include "daemon/broker/identity/known_containers.c"
#undef known_containers_outermost
#undef known_containers_cross

const char *known_containers_outermost(const struct known_containers *known,
	const struct cgroup_chain *chain, unsigned *ret_engine,
	struct cgroup_identity *ret_identity);
bool known_containers_cross(const struct known_containers *known, const struct cgroup_chain *chain,
	const struct cgroup_identity *own);

const char *known_containers_outermost(const struct known_containers *known,
	const struct cgroup_chain *chain, unsigned *ret_engine,
	struct cgroup_identity *ret_identity)
{
	struct cgroup_chain leaf = { .hierarchy = chain->hierarchy, .depth = 1 };
	const char *id = NULL;

	for (size_t i = chain->depth; i > 0 && !id; i--) {
		leaf.ids[0] = chain->ids[i - 1];
		id = checked_known_containers_outermost(known, &leaf, ret_engine, ret_identity);
	}
	return id;
}

bool known_containers_cross(const struct known_containers *known, const struct cgroup_chain *chain,
	const struct cgroup_identity *own)
{
	(void)known;
	(void)chain;
	(void)own;
	return false;
}
