/* One connection to the container socket: messages that end in a NUL, both ways, within a deadline.
 * Knows nothing of what is in them. Takes no descriptors: what is passed along is dropped by the
 * kernel. Never raises SIGPIPE; retries what a signal interrupts. */
#pragma once

#include "client/lib/wire/deadline.h"
#include "client/lib/wire/text_buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A Request's answer with 128 files has some 100 KiB. */
#define CONNECTION_MESSAGE_MAX ((size_t)1024 * 1024)

struct connection {
	int fd;	       /* -1: not connected */
	pid_t owner;   /* the broker answers this process only */
	bool was_used; /* a message has come over it: it may have been closed since */
	struct text_buffer received;
	size_t taken; /* bytes of RECEIVED that messages before had */
};

#define CONNECTION_CLOSED \
	{                 \
		.fd = -1  \
	}

bool connection_is_open(const struct connection *connection);

/* Connects to the socket at PATH, which fits into a sockaddr_un. Does not block. 0 or a negative
 * errno: see connection_may_come_back(). */
int connection_open(struct connection *connection, const char *path);
void connection_close(struct connection *connection);

/* True if a broker that is being started again can be why connection_open() returned ERROR for
 * PATH. A directory that is not there will not come: it is a mount. */
bool connection_may_come_back(int error, const char *path);

/* Sends all of BYTES. -ETIMEDOUT; -EPIPE or -ECONNRESET when the other side has gone. */
int connection_send(struct connection *connection, const char *bytes, size_t length,
	const struct deadline *deadline);

/* True if bytes of a further message are there already. */
bool connection_has_more(const struct connection *connection);

/* The next message, without its NUL but with one behind it, as a copy that the caller frees.
 * -ETIMEDOUT (with a deadline that is over: nothing whole is there); -ECONNRESET when the other
 * side has gone, also in the middle of a message; -EMSGSIZE; -ENOMEM; another errno of recv(). */
int connection_receive(struct connection *connection, const struct deadline *deadline,
	char **ret_message, size_t *ret_length);
