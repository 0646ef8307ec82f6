#include "client/cli/policy/grant.h"
#include "client/cli/terminal/print.h"

#include <string.h>

/* The words of a value: text as it is, the rest as JSON. */
static char *value_text(json_t *value)
{
	if (json_is_string(value))
		return text_copy(json_string_value(value));
	return json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
}

/* "  match    compose.project = shop", one line for each key of OBJECT. */
static void print_object(const char *title, json_t *object)
{
	const char *key;
	json_t *value;

	json_object_foreach (object, key, value) {
		AUTO_FREE char *text = value_text(value);

		say("  %-8s %s = %s\n", title, key, text ? text : "");
		title = "";
	}
}

static void print_owner(json_t *entry)
{
	const bool has_uid = json_object_get(entry, "uid"), has_gid = json_object_get(entry, "gid");
	const char *mode = json_text(entry, "mode");

	if (has_uid)
		say("uid %lld", (long long)json_number(entry, "uid"));
	else
		say("the container's user");
	if (has_gid)
		say(", gid %lld", (long long)json_number(entry, "gid"));
	say(", mode %s\n", mode[0] ? mode : "0400");
}

static void print_entry(const char *title, json_t *entry)
{
	const char *template = json_text(entry, "template");
	const char *name = json_text(entry, "name"), *as = json_text(entry, "as");

	say("  %-8s ", title);
	if (template[0])
		say("%s, made from %s: ", as, template);
	else if (as[0] && strcmp(as, name) != 0)
		say("%s as %s: ", name, as);
	else
		say("%s: ", name);
	print_owner(entry);
}

/* What has no line of its own above, so that nothing of a grant is hidden. */
static void print_rest(json_t *grant)
{
	static const char *const shown[] = { "name", "match", "require", "secrets", "set" };
	const char *key;
	json_t *value;

	json_object_foreach (grant, key, value) {
		AUTO_FREE char *text = NULL;
		bool known = false;

		for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++)
			known = known || strcmp(key, shown[i]) == 0;
		if (known)
			continue;
		text = value_text(value);
		say("  %-8s %s\n", key, text ? text : "");
	}
}

void grant_print(json_t *grant, const char *environment)
{
	const char *set = json_text(grant, "set");
	const char *title = "gives";
	size_t i;
	json_t *entry;

	say_painted(PAINT_STRONG, "grant %s\n", json_text(grant, "name"));
	print_object("match", json_object_get(grant, "match"));
	print_object("require", json_object_get(grant, "require"));
	if (set[0])
		say("  set      %s\n", set);
	else
		say("  set      the host's environment%s%s%s\n", environment[0] ? " (" : "",
			environment, environment[0] ? ")" : "");
	json_array_foreach (json_object_get(grant, "secrets"), i, entry) {
		print_entry(title, entry);
		title = "";
	}
	print_rest(grant);
}
