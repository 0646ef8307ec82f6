/* The engine's event stream taken apart: a sequence of JSON values, cut anywhere, separated by
 * anything or nothing (the engine promises no lines). Does no I/O.
 * An event repeats all labels of its container, which its creator chose: one that is too large or
 * cannot be read is left out, and whoever reads the stream is told so that it looks at the disk. */
#pragma once

#include "daemon/engine/facts/engine_place.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EVENT_MAX_BYTES (4 * 1024 * 1024)

enum docker_action {
	DOCKER_ACTION_INVALID = 0,
	DOCKER_CREATE,
	DOCKER_START,
	DOCKER_DIE,
	DOCKER_DESTROY,
	DOCKER_HEALTHY,
	DOCKER_UNHEALTHY,
};

struct docker_event {
	enum docker_action action;
	char id[CONTAINER_ID_LENGTH + 1];
	int64_t time_ns;
};

struct json_values {
	char *bytes;
	size_t length, capacity;
	size_t start;	/* of the value that is being read */
	size_t scanned; /* up to here the fields below hold */
	unsigned depth; /* of braces and brackets; 0: between values */
	bool in_string;
	bool is_escaped;
	bool is_skipping; /* the value is too large: its bytes are dropped */
};

void json_values_done(struct json_values *values);

/* How many bytes wait to be taken. */
size_t json_values_waiting(const struct json_values *values);

/* Appends bytes of the stream. Returns 0 or -ENOMEM. */
int json_values_add(struct json_values *values, const char *bytes, size_t length);

/* The next whole value, valid until the next call of json_values_add(). Returns 1; 0 when none is
 * whole; -EMSGSIZE when one was left out because it is larger than EVENT_MAX_BYTES; -EBADMSG when
 * this is no sequence of JSON objects: the stream is of no use any more. */
int json_values_next(struct json_values *values, const char **ret_bytes, size_t *ret_length);

/* Reads one event. Returns 0; -ENOENT when it is about something else; -EBADMSG when it cannot be
 * read. */
int docker_event_decode(const char *bytes, size_t length, struct docker_event *ret_event);

/* The word for ACTION in our protocol. */
const char *docker_action_name(enum docker_action action);
