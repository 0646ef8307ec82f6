/* Naive control: whom a socket's mode lets in is who it says. */
#include "daemon/broker/identity/host_process.h"

bool host_process_is_peer(
	const struct cgroup_roots *roots, const struct known_containers *known, int socket)
{
	(void)roots;
	(void)known;
	(void)socket;
	return true;
}
