#include "daemon/broker/identity/opener_verdict.h"

#include <stddef.h>

bool opener_may_read(const struct opener_facts *facts)
{
	return opener_failed_fact(facts) == NULL;
}

const char *opener_failed_fact(const struct opener_facts *facts)
{
	if (!facts->through_own_mount)
		return "it came through another mount than the container's own";
	if (!facts->in_cgroup)
		return "it is not in the container's cgroup, or in another container's";
	if (!facts->in_mount_namespace)
		return "it is not in the container's mount namespace";
	if (!facts->is_alive)
		return "it has ended";
	return NULL;
}
