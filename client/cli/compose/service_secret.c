#include "client/cli/compose/service_secret.h"

#include "client/cli/compose/conversion.h"
#include "proto/secret_name.h"

#include <errno.h>
#include <string.h>

const char *file_spec_path(const struct file_spec *spec)
{
	return spec->path[0] ? spec->path : spec->name;
}

bool path_is_within(const char *path, const char *directory)
{
	const size_t length = strlen(directory);

	return strncmp(path, directory, length) == 0 &&
	       (path[length] == '\0' || path[length] == '/');
}

bool path_normalise(const char *path, char *buffer, size_t size)
{
	size_t used = 0;

	while (*path) {
		size_t part;

		path += strspn(path, "/");
		part = strcspn(path, "/");
		if (part == 2 && memcmp(path, "..", 2) == 0)
			return false;
		if (part > 0 && !(part == 1 && *path == '.')) {
			if (used + part + 2 > size)
				return false;
			buffer[used++] = '/';
			memcpy(buffer + used, path, part);
			used += part;
		}
		path += part;
	}
	buffer[used] = '\0';
	return true;
}

/* The name that Mayfly has for the top-level secret KEY: its own, or that of an external one. */
static const char *mayfly_name(const char *key, json_t *definition)
{
	json_t *external = json_object_get(definition, "external");
	const char *old_name = json_text(external, "name");
	const char *name = json_text(definition, "name");

	if (json_is_object(external) && old_name[0])
		return old_name;
	return json_is_true(external) && name[0] ? name : key;
}

/* What Swarm's own secrets have and files do not. */
static bool refuse_swarm_options(
	const char *service, const char *key, json_t *definition, struct text_list *refusals)
{
	static const char *const names[] = { "driver", "driver_opts", "template_driver" };
	bool refused = false;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		if (!json_object_get(definition, names[i]))
			continue;
		text_list_add(refusals, "service %s: secret %s has %s, which only Swarm knows",
			service, key, names[i]);
		refused = true;
	}
	return refused;
}

static int read_id(
	json_t *entry, const char *name, bool *ret_has, uint32_t *ret_id, struct mayfly_error *err)
{
	json_t *value = json_object_get(entry, name);
	AUTO_FREE char *text = NULL;

	if (!value || json_is_null(value))
		return 0;
	text = json_is_integer(value) ? text_format("%lld", json_integer_value(value))
				      : text_copy(json_text(entry, name));
	*ret_has = true;
	return file_id_parse(name, text, ret_id, err);
}

/* Compose prints a mode as an octal string or, from YAML's octal number, as its value. */
static int read_mode(json_t *entry, struct file_spec *spec, struct mayfly_error *err)
{
	json_t *value = json_object_get(entry, "mode");

	if (!value || json_is_null(value))
		return 0;
	spec->has_mode = true;
	if (!json_is_integer(value))
		return file_mode_parse(json_text(entry, "mode"), &spec->mode, err);
	if (json_integer_value(value) < 0 || json_integer_value(value) > 0777)
		return error_set(err, -EINVAL, "a mode has no more than 0777");
	spec->mode = (mode_t)json_integer_value(value);
	return 0;
}

/* Cuts DIRECTORY off PATH, which lies in it, with the slash behind it. */
static void cut_directory(char *path, size_t directory_length)
{
	const char *rest = path + directory_length;

	rest += *rest == '/' ? 1 : 0;
	memmove(path, rest, strlen(rest) + 1);
}

/* Splits the absolute PATH, in place, into its directory and what is below it: what lies below
 * /run/secrets stays there, everything else is a file of its own directory. */
static int split_path(char *path, struct placed_secret *placed, struct mayfly_error *err)
{
	const char *slash = strrchr(path, '/');
	const size_t length = slash ? (size_t)(slash - path) : 0;

	if (path_is_within(path, SECRETS_DIRECTORY)) {
		cut_directory(path, strlen(SECRETS_DIRECTORY));
		return 0;
	}
	if (length == 0)
		return error_set(err, -EINVAL, "its target lies in the root directory");
	memcpy(placed->directory, path, length);
	placed->directory[length] = '\0';
	cut_directory(path, length);
	return 0;
}

static int place(const char *target, struct placed_secret *placed, struct mayfly_error *err)
{
	char path[PATH_MAX];
	int r;

	if (strchr(target, '$'))
		return error_set(err, -EINVAL, "its target has a variable: write it out");
	if (!path_normalise(target, path, sizeof path))
		return error_set(err, -EINVAL, "its target is no path of a file");
	memcpy(placed->directory, SECRETS_DIRECTORY, sizeof SECRETS_DIRECTORY);
	if (target[0] == '/') {
		r = split_path(path, placed, err);
		if (r < 0)
			return r;
	} else {
		cut_directory(path, 0);
	}
	if (file_path_check(path, err) < 0)
		return error_within(err, "its target");
	if (strcmp(path, placed->spec.name) != 0)
		memcpy(placed->spec.path, path, strlen(path) + 1);
	return 0;
}

static int read_parts(const char *key, json_t *definition, json_t *entry,
	struct placed_secret *placed, struct mayfly_error *err)
{
	const char *target = json_text(entry, "target");
	const char *name = mayfly_name(key, definition);
	int r;

	if (strchr(name, '$'))
		return error_set(err, -EINVAL, "its name has a variable: write it out");
	r = secret_name_check(name, err);
	if (r < 0)
		return r;
	memcpy(placed->spec.name, name, strlen(name) + 1);
	r = place(target[0] ? target : key, placed, err);
	if (r == 0)
		r = read_id(entry, "uid", &placed->spec.has_uid, &placed->spec.uid, err);
	if (r == 0)
		r = read_id(entry, "gid", &placed->spec.has_gid, &placed->spec.gid, err);
	if (r == 0)
		r = read_mode(entry, &placed->spec, err);
	return r;
}

bool placed_secret_read(json_t *model, const char *service, json_t *entry,
	struct placed_secret *ret_placed, struct text_list *refusals)
{
	const char *key =
		json_is_string(entry) ? json_string_value(entry) : json_text(entry, "source");
	json_t *definition = json_object_get(json_object_get(model, "secrets"), key);
	struct placed_secret placed = { .source = key };
	struct mayfly_error err;

	if (!definition && strchr(key, '$')) {
		text_list_add(refusals,
			"service %s: the name of secret %s has a variable: write it out", service,
			key);
		return false;
	}
	if (!definition) {
		text_list_add(refusals, "service %s: secret %s is not declared", service, key);
		return false;
	}
	if (refuse_swarm_options(service, key, definition, refusals))
		return false;
	if (read_parts(key, definition, entry, &placed, &err) < 0) {
		text_list_add(refusals, "service %s: secret %s: %s", service, key, err.text);
		return false;
	}
	*ret_placed = placed;
	return true;
}

/* The target of one entry of `volumes`, `tmpfs` or `configs`, short or long; freed by the caller.
 */
static char *mount_target(json_t *entry)
{
	const char *text = json_string_value(entry);
	const char *colon;
	size_t length;

	if (!text)
		return text_copy(json_text(entry, "target"));
	/* "TARGET", "SOURCE:TARGET", "SOURCE:TARGET:ro"; a default in a variable has a colon too,
	 * so the first path that follows a colon is looked for. */
	colon = text[0] == '/' && !strstr(text, ":/") ? NULL : strstr(text, ":/");
	text = colon ? colon + 1 : text;
	length = strcspn(text, ":");
	return text_format("%.*s", (int)length, text);
}

static char *within(json_t *list, const char *directory)
{
	char path[PATH_MAX];
	size_t i;
	json_t *entry;

	json_array_foreach (list, i, entry) {
		AUTO_FREE char *target = mount_target(entry);

		if (target[0] == '/' && path_normalise(target, path, sizeof path) &&
			path_is_within(path, directory))
			return ptr_take(&target);
	}
	return NULL;
}

char *service_mount_within(json_t *service, const char *directory)
{
	static const char *const members[] = { "volumes", "tmpfs", "configs" };

	for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
		json_t *member = json_object_get(service, members[i]);
		AUTO_JSON json_t *list = json_is_string(member)
						 ? json_made(json_pack("[O]", member))
						 : json_incref(member);
		char *found = within(list, directory);

		if (found)
			return found;
	}
	return NULL;
}
