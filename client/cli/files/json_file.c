#include "client/cli/files/json_file.h"

#include "client/cli/terminal/text.h"

#include <errno.h>
#include <string.h>

int json_file_parse(const char *path, const char *text, size_t length, json_t **ret_json,
	struct mayfly_error *err)
{
	AUTO_JSON json_t *json = NULL;
	json_error_t where;

	if (!text) {
		*ret_json = json_made(json_object());
		return 0;
	}
	json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);
	if (!json)
		return error_set(err, -EINVAL, "%s:%d: %s", path, where.line, where.text);
	if (!json_is_object(json))
		return error_set(err, -EINVAL, "%s: it is no JSON object", path);
	*ret_json = ptr_take(&json);
	return 0;
}

char *json_file_text(json_t *json, size_t *ret_length)
{
	AUTO_FREE char *text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
	char *line = text_format("%s\n", text ? text : "{}");

	*ret_length = strlen(line);
	return line;
}
