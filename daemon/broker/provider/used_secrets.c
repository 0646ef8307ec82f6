#include "daemon/broker/provider/used_secrets.h"

#include "proto/json_member.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static size_t strings_size(json_t *array)
{
	size_t size = 0, i;
	json_t *object;

	json_array_foreach (array, i, object) {
		size += strlen(json_text(object, "path")) + strlen(json_text(object, "set")) +
			strlen(json_text(object, "name")) + strlen(json_text(object, "grant")) + 4;
	}
	return size;
}

/* Copies TEXT to *AT, which moves behind it. */
static const char *keep(char **at, const char *text)
{
	const size_t size = strlen(text) + 1;
	char *const kept = *at;

	memcpy(kept, text, size);
	*at += size;
	return kept;
}

int used_secrets_new(json_t *array, struct used_secrets **ret_used)
{
	const size_t count = json_array_size(array);
	struct used_secrets *used =
		malloc(sizeof *used + count * sizeof used->items[0] + strings_size(array));
	json_t *object;
	char *at;
	size_t i;

	if (!used)
		return -ENOMEM;
	used->count = 0;
	at = (char *)&used->items[count];
	json_array_foreach (array, i, object) {
		if (!json_is_object(object))
			continue;
		used->items[used->count++] = (struct used_secret){
			.path = keep(&at, json_text(object, "path")),
			.set = keep(&at, json_text(object, "set")),
			.name = keep(&at, json_text(object, "name")),
			.grant = keep(&at, json_text(object, "grant")),
			.version = (uint32_t)json_integer_value(json_object_get(object, "version")),
		};
	}
	*ret_used = used;
	return 0;
}

json_t *used_secrets_to_json(const struct used_secrets *used)
{
	json_t *array = json_array();

	for (size_t i = 0; used && i < used->count; i++) {
		const struct used_secret *item = &used->items[i];

		(void)json_array_append_new(
			array, json_pack("{s:s, s:s, s:s, s:s, s:I}", "path", item->path, "grant",
				       item->grant, "set", item->set, "name", item->name, "version",
				       (json_int_t)item->version));
	}
	return array;
}
