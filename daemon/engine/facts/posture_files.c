#include "daemon/engine/facts/posture_files.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* Longer than any capability's name. */
#define CAPABILITY_NAME_SIZE 64

static int wrong(const char *key, struct mayfly_error *err)
{
	return error_set(err, -EBADMSG, "'%s' is missing or of the wrong kind", key);
}

static int set_new(json_t *facts, const char *key, json_t *value, struct mayfly_error *err)
{
	if (json_object_set_new(facts, key, value) != 0)
		return error_errno(err, -ENOMEM, "note '%s'", key);
	return 0;
}

static int add_truth(json_t *facts, const char *key, json_t *from, const char *engine_key,
	struct mayfly_error *err)
{
	json_t *value = json_object_get(from, engine_key);

	if (!json_is_boolean(value))
		return wrong(engine_key, err);
	return set_new(facts, key, json_boolean(json_is_true(value)), err);
}

/* Modes that an older engine does not know are missing from its files. */
static int add_mode(json_t *facts, const char *key, json_t *from, const char *engine_key,
	struct mayfly_error *err)
{
	json_t *value = json_object_get(from, engine_key);

	if (value && !json_is_string(value))
		return wrong(engine_key, err);
	return set_new(facts, key, value ? json_incref(value) : json_string(""), err);
}

/* null, 0 and -1 all mean that there is no limit. */
static int add_limit(json_t *facts, const char *key, json_t *from, const char *engine_key,
	struct mayfly_error *err)
{
	json_t *value = json_object_get(from, engine_key);
	const json_int_t limit = json_integer_value(value);

	if (value && !json_is_null(value) && !json_is_integer(value))
		return wrong(engine_key, err);
	return set_new(facts, key, json_integer(limit > 0 ? limit : 0), err);
}

/* "CAP_SYS_ADMIN", "sys_admin" and "SYS_ADMIN" are the same to the engine. */
static json_t *capability_name(const char *text)
{
	char name[CAPABILITY_NAME_SIZE];
	size_t length;

	if (strncasecmp(text, "CAP_", 4) == 0)
		text += 4;
	length = strlen(text);
	if (length == 0 || length >= sizeof name)
		return NULL;
	for (size_t i = 0; i < length; i++)
		name[i] = (char)toupper((unsigned char)text[i]);
	return json_stringn(name, length);
}

static int add_capabilities(json_t *facts, const char *key, json_t *from, const char *engine_key,
	struct mayfly_error *err)
{
	json_t *array = json_object_get(from, engine_key);
	json_t *names = json_array();
	json_t *item;
	size_t i;

	if (set_new(facts, key, names, err) < 0)
		return -ENOMEM;
	if (array && !json_is_null(array) && !json_is_array(array))
		return wrong(engine_key, err);
	json_array_foreach (array, i, item) {
		json_t *name =
			json_is_string(item) ? capability_name(json_string_value(item)) : NULL;

		if (!name || json_array_append_new(names, name) != 0)
			return wrong(engine_key, err);
	}
	return 0;
}

/* The words that the engine's own parser takes for true. */
static bool is_true_word(const char *word)
{
	static const char *const words[] = { "1", "t", "T", "TRUE", "true", "True" };

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strcmp(word, words[i]) == 0)
			return true;
	return false;
}

/* Returns whether OPTION decides; the last one that does is the engine's answer. */
static bool decides_no_new_privileges(const char *option, bool *decision)
{
	static const char key[] = "no-new-privileges";

	if (strncmp(option, key, sizeof key - 1) != 0)
		return false;
	option += sizeof key - 1;
	if (*option == '\0')
		*decision = true;
	else if (*option == '=' || *option == ':')
		*decision = is_true_word(option + 1);
	else
		return false;
	return true;
}

static int add_no_new_privileges(
	json_t *facts, json_t *host, json_t *config, struct mayfly_error *err)
{
	json_t *options = json_object_get(host, "SecurityOpt");
	/* The engine's own default for containers without the option. */
	bool decision = json_is_true(json_object_get(config, "NoNewPrivileges"));
	json_t *option;
	size_t i;

	if (options && !json_is_null(options) && !json_is_array(options))
		return wrong("SecurityOpt", err);
	json_array_foreach (options, i, option) {
		if (!json_is_string(option))
			return wrong("SecurityOpt", err);
		(void)decides_no_new_privileges(json_string_value(option), &decision);
	}
	return set_new(facts, "no_new_privileges", json_boolean(decision), err);
}

int posture_add(json_t *facts, json_t *host, json_t *config, struct mayfly_error *err)
{
	int r = add_truth(facts, "privileged", host, "Privileged", err);

	if (r == 0)
		r = add_truth(facts, "read_only_root", host, "ReadonlyRootfs", err);
	if (r == 0)
		r = add_no_new_privileges(facts, host, config, err);
	if (r == 0)
		r = add_capabilities(facts, "capabilities_added", host, "CapAdd", err);
	if (r == 0)
		r = add_capabilities(facts, "capabilities_dropped", host, "CapDrop", err);
	if (r == 0)
		r = add_limit(facts, "pids_limit", host, "PidsLimit", err);
	if (r == 0)
		r = add_limit(facts, "memory_limit", host, "Memory", err);
	if (r == 0)
		r = add_mode(facts, "pid_mode", host, "PidMode", err);
	if (r == 0)
		r = add_mode(facts, "ipc_mode", host, "IpcMode", err);
	if (r == 0)
		r = add_mode(facts, "cgroupns_mode", host, "CgroupnsMode", err);
	return r;
}
