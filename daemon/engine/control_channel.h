/* The supervisor's channel: heartbeats go out, a new broker's end comes in, its end is ours. */
#pragma once

#include "proto/error.h"

#include <stdbool.h>
#include <uv.h>

struct control_channel_owner {
	void *context;
	void (*on_broker)(void *context, int socket); /* the callee owns SOCKET */
	void (*on_end)(void *context, const char *why);
};

struct control_channel {
	uv_poll_t poll;
	uv_timer_t heartbeat;
	int socket;
	struct control_channel_owner owner;
	bool is_open;
};

/* Starts to listen and to send heartbeats on SOCKET, which stays the caller's. The heartbeat is a
 * timer of LOOP: a loop that is blocked sends none. Returns 0 or a negative errno. */
int control_channel_open(struct control_channel *channel, uv_loop_t *loop, int socket,
	const struct control_channel_owner *owner, struct mayfly_error *err);

/* Says once that the process is behind its sandbox. */
void control_channel_ready(struct control_channel *channel);

/* The handles are CHANNEL's: it must live until the loop has closed them. */
void control_channel_close(struct control_channel *channel);
