/* Messages with descriptors over unix sockets (SCM_RIGHTS, unix(7)).
 * Every received descriptor is close-on-exec and owned by the caller at once, so that a message
 * that turns out to be wrong can never leak one. */
#pragma once

#include "proto/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* SCM_MAX_FD of the kernel is 253; no message of ours needs more than this. */
#define FD_PASSING_MAX 64

struct fd_set_passed {
	int fds[FD_PASSING_MAX];
	size_t count;
};

/* Closes what is still in SET. */
void fd_set_passed_done(struct fd_set_passed *set);

/* Sends LENGTH bytes (at least 1) and COUNT descriptors, which stay the caller's, in one
 * sendmsg(2) with MSG_NOSIGNAL. Blocks only if SOCKET does.
 * Returns the bytes sent (fewer than LENGTH on a stream is possible; the descriptors are then
 * sent), or a negative errno, -EAGAIN among them. */
ssize_t fd_send(int socket, const void *bytes, size_t length, const int *fds, size_t count);

/* Who the kernel says has sent a message: with SO_PASSPIDFD (6.5) a pidfd, with SO_PASSCRED a pid.
 * A sender with CAP_SYS_ADMIN may claim another's pid, but not another's pidfd. */
struct message_sender {
	int pidfd; /* owned by the caller; -1: the kernel does not say */
	pid_t pid; /* 0: it does not say */
};

/* Makes a listening SOCKET, and those that are accepted from it, say who sends each message.
 * Returns true when that is a pidfd, false when it is only a pid. */
bool fd_receive_wants_sender(int socket);

/* As fd_receive(), and says in *RET_SENDER who has sent; the kernel never puts the bytes of two
 * senders into one read. */
ssize_t fd_receive_from(int socket, void *bytes, size_t size, struct fd_set_passed *ret_set,
	struct message_sender *ret_sender);

/* Receives up to SIZE bytes and the descriptors that came with them into *RET_SET, which the caller
 * empties with fd_set_passed_done(). Blocks only if SOCKET does.
 * Returns the bytes received, 0 at the end of the stream, or a negative errno; -EBADMSG when the
 * kernel cut the message or its descriptors (all that came are closed). */
ssize_t fd_receive(int socket, void *bytes, size_t size, struct fd_set_passed *ret_set);
