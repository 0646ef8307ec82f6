#include "daemon/broker/identity/host_process.h"

#include "daemon/broker/identity/container_process.h"
#include "daemon/broker/wire/peer_process.h"
#include "proto/cleanup.h"

#include <errno.h>

static bool is_in_container(const struct cgroup_roots *roots, const struct known_containers *known,
	pid_t pid, int pidfd)
{
	const struct cgroup_identity none = { .hierarchy = CGROUP_NONE };
	struct cgroup_chain chain;
	const int r = cgroup_chain_read(roots, pid, pidfd, CGROUP_NONE, &chain);

	/* At the root of the tree: in no container. */
	return r == 0 ? known_containers_cross(known, &chain, &none) : r != -ENOENT;
}

bool host_process_is_peer(
	const struct cgroup_roots *roots, const struct known_containers *known, int socket)
{
	struct process_status status;
	struct mayfly_error err;
	pid_t pid = 0;
	bool is_proved; /* before 6.5 one that has got its number is taken for it */
	AUTO_FD pidfd = peer_process_open(socket, &pid, &is_proved);

	return pidfd >= 0 && pid > 0 && process_status_read(roots, pid, &status, &err) == 0 &&
	       !status.is_in_pid_namespace && !is_in_container(roots, known, pid, pidfd) &&
	       process_is_alive(pidfd);
}
