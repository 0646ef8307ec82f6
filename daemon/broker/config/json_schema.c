#include "daemon/broker/config/json_schema.h"

#include "daemon/broker/config/json_schema_parts.h"
#include "proto/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum keyword_kind {
	BINDS_NOTHING = 1,
	IS_TYPE,
	IS_WORDS, /* strings, as many as a complaint can list */
	IS_TRUE,
	IS_NUMBER,
	IS_PATTERN,
	IS_REFERENCE,
	IS_SCHEMA,
	IS_SCHEMAS_BY_NAME,
	IS_SCHEMAS_BY_PATTERN,
	IS_FALSE_OR_SCHEMA,
};

static const struct {
	const char *name;
	enum keyword_kind kind;
} keywords[] = {
	{ "$schema", BINDS_NOTHING },
	{ "$id", BINDS_NOTHING },
	{ "title", BINDS_NOTHING },
	{ "description", BINDS_NOTHING },
	{ "default", BINDS_NOTHING },
	{ "type", IS_TYPE },
	{ "enum", IS_WORDS },
	{ "const", IS_TRUE },
	{ "minLength", IS_NUMBER },
	{ "maxLength", IS_NUMBER },
	{ "minimum", IS_NUMBER },
	{ "maximum", IS_NUMBER },
	{ "minItems", IS_NUMBER },
	{ "maxItems", IS_NUMBER },
	{ "uniqueItems", IS_TRUE },
	{ "required", IS_WORDS },
	{ "maxProperties", IS_NUMBER },
	{ "pattern", IS_PATTERN },
	{ "$ref", IS_REFERENCE },
	{ "items", IS_SCHEMA },
	{ "propertyNames", IS_SCHEMA },
	{ "if", IS_SCHEMA },
	{ "then", IS_SCHEMA },
	{ "else", IS_SCHEMA },
	{ "properties", IS_SCHEMAS_BY_NAME },
	{ "$defs", IS_SCHEMAS_BY_NAME },
	{ "patternProperties", IS_SCHEMAS_BY_PATTERN },
	{ "additionalProperties", IS_FALSE_OR_SCHEMA },
};

static enum keyword_kind keyword_kind(const char *name)
{
	for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++)
		if (strcmp(keywords[i].name, name) == 0)
			return keywords[i].kind;
	return 0;
}

static bool are_words(json_t *value)
{
	json_t *word;
	size_t i;

	json_array_foreach (value, i, word)
		if (!json_is_string(word))
			return false;
	return json_is_array(value) && i > 0 && i <= JSON_SCHEMA_WORDS_MAX;
}

static bool are_types(json_t *value)
{
	json_t *word;
	size_t i;

	json_array_foreach (value, i, word)
		if (!json_type_in_words(json_string_value(word)))
			return false;
	return json_is_array(value) || json_type_in_words(json_string_value(value));
}

json_t *json_schema_resolve(const struct json_schema *schema, const char *reference)
{
	static const char prefix[] = "#/$defs/";

	if (strncmp(reference, prefix, sizeof prefix - 1) != 0)
		return NULL;
	return json_object_get(
		json_object_get(schema->root, "$defs"), reference + sizeof prefix - 1);
}

static int compile(struct json_schema *schema, const char *text)
{
	struct compiled_pattern *grown = reallocarray(
		schema->patterns, schema->patterns_count + 1, sizeof *schema->patterns);
	int r;

	if (!grown)
		return -ENOMEM;
	schema->patterns = grown;
	grown[schema->patterns_count].text = text;
	r = regcomp(&grown[schema->patterns_count].expression, text, REG_EXTENDED | REG_NOSUB);
	if (r == REG_ESPACE)
		return -ENOMEM;
	assert(r == 0);
	schema->patterns_count++;
	return 0;
}

static int read_schema(struct json_schema *schema, json_t *part);

static int read_schemas(struct json_schema *schema, json_t *parts, bool by_pattern)
{
	const char *name;
	json_t *part;
	int r = 0;

	assert(json_is_object(parts) && json_object_size(parts) <= JSON_SCHEMA_WORDS_MAX);
	json_object_foreach (parts, name, part) {
		if (by_pattern)
			r = compile(schema, name);
		if (r == 0)
			r = read_schema(schema, part);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_keyword(struct json_schema *schema, const char *name, json_t *value)
{
	switch (keyword_kind(name)) {
	case BINDS_NOTHING:
		return 0;
	case IS_TYPE:
		assert(are_types(value));
		return 0;
	case IS_WORDS:
		assert(are_words(value));
		return 0;
	case IS_TRUE:
		assert(json_is_true(value));
		return 0;
	case IS_NUMBER:
		assert(json_is_integer(value));
		return 0;
	case IS_PATTERN:
		return compile(schema, json_string_value(value));
	case IS_REFERENCE:
		assert(json_schema_resolve(schema, json_string_value(value)));
		return 0;
	case IS_SCHEMA:
		return read_schema(schema, value);
	case IS_SCHEMAS_BY_NAME:
		return read_schemas(schema, value, false);
	case IS_SCHEMAS_BY_PATTERN:
		return read_schemas(schema, value, true);
	case IS_FALSE_OR_SCHEMA:
		return json_is_false(value) ? 0 : read_schema(schema, value);
	}
	assert(!"a keyword that is not enforced");
	return -EINVAL;
}

static int read_schema(struct json_schema *schema, json_t *part)
{
	const char *name;
	json_t *value;
	int r;

	assert(json_is_object(part));
	/* A complaint about an expression needs words: nobody should have to read the expression.
	 */
	assert(!json_object_get(part, "pattern") || json_object_get(part, "title"));
	json_object_foreach (part, name, value) {
		r = read_keyword(schema, name, value);
		if (r < 0)
			return r;
	}
	return 0;
}

int json_schema_new(const struct schema_text *text, struct json_schema **ret_schema)
{
	MAYFLY_CLEANUP(json_schema_free_p)
	struct json_schema *schema = calloc(1, sizeof *schema);
	int r;

	if (!schema)
		return -ENOMEM;
	schema->root = json_loadb(text->bytes, text->length, JSON_REJECT_DUPLICATES, NULL);
	/* The text was read when it was built in: only memory can be missing. */
	if (!schema->root)
		return -ENOMEM;
	r = read_schema(schema, schema->root);
	if (r < 0)
		return r;
	*ret_schema = ptr_take(&schema);
	return 0;
}

void json_schema_free(struct json_schema *schema)
{
	if (!schema)
		return;
	for (size_t i = 0; i < schema->patterns_count; i++)
		regfree(&schema->patterns[i].expression);
	free(schema->patterns);
	json_decref(schema->root);
	free(schema);
}

const char *json_type_in_words(const char *type)
{
	static const char *const words[][2] = {
		{ "object", "an object" },
		{ "array", "a list" },
		{ "string", "a string" },
		{ "integer", "a whole number" },
		{ "boolean", "true or false" },
		{ "real", "a number with a fraction" },
		{ "null", "null" },
	};

	for (size_t i = 0; type && i < sizeof words / sizeof words[0]; i++)
		if (strcmp(words[i][0], type) == 0)
			return words[i][1];
	return NULL;
}

bool json_schema_matches(const struct json_schema *schema, const char *pattern, const char *text)
{
	for (size_t i = 0; i < schema->patterns_count; i++) {
		const struct compiled_pattern *compiled = &schema->patterns[i];

		if (strcmp(compiled->text, pattern) == 0)
			return regexec(&compiled->expression, text, 0, NULL, 0) == 0;
	}
	assert(!"a pattern that was not compiled");
	return false;
}
