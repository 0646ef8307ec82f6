#include "client/cli/compose/yaml.h"
#include "client/cli/terminal/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#define DEPTH_MAX 64

/* A document on its way to JSON: every node is made once. */
struct reading {
	yaml_document_t *document;
	json_t **made; /* by node index, from 1 */
	struct mayfly_error *err;
};

/* A whole number in YAML 1.1's way, or 1.2's "0o17"; false for anything else. */
static bool is_number(const char *text, json_int_t *ret_number)
{
	const bool is_negative = text[0] == '-';
	const char *digits = is_negative || text[0] == '+' ? text + 1 : text;
	int base = 10;
	char *end = NULL;

	if (digits[0] == '0' && digits[1] != '\0') {
		base = 8;
		digits += digits[1] == 'o' ? 2 : 1;
	}
	/* strtoll() would take blanks and a second sign; more digits would not fit. */
	if (digits[0] < '0' || digits[0] > '9' || strlen(digits) > 18)
		return false;
	*ret_number = strtoll(digits, &end, base);
	if (is_negative)
		*ret_number = -*ret_number;
	return *end == '\0';
}

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(text, words[i]) == 0)
			return true;
	return false;
}

static json_t *plain_scalar(const char *text)
{
	static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
	static const char *const trues[] = { "true", "True", "TRUE" };
	static const char *const falses[] = { "false", "False", "FALSE" };
	json_int_t number;

	if (is_one_of(text, nulls, 5))
		return json_null();
	if (is_one_of(text, trues, 3))
		return json_true();
	if (is_one_of(text, falses, 3))
		return json_false();
	return is_number(text, &number) ? json_integer(number) : json_string(text);
}

static json_t *read_scalar(struct reading *reading, yaml_node_t *node)
{
	const char *text = (const char *)node->data.scalar.value;
	json_t *made;

	if (strlen(text) != node->data.scalar.length) {
		(void)error_set(reading->err, -EBADMSG, "a NUL in a text");
		return NULL;
	}
	made = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? plain_scalar(text)
								  : json_string(text);
	if (!made)
		(void)error_set(reading->err, -EBADMSG, "a text that is no UTF-8");
	return made;
}

static json_t *read_node(struct reading *reading, int index, unsigned depth);

static json_t *read_sequence(struct reading *reading, yaml_node_t *node, unsigned depth)
{
	AUTO_JSON json_t *list = json_made(json_array());

	for (yaml_node_item_t *item = node->data.sequence.items.start;
		item < node->data.sequence.items.top; item++) {
		json_t *value = read_node(reading, *item, depth + 1);

		if (!value || json_array_append_new(list, value) != 0)
			return NULL;
	}
	return ptr_take(&list);
}

static json_t *read_mapping(struct reading *reading, yaml_node_t *node, unsigned depth)
{
	AUTO_JSON json_t *object = json_made(json_object());

	for (yaml_node_pair_t *pair = node->data.mapping.pairs.start;
		pair < node->data.mapping.pairs.top; pair++) {
		yaml_node_t *key = yaml_document_get_node(reading->document, pair->key);
		json_t *value;

		if (!key || key->type != YAML_SCALAR_NODE) {
			(void)error_set(reading->err, -EBADMSG, "a key that is no text");
			return NULL;
		}
		value = read_node(reading, pair->value, depth + 1);
		if (!value || json_object_set_new(
				      object, (const char *)key->data.scalar.value, value) != 0)
			return NULL;
	}
	return ptr_take(&object);
}

/* Recursive, as documents are; the depth is bounded. */
static json_t *read_node(struct reading *reading, int index, unsigned depth)
{
	yaml_node_t *node = yaml_document_get_node(reading->document, index);
	json_t *made = NULL;

	/* A circle of aliases ends here too: a node is only kept when it is whole. */
	if (!node || depth > DEPTH_MAX) {
		(void)error_set(
			reading->err, -EBADMSG, "nesting beyond %d levels, or a circle", DEPTH_MAX);
		return NULL;
	}
	if (reading->made[index])
		return json_incref(reading->made[index]);
	if (node->type == YAML_SCALAR_NODE)
		made = read_scalar(reading, node);
	else if (node->type == YAML_SEQUENCE_NODE)
		made = read_sequence(reading, node, depth);
	else
		made = read_mapping(reading, node, depth);
	if (made)
		reading->made[index] = json_incref(made);
	return made;
}

static int read_document(yaml_document_t *document, json_t **ret_json, struct mayfly_error *err)
{
	const size_t count = (size_t)(document->nodes.top - document->nodes.start) + 1;
	struct reading reading = { .document = document, .err = err };
	json_t *json;

	if (!yaml_document_get_root_node(document))
		return error_set(err, -EBADMSG, "an empty document");
	reading.made = calloc(count, sizeof(json_t *));
	if (!reading.made)
		return error_errno(err, -ENOMEM, "read YAML");
	/* What goes wrong below says more. */
	(void)error_set(err, -EBADMSG, "a key that is no text");
	json = read_node(&reading, 1, 0);
	for (size_t i = 0; i < count; i++)
		json_decref(reading.made[i]);
	free(reading.made);
	if (!json)
		return -EBADMSG;
	*ret_json = json;
	return 0;
}

int yaml_read(const char *text, size_t length, json_t **ret_json, struct mayfly_error *err)
{
	yaml_parser_t parser;
	yaml_document_t document;
	int r;

	if (!yaml_parser_initialize(&parser))
		return error_errno(err, -ENOMEM, "read YAML");
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, length);
	if (yaml_parser_load(&parser, &document)) {
		r = read_document(&document, ret_json, err);
		yaml_document_delete(&document);
	} else {
		r = error_set(err, -EBADMSG, "line %zu: %s", parser.problem_mark.line + 1,
			parser.problem ? parser.problem : "no YAML");
	}
	yaml_parser_delete(&parser);
	return r;
}
