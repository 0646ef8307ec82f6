#include "daemon/broker/wire/peer_process.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Newer than the headers of Debian 12. */
#define SO_PEERPIDFD_6_5 77
#define PIDFS_MAGIC_6_9	 0x50494446

int peer_process_open(int socket, pid_t *ret_pid, bool *ret_is_proved)
{
	struct ucred peer;
	socklen_t length = sizeof peer;
	int pidfd = -1;

	if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0)
		return -errno;
	*ret_pid = peer.pid;
	length = sizeof pidfd;
	*ret_is_proved = getsockopt(socket, SOL_SOCKET, SO_PEERPIDFD_6_5, &pidfd, &length) == 0;
	if (*ret_is_proved)
		return pidfd;
	if (errno != ENOPROTOOPT)
		return -errno;
	pidfd = (int)syscall(SYS_pidfd_open, peer.pid, 0);
	return pidfd < 0 ? -errno : pidfd;
}

uint64_t process_unique_id(int pidfd)
{
	struct statfs file_system;
	struct stat status;

	if (fstatfs(pidfd, &file_system) != 0 || file_system.f_type != PIDFS_MAGIC_6_9 ||
		fstat(pidfd, &status) != 0)
		return 0;
	return status.st_ino;
}
