/* Restarts of containers that the broker asks for: the only calls to the engine that change
 * anything. Whether a container may be restarted was decided by the broker; here its id must be one.
 * A restart takes as long as the container's end and its next start, during which the engine asks
 * for mounts: nothing waits for it. Each is ended by a deadline, some are under way at a time, the
 * next ones wait. */
#pragma once

#include "daemon/engine/api/engine_link.h"
#include "proto/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A container has its own time to end by itself (`docker run --stop-timeout`): so long it is waited for
 * at most. */
#define RESTART_TIMEOUT_MAX_S 3600

#define RESTARTS_AT_ONCE     8
#define RESTARTS_WAITING_MAX 1024

struct restart;

struct restarts_owner {
	void *context;
	/* FRAME is borrowed. 0 or a negative errno. */
	int (*send)(void *context, json_t *frame);
};

struct restarts {
	struct engine_link *link;
	struct restarts_owner owner;
	struct restart *under_way;
	struct restart *waiting, **end_of_waiting;
	size_t under_way_count, waiting_count;
	uint32_t margin_ms; /* beyond the container's own time */
};

/* LINK must live as long as RESTARTS. */
void restarts_open(
	struct restarts *restarts, struct engine_link *link, const struct restarts_owner *owner);

/* Restarts container ID and waits TIMEOUT_S (at most RESTART_TIMEOUT_MAX_S) for its end; `done` with
 * SERIAL follows, also when there is no room for it. Returns 0 or -ENOMEM. */
int restarts_add(struct restarts *restarts, json_int_t serial, const char *id, unsigned timeout_s);

/* The broker that asked has gone: what waits is dropped, what is under way ends without a word. It
 * is not broken off: some engines would stop a container then and not start it. */
void restarts_forget(struct restarts *restarts);

/* Before LINK is closed. */
void restarts_close(struct restarts *restarts);
