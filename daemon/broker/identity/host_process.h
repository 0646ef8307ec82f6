/* Is the caller at one of our sockets a process of the host? Whoever gives a container a directory
 * with our sockets (`-v /run:/x`) makes its root the operator, and the engine: by the sockets' mode
 * it is root. Loop thread only. */
#pragma once

#include "daemon/broker/identity/cgroup_identity.h"
#include "daemon/broker/identity/known_containers.h"

#include <stdbool.h>

/* Of the process that has made the connection SOCKET: false when it is in a pid namespace other
 * than the host's, in the cgroup of a known container, or has ended. Reads /proc. */
bool host_process_is_peer(
	const struct cgroup_roots *roots, const struct known_containers *known, int socket);
