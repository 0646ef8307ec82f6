#include "client/cli/policy/grant.h"

#include <errno.h>
#include <string.h>

json_t *grant_entry(const struct file_spec *spec)
{
	json_t *entry = json_made(json_pack("{s:s}", "name", spec->name));
	AUTO_FREE char *mode = text_format("%04o", spec->mode);

	if (spec->path[0])
		(void)json_object_set_new(entry, "as", json_made(json_string(spec->path)));
	if (spec->has_uid)
		(void)json_object_set_new(entry, "uid", json_made(json_integer(spec->uid)));
	if (spec->has_gid)
		(void)json_object_set_new(entry, "gid", json_made(json_integer(spec->gid)));
	if (spec->has_mode)
		(void)json_object_set_new(entry, "mode", json_made(json_string(mode)));
	return entry;
}

static const char *entry_path(json_t *entry)
{
	const char *as = json_text(entry, "as");

	return as[0] ? as : json_text(entry, "name");
}

static json_t *find_path(json_t *entries, const char *path)
{
	size_t i;
	json_t *entry;

	json_array_foreach (entries, i, entry) {
		if (strcmp(entry_path(entry), path) == 0)
			return entry;
	}
	return NULL;
}

/* Puts one wished entry among ENTRIES. Returns 1 if that changes anything, else 0. */
static int join_entry(json_t *entries, json_t *wished, struct mayfly_error *err)
{
	json_t *present = find_path(entries, entry_path(wished));
	AUTO_JSON json_t *before = json_deep_copy(present);

	if (!present) {
		(void)json_array_append(entries, wished);
		return 1;
	}
	if (strcmp(json_text(present, "name"), json_text(wished, "name")) != 0)
		return error_set(err, -EEXIST,
			"its file '%s' is another secret's already\ngive another one: --secret "
			"NAME=PATH",
			entry_path(wished));
	(void)json_object_update(present, wished);
	return json_equal(present, before) ? 0 : 1;
}

static int join_require(json_t *grant, json_t *wished)
{
	json_t *require = json_object_get(grant, "require");
	AUTO_JSON json_t *before = json_deep_copy(require);

	if (json_object_size(wished) == 0)
		return 0;
	if (!require) {
		(void)json_object_set(grant, "require", wished);
		return 1;
	}
	(void)json_object_update(require, wished);
	return json_equal(require, before) ? 0 : 1;
}

int grant_join(json_t *grant, json_t *wish, struct mayfly_error *err)
{
	json_t *entries = json_object_get(grant, "secrets");
	int changes = 0, r;
	size_t i;
	json_t *entry;

	if (!json_equal(json_object_get(grant, "match"), json_object_get(wish, "match")) ||
		strcmp(json_text(grant, "set"), json_text(wish, "set")) != 0)
		return error_set(err, -EEXIST,
			"it is there and means other containers or another set\ngive another name: "
			"--grant NAME");
	if (!entries) {
		entries = json_made(json_array());
		(void)json_object_set_new(grant, "secrets", entries);
	}
	json_array_foreach (json_object_get(wish, "secrets"), i, entry) {
		r = join_entry(entries, entry, err);
		if (r < 0)
			return r;
		changes += r;
	}
	return changes + join_require(grant, json_object_get(wish, "require"));
}

int grant_remove_secret(json_t *grant, const char *name)
{
	json_t *entries = json_object_get(grant, "secrets");
	int removed = 0;

	for (size_t i = json_array_size(entries); i > 0; i--) {
		if (strcmp(json_text(json_array_get(entries, i - 1), "name"), name) != 0)
			continue;
		(void)json_array_remove(entries, i - 1);
		removed++;
	}
	return removed;
}

static void add_once(json_t *names, const char *name)
{
	size_t i;
	json_t *present;

	json_array_foreach (names, i, present) {
		if (strcmp(json_string_value(present), name) == 0)
			return;
	}
	(void)json_array_append_new(names, json_made(json_string(name)));
}

/* The names between "{{" and "}}" or "|" of a template. */
static void add_template_names(json_t *names, const char *template)
{
	const char *open = template;

	while ((open = strstr(open, "{{"))) {
		AUTO_FREE char *name = NULL;

		open += 2;
		open += strspn(open, " ");
		name = strndup(open, strcspn(open, " |}"));
		if (name && name[0])
			add_once(names, name);
	}
}

json_t *grant_secret_names(json_t *grant)
{
	json_t *names = json_made(json_array());
	size_t i;
	json_t *entry;

	json_array_foreach (json_object_get(grant, "secrets"), i, entry) {
		if (json_text(entry, "name")[0])
			add_once(names, json_text(entry, "name"));
		add_template_names(names, json_text(entry, "template"));
	}
	return names;
}

json_t *require_value(const char *value)
{
	if (!value || strcmp(value, "true") == 0)
		return json_true();
	if (strcmp(value, "false") == 0)
		return json_false();
	return json_made(json_string(value));
}
