#include "proto/fd_passing.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

void fd_set_passed_done(struct fd_set_passed *set)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->fds[i] >= 0)
			/* Only released; nothing was written through it. */
			(void)close(set->fds[i]);
	set->count = 0;
}

ssize_t fd_send(int socket, const void *bytes, size_t length, const int *fds, size_t count)
{
	union {
		char buffer[CMSG_SPACE(sizeof(int) * FD_PASSING_MAX)];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec part = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = length };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t sent;

	if (count > FD_PASSING_MAX)
		return -E2BIG;
	if (count > 0) {
		struct cmsghdr *header;

		message.msg_control = control.buffer;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int) * count);
		memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
	}
	do
		sent = sendmsg(socket, &message, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}

static void collect(struct msghdr *message, struct fd_set_passed *set)
{
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
		header = CMSG_NXTHDR(message, header)) {
		size_t count;

		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		/* The control buffer has room for FD_PASSING_MAX, so the kernel sends no more. */
		memcpy(set->fds + set->count, CMSG_DATA(header), count * sizeof(int));
		set->count += count;
	}
}

ssize_t fd_receive(int socket, void *bytes, size_t size, struct fd_set_passed *ret_set)
{
	union {
		char buffer[CMSG_SPACE(sizeof(int) * FD_PASSING_MAX)];
		struct cmsghdr align;
	} control;
	struct iovec part = { .iov_base = bytes, .iov_len = size };
	struct msghdr message = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.buffer,
		.msg_controllen = sizeof control.buffer };
	ssize_t received;

	ret_set->count = 0;
	do
		received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (received < 0 && errno == EINTR);
	if (received < 0)
		return -errno;
	collect(&message, ret_set);
	if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		fd_set_passed_done(ret_set);
		return -EBADMSG;
	}
	return received;
}
