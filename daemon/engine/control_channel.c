#include "daemon/engine/control_channel.h"

#include "proto/cleanup.h"
#include "proto/fd_passing.h"
#include "proto/supervisor_protocol.h"

#include <errno.h>
#include <sys/socket.h>

static void send_record(struct control_channel *channel, enum control_type type)
{
	const struct control_record record = { .type = type };

	/* A supervisor that does not read is one that counts our heartbeats as missed; one that has
	 * gone shows itself as the end of the channel. */
	(void)send(channel->socket, &record, sizeof record, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void on_heartbeat(uv_timer_t *timer)
{
	send_record(timer->data, CONTROL_HEARTBEAT);
}

static void on_record(struct control_channel *channel, const struct control_record *record,
	struct fd_set_passed *set)
{
	int socket;

	if (record->type != CONTROL_CHANNEL_BROKER || set->count != 1)
		return;
	socket = set->fds[0];
	set->fds[0] = -1;
	channel->owner.on_broker(channel->owner.context, socket);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	MAYFLY_CLEANUP(fd_set_passed_done) struct fd_set_passed set = { .count = 0 };
	struct control_channel *channel = poll->data;
	struct control_record record;
	ssize_t count;

	(void)status; /* what went wrong shows itself when the socket is read */
	(void)events;
	count = fd_receive(channel->socket, &record, sizeof record, &set);
	if (count == -EAGAIN)
		return;
	if (count == sizeof record)
		on_record(channel, &record, &set);
	else
		channel->owner.on_end(
			channel->owner.context, count == 0 ? "the supervisor has closed its channel"
							   : "the supervisor's channel is broken");
}

int control_channel_open(struct control_channel *channel, uv_loop_t *loop, int socket,
	const struct control_channel_owner *owner, struct mayfly_error *err)
{
	int r = uv_poll_init_socket(loop, &channel->poll, socket);

	if (r < 0)
		return error_errno(err, r, "open the supervisor's channel");
	channel->socket = socket;
	channel->owner = *owner;
	channel->is_open = true;
	channel->poll.data = channel;
	channel->heartbeat.data = channel;
	(void)uv_timer_init(loop, &channel->heartbeat); /* cannot fail */
	r = uv_poll_start(&channel->poll, UV_READABLE | UV_DISCONNECT, on_poll);
	if (r == 0)
		r = uv_timer_start(&channel->heartbeat, on_heartbeat, 0, HEARTBEAT_INTERVAL_MS);
	if (r < 0) {
		control_channel_close(channel);
		return error_errno(err, r, "listen to the supervisor");
	}
	return 0;
}

void control_channel_ready(struct control_channel *channel)
{
	send_record(channel, CONTROL_READY);
}

void control_channel_close(struct control_channel *channel)
{
	if (!channel->is_open)
		return;
	channel->is_open = false;
	uv_close((uv_handle_t *)&channel->poll, NULL);
	uv_close((uv_handle_t *)&channel->heartbeat, NULL);
}
