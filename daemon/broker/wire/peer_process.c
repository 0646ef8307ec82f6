#include "daemon/broker/wire/peer_process.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

pid_t process_pid(int pidfd)
{
	char path[48], text[512];
	AUTO_FD info = -1;
	ssize_t length;
	const char *line;

	(void)snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	length = info < 0 ? -1 : read(info, text, sizeof text - 1);
	if (length < 0)
		return -1;
	text[length] = '\0';
	line = strstr(text, "\nPid:");
	return line ? (pid_t)atoi(line + 5) : -1;
}

bool process_ids_are_unique(void)
{
	AUTO_FD self = (int)syscall(SYS_pidfd_open, getpid(), 0);
	struct statfs file_system;

	return self >= 0 && fstatfs(self, &file_system) == 0 &&
	       file_system.f_type == PIDFS_MAGIC_6_9;
}

uint64_t process_unique_id(int pidfd)
{
	struct stat status;

	return fstat(pidfd, &status) == 0 ? status.st_ino : 0;
}
