/* Naive control: starts in any pid and cgroup namespace, where nothing that it reads is true of
 * others. */
#define cgroup_roots_open checked_cgroup_roots_open
#include "daemon/broker/identity/cgroup_identity.c"
#undef cgroup_roots_open

int cgroup_roots_open(struct cgroup_roots *ret_roots, struct mayfly_error *err);

int cgroup_roots_open(struct cgroup_roots *ret_roots, struct mayfly_error *err)
{
	if (checked_cgroup_roots_open(ret_roots, err) == 0)
		return 0;
	*ret_roots =
		(struct cgroup_roots){ .proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC) };
	for (int i = 0; i < CGROUP_HIERARCHIES; i++)
		ret_roots->roots[i] =
			hierarchies[i].path ? open_directory(hierarchies[i].path) : -1;
	return 0;
}
