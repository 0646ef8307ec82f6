#include "daemon/broker/identity/peer_verdict.h"

#include <stddef.h>

bool peer_is_container(const struct peer_facts *facts)
{
	return peer_failed_fact(facts) == NULL;
}

const char *peer_failed_fact(const struct peer_facts *facts)
{
	/* First: of who has ended nothing else is true. */
	if (!facts->is_alive)
		return "the process that has connected has ended";
	if (!facts->init_is_alive)
		return "its container has ended";
	if (!facts->in_cgroup)
		return "it is not in the cgroup of the container's init, or in another container's";
	if (!facts->in_mount_namespace)
		return "it is not in the mount namespace of the container's init: a container "
		       "inside a container, or a process from outside";
	if (!facts->in_pid_namespace)
		return "it is not in the pid namespace of the container's init: a container inside "
		       "a container, or a process from outside";
	if (!facts->cgroups_are_read_only)
		return "its container can write to a cgroup file system, and so could put itself "
		       "into another container's cgroup; mount it read-only";
	return NULL;
}
