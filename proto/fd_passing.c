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

/* Newer than the headers of Debian 12. */
#define SO_PASSPIDFD_6_5 76
#define SCM_PIDFD_6_5	 0x04

static void note_sender(const struct cmsghdr *header, struct message_sender *sender)
{
	struct ucred credentials;

	if (header->cmsg_type == SCM_CREDENTIALS &&
		header->cmsg_len == CMSG_LEN(sizeof credentials)) {
		memcpy(&credentials, CMSG_DATA(header), sizeof credentials);
		sender->pid = credentials.pid;
	}
	if (header->cmsg_type == SCM_PIDFD_6_5 && header->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&sender->pidfd, CMSG_DATA(header), sizeof(int));
}

static void collect(
	struct msghdr *message, struct fd_set_passed *set, struct message_sender *sender)
{
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
		header = CMSG_NXTHDR(message, header)) {
		size_t count;

		if (header->cmsg_level != SOL_SOCKET)
			continue;
		if (header->cmsg_type != SCM_RIGHTS) {
			note_sender(header, sender);
			continue;
		}
		count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		/* More than fits into a set is cut by the kernel or here, and closed. */
		for (; set->count + count > FD_PASSING_MAX; count--)
			(void)close(((const int *)(const void *)CMSG_DATA(header))[count - 1]);
		memcpy(set->fds + set->count, CMSG_DATA(header), count * sizeof(int));
		set->count += count;
	}
}

bool fd_receive_wants_sender(int socket)
{
	const int on = 1;

	/* Cannot fail on a unix socket. */
	(void)setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
	return setsockopt(socket, SOL_SOCKET, SO_PASSPIDFD_6_5, &on, sizeof on) == 0;
}

ssize_t fd_receive(int socket, void *bytes, size_t size, struct fd_set_passed *ret_set)
{
	struct message_sender sender;
	const ssize_t received = fd_receive_from(socket, bytes, size, ret_set, &sender);

	if (sender.pidfd >= 0)
		(void)close(sender.pidfd);
	return received;
}

ssize_t fd_receive_from(int socket, void *bytes, size_t size, struct fd_set_passed *ret_set,
	struct message_sender *ret_sender)
{
	union {
		char buffer[CMSG_SPACE(sizeof(int) * FD_PASSING_MAX) +
			    CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec part = { .iov_base = bytes, .iov_len = size };
	struct msghdr message = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.buffer,
		.msg_controllen = sizeof control.buffer };
	ssize_t received;

	ret_set->count = 0;
	*ret_sender = (struct message_sender){ .pidfd = -1 };
	do
		received = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
	while (received < 0 && errno == EINTR);
	if (received < 0)
		return -errno;
	collect(&message, ret_set, ret_sender);
	if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		if (ret_sender->pidfd >= 0)
			(void)close(ret_sender->pidfd);
		ret_sender->pidfd = -1;
		fd_set_passed_done(ret_set);
		return -EBADMSG;
	}
	return received;
}
