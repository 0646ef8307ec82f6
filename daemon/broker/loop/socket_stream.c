#include "daemon/broker/loop/socket_stream.h"

#include "proto/cleanup.h"
#include "proto/fd_passing.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct stream_message {
	struct stream_message *next;
	char *bytes;
	size_t length, sent;
	int fd;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void poll_again(struct socket_stream *stream)
{
	const int events =
		(stream->is_reading ? UV_READABLE : 0) | (stream->first ? UV_WRITABLE : 0);

	/* Telling libuv anew what it knows costs two system calls. */
	if (stream->is_closed || events == stream->polled)
		return;
	stream->polled = events;
	if (events)
		(void)uv_poll_start(&stream->poll, events, on_poll);
	else
		(void)uv_poll_stop(&stream->poll);
}

static void message_free(struct stream_message *message)
{
	fd_close_p(&message->fd);
	free(message->bytes);
	free(message);
}

static void drop_first(struct socket_stream *stream)
{
	struct stream_message *message = stream->first;

	stream->queued_bytes -= message->length;
	stream->first = message->next;
	if (!stream->first)
		stream->last = &stream->first;
	message_free(message);
}

/* Writes what the socket takes. Returns 0, -EAGAIN included, or why it cannot be written to. */
static int flush(struct socket_stream *stream)
{
	while (stream->first) {
		struct stream_message *message = stream->first;
		const ssize_t sent = fd_send(stream->fd, message->bytes + message->sent,
			message->length - message->sent, &message->fd, message->fd >= 0 ? 1 : 0);

		if (sent < 0)
			return sent == -EAGAIN ? 0 : (int)sent;
		/* The descriptor went with the first byte. */
		fd_close_p(&message->fd);
		message->sent += (size_t)sent;
		if (message->sent == message->length)
			drop_first(stream);
	}
	return 0;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct socket_stream *stream = container_of(poll, struct socket_stream, poll);
	int r = 0;

	if (status < 0)
		/* An error on the socket also makes it readable: the owner's read tells which. */
		events = UV_READABLE;
	if (events & UV_WRITABLE)
		r = flush(stream);
	if (r < 0) {
		(void)uv_poll_stop(poll);
		stream->polled = 0;
		stream->on_failed(stream, r);
		return;
	}
	poll_again(stream);
	if ((events & UV_READABLE) && stream->is_reading)
		stream->on_readable(stream);
}

int socket_stream_init(struct socket_stream *stream, uv_loop_t *loop, struct handle_group *group,
	int fd, size_t queued_max_bytes, struct mayfly_error *err)
{
	int r;

	stream->fd = fd;
	stream->first = NULL;
	stream->last = &stream->first;
	stream->queued_bytes = 0;
	stream->queued_max_bytes = queued_max_bytes;
	stream->is_closed = false;
	stream->is_reading = true;
	stream->polled = 0;
	r = uv_poll_init(loop, &stream->poll, fd);
	if (r < 0) {
		fd_close_p(&stream->fd);
		return error_errno(err, r, "watch a socket");
	}
	handle_group_add(group, (uv_handle_t *)&stream->poll);
	poll_again(stream);
	return 0;
}

int socket_stream_send(struct socket_stream *stream, char *bytes, size_t length, int fd)
{
	struct stream_message *message = NULL;
	int r = 0;

	if (stream->is_closed)
		r = -ESHUTDOWN;
	else if (stream->queued_bytes + length > stream->queued_max_bytes)
		r = -ENOBUFS;
	else if (!(message = calloc(1, sizeof *message)))
		r = -ENOMEM;
	if (r < 0) {
		free(bytes);
		fd_close_p(&fd);
		return r;
	}
	*message = (struct stream_message){ .bytes = bytes, .length = length, .fd = fd };
	*stream->last = message;
	stream->last = &message->next;
	stream->queued_bytes += length;
	/* Most messages fit into the socket at once; a failure is told from the loop, as the
	 * contract says. */
	if (stream->first == message && flush(stream) < 0)
		(void)0;
	poll_again(stream);
	return 0;
}

bool socket_stream_has_unsent(const struct socket_stream *stream)
{
	return stream->first != NULL;
}

void socket_stream_set_reading(struct socket_stream *stream, bool is_reading)
{
	if (stream->is_closed || stream->is_reading == is_reading)
		return;
	stream->is_reading = is_reading;
	poll_again(stream);
}

void socket_stream_close(struct socket_stream *stream)
{
	if (stream->is_closed || !stream->last)
		return;
	stream->is_closed = true;
	(void)uv_poll_stop(&stream->poll);
	while (stream->first)
		drop_first(stream);
	/* libuv has let go of the descriptor when uv_close() returns. */
	handle_group_close((uv_handle_t *)&stream->poll);
	fd_close_p(&stream->fd);
}
