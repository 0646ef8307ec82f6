#include "client/cli/compose/plain_values.h"

#include <string.h>
#include <strings.h>

/* True if NAME has a word that secrets have in their names, and is not a file's name. */
static bool sounds_secret(const char *name)
{
	static const char *const words[] = { "PASSWORD", "PASSWD", "SECRET", "TOKEN", "API_KEY",
		"PRIVATE_KEY", "ACCESS_KEY" };
	const size_t length = strlen(name);

	if (length > 5 && strcasecmp(name + length - 5, "_FILE") == 0)
		return false;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strcasestr(name, words[i]))
			return true;
	return false;
}

static void look(const char *service, const char *name, const char *value, struct text_list *notes)
{
	/* A variable is replaced when Compose runs: its value is not in the file. */
	if (sounds_secret(name) && value && value[0] && value[0] != '$')
		text_list_add(notes,
			"service %s: the value of %s stands in the file; a secret and %s_FILE "
			"would "
			"hide it",
			service, name, name);
}

void plain_values_find(json_t *model, struct text_list *notes)
{
	const char *service_name, *name;
	json_t *service, *value;
	size_t i;

	json_object_foreach (json_object_get(model, "services"), service_name, service) {
		json_t *environment = json_object_get(service, "environment");

		json_object_foreach (environment, name, value)
			look(service_name, name, json_string_value(value), notes);
		json_array_foreach (environment, i, value) {
			const char *text = json_string_value(value);
			const char *equals = text ? strchr(text, '=') : NULL;
			AUTO_FREE char *before =
				equals ? text_format("%.*s", (int)(equals - text), text) : NULL;

			if (before)
				look(service_name, before, equals + 1, notes);
		}
	}
}
