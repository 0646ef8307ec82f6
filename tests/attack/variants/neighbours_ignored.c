/* Naive control: another container below the victim's cgroup is not told from it. */
#define known_containers_cross checked_known_containers_cross
#include "daemon/broker/identity/known_containers.c"
#undef known_containers_cross

bool known_containers_cross(const struct known_containers *known, const struct cgroup_chain *chain,
	const struct cgroup_identity *own);

bool known_containers_cross(const struct known_containers *known, const struct cgroup_chain *chain,
	const struct cgroup_identity *own)
{
	(void)known;
	(void)chain;
	(void)own;
	return false;
}
