/* A connected unix stream socket on the loop, with descriptors beside bytes, as a member of an
 * operation (handle_group.h). Reading is the owner's: fd_receive() on stream->fd until -EAGAIN,
 * from on_readable. Writing is queued and bounded: a peer that does not read cannot make us grow.
 * Loop thread only. */
#pragma once

#include "daemon/broker/loop/handle_group.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stddef.h>

struct stream_message;

struct socket_stream {
	uv_poll_t poll;
	int fd; /* owned */
	struct stream_message *first, **last;
	size_t queued_bytes, queued_max_bytes;
	int polled; /* what the loop looks for */
	bool is_reading, is_closed;
	/* The socket has something to read, or its end. May close the stream. */
	void (*on_readable)(struct socket_stream *stream);
	/* It cannot be written to any more. Called at most once, from the loop; the owner closes
	 * the stream. */
	void (*on_failed)(struct socket_stream *stream, int status);
};

/* Takes FD over (also on failure) and makes STREAM a part of GROUP, reading. QUEUED_MAX_BYTES
 * bounds what waits to be written. The callbacks are set by the caller before. Returns 0 or a
 * negative errno; after a failure there is nothing to close. */
int socket_stream_init(struct socket_stream *stream, uv_loop_t *loop, struct handle_group *group,
	int fd, size_t queued_max_bytes, struct mayfly_error *err);

/* Queues LENGTH bytes, which the stream takes over (free()), with one descriptor FD that it takes
 * over (-1 for none). Returns 0; -ENOBUFS when the peer has left too much unread; -ESHUTDOWN after
 * closing. Never calls back from here. */
int socket_stream_send(struct socket_stream *stream, char *bytes, size_t length, int fd);

bool socket_stream_has_unsent(const struct socket_stream *stream);

/* Pauses or takes up reading. Twice is fine. */
void socket_stream_set_reading(struct socket_stream *stream, bool is_reading);

/* Closes the descriptor at once, drops what is queued; gives up the hold on the group from the
 * close callback. Twice is fine, and so is a stream of zeros. */
void socket_stream_close(struct socket_stream *stream);
