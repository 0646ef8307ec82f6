#include "daemon/engine/api/docker_events.h"

#include "daemon/engine/facts/container_files.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Separates values in application/json-seq. */
#define RECORD_SEPARATOR 0x1e

/* Of an empty buffer. */
#define KEPT_MAX_BYTES (128 * 1024)

static const struct {
	const char *told_as;
	const char *engine_name;
} actions[] = {
	[DOCKER_CREATE] = { "create", "create" },
	[DOCKER_START] = { "start", "start" },
	[DOCKER_DIE] = { "die", "die" },
	[DOCKER_DESTROY] = { "destroy", "destroy" },
	[DOCKER_HEALTHY] = { "healthy", "health_status: healthy" },
	[DOCKER_UNHEALTHY] = { "unhealthy", "health_status: unhealthy" },
};

const char *docker_action_name(enum docker_action action)
{
	return actions[action].told_as;
}

void json_values_done(struct json_values *values)
{
	free(values->bytes);
	*values = (struct json_values){ 0 };
}

size_t json_values_waiting(const struct json_values *values)
{
	return values->length - values->start;
}

static void drop(struct json_values *values, size_t count)
{
	if (count == 0)
		return;
	values->length -= count;
	memmove(values->bytes, values->bytes + count, values->length);
	values->scanned -= count;
	values->start -= count;
}

int json_values_add(struct json_values *values, const char *bytes, size_t length)
{
	if (length == 0)
		return 0;
	if (values->start > 0)
		drop(values, values->start);
	if (values->capacity - values->length < length) {
		const size_t capacity = values->length + length;
		char *grown = realloc(values->bytes, capacity);

		if (!grown)
			return -ENOMEM;
		values->bytes = grown;
		values->capacity = capacity;
	}
	memcpy(values->bytes + values->length, bytes, length);
	values->length += length;
	return 0;
}

/* Within a value. Returns whether C ends it. */
static bool value_ends_with(struct json_values *values, char c)
{
	if (values->in_string) {
		if (values->is_escaped)
			values->is_escaped = false;
		else if (c == '\\')
			values->is_escaped = true;
		else if (c == '"')
			values->in_string = false;
		return false;
	}
	if (c == '"')
		values->in_string = true;
	else if (c == '{' || c == '[')
		values->depth++;
	else if (c == '}' || c == ']')
		values->depth--;
	return values->depth == 0;
}

static bool is_separator(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == RECORD_SEPARATOR;
}

/* A large value takes its memory along when it is gone; where in a value we are stays known. */
static void shrink(struct json_values *values)
{
	if (values->capacity <= KEPT_MAX_BYTES)
		return;
	free(values->bytes);
	values->bytes = NULL;
	values->capacity = 0;
}

static int take(struct json_values *values, const char **ret_bytes, size_t *ret_length)
{
	const bool was_skipped = values->is_skipping;

	*ret_bytes = values->bytes + values->start;
	*ret_length = values->scanned - values->start;
	values->start = values->scanned;
	values->is_skipping = false;
	return was_skipped || *ret_length > EVENT_MAX_BYTES ? -EMSGSIZE : 1;
}

int json_values_next(struct json_values *values, const char **ret_bytes, size_t *ret_length)
{
	while (values->scanned < values->length) {
		const char c = values->bytes[values->scanned++];

		if (values->depth > 0) {
			if (value_ends_with(values, c))
				return take(values, ret_bytes, ret_length);
			continue;
		}
		if (is_separator(c)) {
			values->start = values->scanned;
			continue;
		}
		if (c != '{')
			return -EBADMSG;
		values->start = values->scanned - 1;
		values->depth = 1;
	}
	if (json_values_waiting(values) > EVENT_MAX_BYTES)
		values->is_skipping = true;
	if (values->is_skipping || values->depth == 0) {
		drop(values, values->length);
		values->start = values->scanned = 0;
		shrink(values);
	}
	return 0;
}

static enum docker_action action_of(const char *name)
{
	for (size_t i = DOCKER_CREATE; i < sizeof actions / sizeof actions[0]; i++)
		if (strcmp(name, actions[i].engine_name) == 0)
			return (enum docker_action)i;
	return DOCKER_ACTION_INVALID;
}

static int read_event(json_t *json, struct docker_event *event)
{
	const char *type = json_string_value(json_object_get(json, "Type"));
	const char *action = json_string_value(json_object_get(json, "Action"));
	/* Labels stand beside the attributes and can shadow them: the id stands outside. */
	const char *id = json_string_value(json_object_get(json_object_get(json, "Actor"), "ID"));
	json_t *time = json_object_get(json, "timeNano");

	if (!type || !action)
		return -EBADMSG;
	if (strcmp(type, "container") != 0)
		return -ENOENT;
	event->action = action_of(action);
	if (event->action == DOCKER_ACTION_INVALID)
		return -ENOENT;
	if (!id || !container_id_is_valid(id) || !json_is_integer(time))
		return -EBADMSG;
	memcpy(event->id, id, sizeof event->id);
	event->time_ns = json_integer_value(time);
	return 0;
}

int docker_event_decode(const char *bytes, size_t length, struct docker_event *ret_event)
{
	struct docker_event event = { 0 };
	json_t *json = json_loadb(bytes, length, 0, NULL);
	const int r = json ? read_event(json, &event) : -EBADMSG;

	json_decref(json);
	if (r == 0)
		*ret_event = event;
	return r;
}
