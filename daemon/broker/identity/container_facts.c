#include "daemon/broker/identity/container_facts.h"

#include <errno.h>
#include <string.h>

/* What is read of one object, and the first thing that was wrong with it. */
struct reading {
	json_t *object;
	const char *missing;
};

static json_t *member(struct reading *reading, const char *key, json_type type)
{
	json_t *value = json_object_get(reading->object, key);

	if (value && json_typeof(value) == type)
		return value;
	if (!reading->missing)
		reading->missing = key;
	return NULL;
}

static const char *text(struct reading *reading, const char *key)
{
	const char *value = json_string_value(member(reading, key, JSON_STRING));

	return value ? value : "";
}

static int64_t number(struct reading *reading, const char *key)
{
	return json_integer_value(member(reading, key, JSON_INTEGER));
}

static uint32_t number32(struct reading *reading, const char *key)
{
	const int64_t value = number(reading, key);

	if ((value < 0 || value > UINT32_MAX) && !reading->missing)
		reading->missing = key;
	return (uint32_t)value;
}

static bool truth(struct reading *reading, const char *key)
{
	json_t *value = json_object_get(reading->object, key);

	if (!json_is_boolean(value) && !reading->missing)
		reading->missing = key;
	return json_is_true(value);
}

static json_t *texts(struct reading *reading, const char *key)
{
	json_t *array = member(reading, key, JSON_ARRAY);
	json_t *item;
	size_t i;

	json_array_foreach (array, i, item) {
		if (!json_is_string(item) && !reading->missing)
			reading->missing = key;
	}
	return array;
}

static bool is_container_id(const char *id)
{
	return strlen(id) == CONTAINER_ID_LENGTH &&
	       strspn(id, "0123456789abcdef") == CONTAINER_ID_LENGTH;
}

static void read_identity(struct reading *reading, struct container_facts *facts)
{
	json_t *label;
	const char *key;

	facts->id = text(reading, "id");
	if (!is_container_id(facts->id) && !reading->missing)
		reading->missing = "id";
	facts->name = text(reading, "name");
	facts->image_name = text(reading, "image_name");
	facts->image_id = text(reading, "image_id");
	facts->image_digests = texts(reading, "image_digests");
	facts->labels = member(reading, "labels", JSON_OBJECT);
	json_object_foreach (facts->labels, key, label) {
		if (!json_is_string(label) && !reading->missing)
			reading->missing = "labels";
	}
}

static void read_volumes(struct reading *reading, struct container_facts *facts)
{
	json_t *array = member(reading, "volumes", JSON_ARRAY);
	json_t *item;
	size_t i;

	if (json_array_size(array) > CONTAINER_TARGETS_MAX && !reading->missing)
		reading->missing = "volumes";
	json_array_foreach (array, i, item) {
		struct reading inner = { .object = item };

		if (i == CONTAINER_TARGETS_MAX)
			break;
		facts->volumes[i].name = text(&inner, "name");
		facts->volumes[i].target = text(&inner, "target");
		facts->volumes_count = i + 1;
		if (inner.missing && !reading->missing)
			reading->missing = "volumes";
	}
}

static bool is_health(const char *word)
{
	return strcmp(word, "") == 0 || strcmp(word, "starting") == 0 ||
	       strcmp(word, "healthy") == 0 || strcmp(word, "unhealthy") == 0;
}

static void read_state(struct reading *reading, struct container_facts *facts)
{
	int64_t pid;

	facts->running = truth(reading, "running");
	facts->announced = truth(reading, "announced");
	facts->root_mounted = truth(reading, "root_mounted");
	pid = number(reading, "pid");
	/* A number that only looks like another process after it was cut to 32 bits is none. */
	if ((pid < (facts->running ? 1 : 0) || pid > INT32_MAX) && !reading->missing)
		reading->missing = "pid";
	facts->pid = (pid_t)pid;
	facts->started_at = json_string_value(json_object_get(reading->object, "started_at"));
	facts->health = text(reading, "health");
	if (!is_health(facts->health) && !reading->missing)
		reading->missing = "health";
}

static void read_user(struct reading *reading, struct container_facts *facts)
{
	struct reading user = { .object = member(reading, "user", JSON_OBJECT) };

	facts->user_text = text(&user, "text");
	facts->user_error = json_string_value(json_object_get(user.object, "error"));
	facts->uid = number32(&user, "uid");
	facts->gid = number32(&user, "gid");
	if (user.missing && !reading->missing)
		reading->missing = "user";
	facts->uid_offset = number32(reading, "uid_offset");
	facts->gid_offset = number32(reading, "gid_offset");
	facts->id_count = number32(reading, "id_count");
}

static void read_posture(struct reading *reading, struct container_facts *facts)
{
	facts->privileged = truth(reading, "privileged");
	facts->read_only_root = truth(reading, "read_only_root");
	facts->no_new_privileges = truth(reading, "no_new_privileges");
	facts->engine_socket = truth(reading, "engine_socket");
	facts->shares_pid_namespace = truth(reading, "shares_pid_namespace");
	facts->capabilities_added = texts(reading, "capabilities_added");
	facts->capabilities_dropped = texts(reading, "capabilities_dropped");
	facts->pids_limit = number(reading, "pids_limit");
	facts->memory_limit = number(reading, "memory_limit");
	facts->pid_mode = text(reading, "pid_mode");
	facts->ipc_mode = text(reading, "ipc_mode");
	facts->cgroupns_mode = text(reading, "cgroupns_mode");
}

int container_facts_parse(
	json_t *object, struct container_facts *ret_facts, struct mayfly_error *err)
{
	struct reading reading = { .object = object };
	struct container_facts facts = { .object = object };

	if (!json_is_object(object))
		return error_set(err, -EBADMSG, "a container that is no object");
	read_identity(&reading, &facts);
	read_volumes(&reading, &facts);
	read_state(&reading, &facts);
	read_user(&reading, &facts);
	read_posture(&reading, &facts);
	if (reading.missing)
		return error_set(err, -EBADMSG,
			"a container whose '%s' is missing or of the wrong kind", reading.missing);
	(void)json_incref(object);
	*ret_facts = facts;
	return 0;
}

void container_facts_done(struct container_facts *facts)
{
	json_decref(facts->object);
	*facts = (struct container_facts){ 0 };
}

struct container_facts container_facts_ref(const struct container_facts *facts)
{
	(void)json_incref(facts->object);
	return *facts;
}

const char *container_label(const struct container_facts *facts, const char *key)
{
	return json_string_value(json_object_get(facts->labels, key));
}
