#include "daemon/engine/broker_channel.h"

#include "proto/cleanup.h"
#include "proto/fd_passing.h"
#include "proto/frame.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define READ_BYTES (64 * 1024)

struct outgoing {
	struct outgoing *next;
	char *bytes;
	size_t length;
	size_t sent;
};

struct broker_channel {
	uv_poll_t poll;
	int socket;
	struct broker_channel_owner owner;
	struct frame_reader reader;
	struct outgoing *first, *last;
	size_t queued_bytes;
	int passed; /* a descriptor that no frame has taken yet, or -1 */
	bool is_paused;
	bool is_resumed; /* frames that were read before the pause may wait */
	bool was_full;
	bool is_closed;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct broker_channel *channel)
{
	const bool wants_to_write = channel->first || channel->is_resumed;
	const int events = (channel->is_paused ? 0 : UV_READABLE) |
			   (wants_to_write ? UV_WRITABLE : 0) | UV_DISCONNECT;

	if (!channel->is_closed)
		(void)uv_poll_start(
			&channel->poll, events, on_poll); /* fails for a closed one only */
}

static void outgoing_free(struct outgoing *item)
{
	free(item->bytes);
	free(item);
}

static void on_poll_closed(uv_handle_t *handle)
{
	struct broker_channel *channel = handle->data;

	frame_reader_done(&channel->reader);
	while (channel->first) {
		struct outgoing *item = channel->first;

		channel->first = item->next;
		outgoing_free(item);
	}
	fd_close_p(&channel->passed);
	free(channel);
}

void broker_channel_close(struct broker_channel *channel)
{
	if (!channel || channel->is_closed)
		return;
	channel->is_closed = true;
	uv_close((uv_handle_t *)&channel->poll, on_poll_closed);
	/* Safe because uv_close() has taken the descriptor out of the loop. */
	fd_close_p(&channel->socket);
}

bool broker_channel_has_room(const struct broker_channel *channel)
{
	return channel->queued_bytes < BROKER_QUEUE_FULL_BYTES;
}

/* Sends what the socket takes. A broken socket shows itself when it is read. */
static void flush(struct broker_channel *channel)
{
	while (channel->first) {
		struct outgoing *item = channel->first;
		const ssize_t count = send(channel->socket, item->bytes + item->sent,
			item->length - item->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (count < 0)
			return;
		item->sent += (size_t)count;
		channel->queued_bytes -= (size_t)count;
		if (item->sent < item->length)
			return;
		channel->first = item->next;
		if (!channel->first)
			channel->last = NULL;
		outgoing_free(item);
	}
}

static int append(struct broker_channel *channel, char *bytes, size_t length)
{
	struct outgoing *item = calloc(1, sizeof *item);

	if (!item)
		return -ENOMEM;
	item->bytes = bytes;
	item->length = length;
	if (channel->last)
		channel->last->next = item;
	else
		channel->first = item;
	channel->last = item;
	channel->queued_bytes += length;
	return 0;
}

int broker_channel_send(struct broker_channel *channel, json_t *object)
{
	AUTO_FREE char *bytes = NULL;
	size_t length;
	int r;

	if (channel->is_closed)
		return 0;
	if (channel->queued_bytes >= BROKER_QUEUE_MAX_BYTES)
		return -ENOBUFS;
	r = frame_encode(object, &bytes, &length);
	if (r == 0)
		r = append(channel, bytes, length);
	if (r < 0)
		return r;
	(void)ptr_take(&bytes); /* the queue's */
	flush(channel);
	if (!broker_channel_has_room(channel))
		channel->was_full = true;
	watch(channel);
	return 0;
}

static int take_passed(
	struct broker_channel *channel, struct fd_set_passed *set, struct mayfly_error *err)
{
	if (set->count == 0)
		return 0;
	if (set->count > 1 || channel->passed >= 0)
		return error_set(err, -EBADMSG, "more than one descriptor for a frame");
	channel->passed = set->fds[0];
	set->fds[0] = -1;
	return 0;
}

/* Returns 1 when something came, 0 when nothing did, -EPIPE at the end. */
static int receive(struct broker_channel *channel, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(fd_set_passed_done) struct fd_set_passed set = { .count = 0 };
	size_t size;
	char *room = frame_reader_room(&channel->reader, READ_BYTES, &size);
	ssize_t count;
	int r;

	if (!room)
		return error_errno(err, -ENOMEM, "read a frame");
	count = fd_receive(channel->socket, room, size, &set);
	if (count == -EAGAIN)
		return 0;
	if (count == -EBADMSG)
		return error_set(err, -EBADMSG, "more descriptors than a frame may carry");
	if (count <= 0)
		return -EPIPE;
	frame_reader_added(&channel->reader, (size_t)count);
	r = take_passed(channel, &set, err);
	return r < 0 ? r : 1;
}

/* Hands over whole frames. Returns 0 or what the owner or a broken frame said. */
static int dispatch(struct broker_channel *channel, struct mayfly_error *err)
{
	int r = 1;

	while (r == 1 && !channel->is_paused && !channel->is_closed) {
		json_t *frame = NULL;

		r = frame_reader_next(&channel->reader, &frame, err);
		if (r != 1)
			break;
		r = channel->owner.on_frame(channel->owner.context, frame, &channel->passed, err);
		json_decref(frame);
		r = r < 0 ? r : 1;
	}
	return r < 0 ? r : 0;
}

static void end(struct broker_channel *channel, int code, const struct mayfly_error *err)
{
	const struct broker_channel_owner owner = channel->owner;

	broker_channel_close(channel);
	if (code == -EPIPE)
		owner.on_end(owner.context);
	else
		owner.on_broken(owner.context, err);
}

/* One read at most: a broker that never stops writing must not stop the heartbeat. */
static void read_frames(struct broker_channel *channel, bool is_readable)
{
	struct mayfly_error error = { 0 };
	int r = dispatch(channel, &error);

	if (r == 0 && is_readable && !channel->is_paused && !channel->is_closed) {
		r = receive(channel, &error);
		if (r == 1)
			r = dispatch(channel, &error);
	}
	if (r < 0 && !channel->is_closed)
		end(channel, r, &error);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct broker_channel *channel = poll->data;

	/* libuv says EBADF when the other end has gone: reading tells the rest. */
	if (status < 0)
		events = UV_READABLE | UV_DISCONNECT;
	flush(channel);
	if (channel->was_full && broker_channel_has_room(channel)) {
		channel->was_full = false;
		channel->owner.on_room(channel->owner.context);
	}
	if (channel->is_closed)
		return;
	channel->is_resumed = false;
	/* What a broker that has gone still asked for does not matter to anyone. */
	if (channel->is_paused && (events & UV_DISCONNECT))
		end(channel, -EPIPE, NULL);
	else
		read_frames(channel, events & (UV_READABLE | UV_DISCONNECT));
	watch(channel);
}

void broker_channel_pause(struct broker_channel *channel, bool paused)
{
	if (channel->is_paused == paused)
		return;
	channel->is_paused = paused;
	channel->is_resumed = !paused;
	watch(channel);
}

int broker_channel_new(uv_loop_t *loop, int socket, const struct broker_channel_owner *owner,
	struct broker_channel **ret_channel, struct mayfly_error *err)
{
	AUTO_FD own = socket;
	AUTO_FREE struct broker_channel *channel = calloc(1, sizeof *channel);
	const int flags = fcntl(own, F_GETFL);
	int r;

	if (!channel)
		return error_errno(err, -ENOMEM, "open the broker's channel");
	if (flags < 0 || fcntl(own, F_SETFL, flags | O_NONBLOCK) != 0)
		return error_errno(err, -errno, "open the broker's channel");
	r = uv_poll_init_socket(loop, &channel->poll, own);
	if (r < 0)
		return error_errno(err, r, "open the broker's channel");
	channel->poll.data = channel;
	channel->socket = fd_take(&own);
	channel->owner = *owner;
	channel->passed = -1;
	watch(channel);
	*ret_channel = ptr_take(&channel);
	return 0;
}
