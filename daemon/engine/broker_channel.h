/* One conversation with one broker: frames in, frames out. What is sent waits in a bounded queue;
 * the owner asks for room before it produces more, so that a broker which does not read stops the
 * producers and costs no memory. One frame may carry one descriptor (PROTOCOL.md, `root`). */
#pragma once

#include "proto/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

/* With less than this in the queue there is room for one more frame of any size. */
#define BROKER_QUEUE_FULL_BYTES (1024 * 1024)

/* Frames that nobody can hold back (a container starts, the engine goes) end here. */
#define BROKER_QUEUE_MAX_BYTES (4 * 1024 * 1024)

struct broker_channel;

struct broker_channel_owner {
	void *context;
	/* A frame came, FRAME borrowed; *PASSED is a descriptor that came with it or shortly
	 * before, or -1, and is taken by setting it to -1. A negative result ends the conversation
	 * by on_broken(). */
	int (*on_frame)(void *context, json_t *frame, int *passed, struct mayfly_error *err);
	/* There is room again after there was none. */
	void (*on_room)(void *context);
	/* The broker has gone. Called once, never from within a function of this header. */
	void (*on_end)(void *context);
	/* The broker broke the rules. As on_end(). */
	void (*on_broken)(void *context, const struct mayfly_error *err);
};

/* Takes SOCKET over in every case. Returns 0 or a negative errno. */
int broker_channel_new(uv_loop_t *loop, int socket, const struct broker_channel_owner *owner,
	struct broker_channel **ret_channel, struct mayfly_error *err);

/* Ends the conversation without a callback. NULL is fine. The memory is freed by the loop. */
void broker_channel_close(struct broker_channel *channel);

/* Queues OBJECT (borrowed). Returns 0; -EMSGSIZE when it is larger than a frame may be; -ENOBUFS
 * when far too much waits already; -ENOMEM. */
int broker_channel_send(struct broker_channel *channel, json_t *object);

bool broker_channel_has_room(const struct broker_channel *channel);

/* While paused no frame is taken from the broker. */
void broker_channel_pause(struct broker_channel *channel, bool paused);
