#include "client/lib/wire/connection.h"

#include "client/lib/wire/cleanup.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define RECEIVE_AT_ONCE ((size_t)4096)

bool connection_is_open(const struct connection *connection)
{
	return connection->fd >= 0 && connection->owner == getpid();
}

int connection_open(struct connection *connection, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r;

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof address.sun_path)
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	do
		r = connect(fd, (const struct sockaddr *)&address, sizeof address);
	while (r != 0 && errno == EINTR);
	if (r != 0)
		return -errno;
	connection_close(connection);
	connection->fd = fd_take(&fd);
	connection->owner = getpid();
	return 0;
}

void connection_close(struct connection *connection)
{
	fd_close_p(&connection->fd);
	text_buffer_done(&connection->received);
	*connection = (struct connection)CONNECTION_CLOSED;
}

static bool has_directory(const char *path)
{
	char directory[sizeof((struct sockaddr_un *)0)->sun_path];
	const char *slash = strrchr(path, '/');
	struct stat status;

	if (!slash || slash == path)
		return true;
	memcpy(directory, path, (size_t)(slash - path));
	directory[slash - path] = '\0';
	return stat(directory, &status) == 0;
}

bool connection_may_come_back(int error, const char *path)
{
	switch (error) {
	case -ECONNREFUSED: /* nobody listens any more */
	case -EAGAIN:	    /* more wait to be accepted than the socket lets wait */
		return true;
	case -ENOENT:
		return has_directory(path);
	default:
		return false;
	}
}

/* Waits for EVENTS. 0; -ETIMEDOUT. */
static int wait_for(int fd, short events, const struct deadline *deadline)
{
	struct pollfd watched = { .fd = fd, .events = events };

	for (;;) {
		const int left_ms = deadline_left_ms(deadline);
		const int r = poll(&watched, 1, left_ms);

		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (left_ms == 0)
			return -ETIMEDOUT;
	}
}

int connection_send(struct connection *connection, const char *bytes, size_t length,
	const struct deadline *deadline)
{
	while (length > 0) {
		const ssize_t sent =
			send(connection->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
		int r;

		if (sent >= 0) {
			bytes += sent;
			length -= (size_t)sent;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return -errno;
		r = wait_for(connection->fd, POLLOUT, deadline);
		if (r < 0)
			return r;
	}
	return 0;
}

bool connection_has_more(const struct connection *connection)
{
	return connection->received.length > connection->taken;
}

/* Copies the message that ends at END out of what was received. */
static int take_message(
	struct connection *connection, const char *end, char **ret_message, size_t *ret_length)
{
	struct text_buffer *received = &connection->received;
	const char *from = received->bytes + connection->taken;
	const size_t length = (size_t)(end - from);
	char *message = malloc(length + 1);

	if (!message)
		return -ENOMEM;
	memcpy(message, from, length + 1);
	connection->taken += length + 1;
	connection->was_used = true;
	*ret_message = message;
	*ret_length = length;
	return 0;
}

/* Moves what is not taken yet to the start. */
static void forget_taken(struct connection *connection)
{
	struct text_buffer *received = &connection->received;

	if (connection->taken == 0)
		return;
	received->length -= connection->taken;
	memmove(received->bytes, received->bytes + connection->taken, received->length);
	connection->taken = 0;
}

/* Takes in what has come. 0; -EAGAIN when that is nothing. */
static int receive_some(struct connection *connection)
{
	struct text_buffer *received = &connection->received;
	ssize_t got;

	if (received->length >= CONNECTION_MESSAGE_MAX)
		return -EMSGSIZE;
	if (!text_buffer_reserve(received, RECEIVE_AT_ONCE))
		return -ENOMEM;
	do
		got = recv(connection->fd, received->bytes + received->length,
			received->room - received->length, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	if (got == 0)
		return -ECONNRESET;
	received->length += (size_t)got;
	return 0;
}

int connection_receive(struct connection *connection, const struct deadline *deadline,
	char **ret_message, size_t *ret_length)
{
	struct text_buffer *received = &connection->received;
	size_t searched = connection->taken;

	for (;;) {
		const char *end = received->length > searched
					  ? memchr(received->bytes + searched, '\0',
						    received->length - searched)
					  : NULL;
		int r;

		if (end)
			return take_message(connection, end, ret_message, ret_length);
		forget_taken(connection);
		searched = received->length;
		r = receive_some(connection);
		if (r == -EAGAIN)
			r = wait_for(connection->fd, POLLIN, deadline);
		if (r < 0)
			return r;
	}
}
