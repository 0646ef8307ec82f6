#include "client/cli/compose/yaml.h"
#include "client/cli/terminal/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

/* Lines are not folded: a diff shows what changed. */
#define NO_WIDTH (-1)

struct writing {
	yaml_emitter_t emitter;
	bool with_tags;
	bool failed;
	char *text;
	size_t length;
};

static int append(void *data, unsigned char *bytes, size_t size)
{
	struct writing *writing = data;
	char *text = realloc(writing->text, writing->length + size + 1);

	if (!text)
		return 0;
	memcpy(text + writing->length, bytes, size);
	writing->text = text;
	writing->length += size;
	text[writing->length] = '\0';
	return 1;
}

/* EVENT was made if INITIALISED; the emitter frees it. */
static void emit(struct writing *writing, yaml_event_t *event, int initialised)
{
	if (!initialised || writing->failed || !yaml_emitter_emit(&writing->emitter, event))
		writing->failed = true;
}

/* What stays itself without quotes in every version of YAML: begins with a letter or '/', has only
 * harmless characters, and is no word with a meaning. */
static bool is_plain(const char *text)
{
	static const char *const words[] = { "true", "false", "yes", "no", "on", "off", "null", "y",
		"n" };
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
	static const char harmless[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-";

	if (!strchr(letters, text[0]) && text[0] != '/' && !(text[0] == '.' && text[1] == '/'))
		return false;
	if (text[0] == '\0' || text[strspn(text, harmless)] != '\0')
		return false;
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (strcasecmp(text, words[i]) == 0)
			return false;
	return true;
}

/* Several lines of printable text keep their lines. */
static bool is_literal(const char *text)
{
	if (text[0] == ' ' || text[0] == '\n' || !strchr(text, '\n'))
		return false;
	for (const char *c = text; *c; c++)
		if ((unsigned char)*c < 32 && *c != '\n')
			return false;
	return !strstr(text, " \n") && text[strlen(text) - 1] != ' ';
}

static void write_text(struct writing *writing, const char *text, bool plain, const char *tag)
{
	const yaml_scalar_style_t style = plain		     ? YAML_PLAIN_SCALAR_STYLE
					  : is_literal(text) ? YAML_LITERAL_SCALAR_STYLE
							     : YAML_DOUBLE_QUOTED_SCALAR_STYLE;
	yaml_event_t event;

	emit(writing, &event,
		yaml_scalar_event_initialize(&event, NULL, (const yaml_char_t *)tag,
			(const yaml_char_t *)text, (int)strlen(text), plain && !tag, !plain && !tag,
			style));
}

static void write_node(struct writing *writing, json_t *json, const char *tag);

static void write_list(struct writing *writing, json_t *list, const char *tag)
{
	const yaml_sequence_style_t style =
		json_array_size(list) > 0 ? YAML_BLOCK_SEQUENCE_STYLE : YAML_FLOW_SEQUENCE_STYLE;
	yaml_event_t event;
	size_t i;
	json_t *item;

	emit(writing, &event,
		yaml_sequence_start_event_initialize(
			&event, NULL, (const yaml_char_t *)tag, tag == NULL, style));
	json_array_foreach (list, i, item)
		write_node(writing, item, NULL);
	emit(writing, &event, yaml_sequence_end_event_initialize(&event));
}

static void write_object(struct writing *writing, json_t *object, const char *tag)
{
	const yaml_mapping_style_t style =
		json_object_size(object) > 0 ? YAML_BLOCK_MAPPING_STYLE : YAML_FLOW_MAPPING_STYLE;
	yaml_event_t event;
	const char *key;
	json_t *value;

	emit(writing, &event,
		yaml_mapping_start_event_initialize(
			&event, NULL, (const yaml_char_t *)tag, tag == NULL, style));
	json_object_foreach (object, key, value) {
		write_text(writing, key, is_plain(key), NULL);
		write_node(writing, value, NULL);
	}
	emit(writing, &event, yaml_mapping_end_event_initialize(&event));
}

/* The tag of {"!tag": value}, or NULL. */
static const char *tag_of(const struct writing *writing, json_t *json)
{
	const char *key = json_object_iter_key(json_object_iter(json));

	return writing->with_tags && json_object_size(json) == 1 && key[0] == '!' ? key : NULL;
}

/* Recursive, as documents are; jansson bounds the depth of what it has parsed. */
static void write_node(struct writing *writing, json_t *json, const char *tag)
{
	const char *own_tag = tag_of(writing, json);
	AUTO_FREE char *number = NULL;

	if (own_tag) {
		write_node(writing, json_object_get(json, own_tag), own_tag);
	} else if (json_is_object(json)) {
		write_object(writing, json, tag);
	} else if (json_is_array(json)) {
		write_list(writing, json, tag);
	} else if (json_is_string(json)) {
		const char *text = json_string_value(json);

		write_text(writing, text, is_plain(text), tag);
	} else {
		number = json_dumps(json, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
		write_text(writing, number ? number : "null", true, tag);
	}
}

static void write_document(struct writing *writing, json_t *json)
{
	yaml_event_t event;

	emit(writing, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING));
	emit(writing, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1));
	write_node(writing, json, NULL);
	emit(writing, &event, yaml_document_end_event_initialize(&event, 1));
	emit(writing, &event, yaml_stream_end_event_initialize(&event));
}

int yaml_write(json_t *json, const char *header, bool with_tags, char **ret_text,
	size_t *ret_length, struct mayfly_error *err)
{
	struct writing writing = { .with_tags = with_tags };

	if (!yaml_emitter_initialize(&writing.emitter))
		return error_errno(err, -ENOMEM, "write YAML");
	yaml_emitter_set_output(&writing.emitter, append, &writing);
	yaml_emitter_set_width(&writing.emitter, NO_WIDTH);
	yaml_emitter_set_unicode(&writing.emitter, 1);
	writing.text = text_copy(header);
	writing.length = strlen(header);
	write_document(&writing, json);
	yaml_emitter_delete(&writing.emitter);
	if (writing.failed) {
		free(writing.text);
		return error_set(err, -EIO, "write YAML: a text cannot be expressed");
	}
	*ret_text = writing.text;
	*ret_length = writing.length;
	return 0;
}
