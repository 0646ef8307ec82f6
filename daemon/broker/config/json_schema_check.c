#include "daemon/broker/config/json_schema.h"

#include "daemon/broker/config/json_schema_parts.h"
#include "proto/secret_name.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define SHOWN_MAX 96

/* Of one file: data of another kind must not become a million complaints. */
#define COMPLAINTS_MAX 1000

struct check {
	const struct json_schema *schema;
	struct complaints *complaints; /* NULL: only count, for `if` */
	size_t found;
};

MAYFLY_PRINTF(5, 6)
static void complain(struct check *check, struct json_place place, unsigned line,
	const char *nearest, const char *format, ...)
{
	char text[512];
	va_list arguments;

	check->found++;
	if (!check->complaints || check->found > COMPLAINTS_MAX)
		return;
	if (check->found == COMPLAINTS_MAX) {
		complaint_add(check->complaints, place.document->file, line, NULL,
			"what else is wrong with this file is not shown");
		return;
	}
	va_start(arguments, format);
	(void)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	complaint_add(check->complaints, place.document->file, line, nearest, "%s", text);
}

#define COMPLAIN(check, place, nearest, ...) \
	complain(check, place, json_place_line(place), nearest, __VA_ARGS__)

/* The place as a complaint's subject: "'mode'", or "this entry". */
static const char *subject(struct json_place place, char *buffer, size_t size)
{
	char shown[SHOWN_MAX];

	if (!place.key)
		return place.position == 0 ? "the file" : "this entry";
	(void)snprintf(buffer, size, "'%s'",
		error_quote(shown, sizeof shown, place.key, strlen(place.key)));
	return buffer;
}

static const char *title_of(json_t *schema, const char *otherwise)
{
	const char *title = json_string_value(json_object_get(schema, "title"));

	return title ? title : otherwise;
}

static const char *type_of(json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "object";
	case JSON_ARRAY:
		return "array";
	case JSON_STRING:
		return "string";
	case JSON_INTEGER:
		return "integer";
	case JSON_TRUE:
	case JSON_FALSE:
		return "boolean";
	case JSON_REAL:
		return "real";
	case JSON_NULL:
		break;
	}
	return "null";
}

static bool has_type(json_t *type, const char *found)
{
	json_t *one;
	size_t i;

	if (json_is_string(type))
		return strcmp(found, json_string_value(type)) == 0;
	json_array_foreach (type, i, one)
		if (strcmp(found, json_string_value(one)) == 0)
			return true;
	return false;
}

static bool check_type(struct check *check, json_t *schema, struct json_place place)
{
	json_t *type = json_object_get(schema, "type");
	const char *title = title_of(schema, NULL);
	const char *found = type_of(place.value);
	char name[SHOWN_MAX + 2];

	if (!type || has_type(type, found))
		return true;
	if (json_is_string(type))
		COMPLAIN(check, place, NULL, "%s must be %s, not %s%s%s%s",
			subject(place, name, sizeof name),
			json_type_in_words(json_string_value(type)), json_type_in_words(found),
			title ? " (" : "", title ? title : "", title ? ")" : "");
	else
		COMPLAIN(check, place, NULL, "%s must be %s, not %s",
			subject(place, name, sizeof name), title_of(schema, "of another type"),
			json_type_in_words(found));
	return false;
}

/* "'a', 'b' or 'c'" */
static void list_words(char *buffer, size_t size, const char *const *words, size_t count)
{
	size_t used = 0;

	buffer[0] = '\0';
	for (size_t i = 0; i < count && used < size; i++) {
		const char *before = i == 0 ? "" : i + 1 == count ? " or " : ", ";

		used += (size_t)snprintf(buffer + used, size - used, "%s'%s'", before, words[i]);
	}
}

static void check_enum(struct check *check, json_t *schema, struct json_place place)
{
	json_t *values = json_object_get(schema, "enum");
	const char *text = json_string_value(place.value);
	const char *words[JSON_SCHEMA_WORDS_MAX];
	char name[SHOWN_MAX + 2], shown[SHOWN_MAX], list[256];
	size_t count = 0;
	json_t *value;
	size_t i;

	if (!values)
		return;
	json_array_foreach (values, i, value) {
		if (json_equal(value, place.value))
			return;
		words[count++] = json_string_value(value);
	}
	list_words(list, sizeof list, words, count);
	if (text)
		COMPLAIN(check, place, nearest_word(text, words, count),
			"'%s' is not %s: choose %s",
			error_quote(shown, sizeof shown, text, strlen(text)),
			title_of(schema, "one of these"), list);
	else
		COMPLAIN(check, place, NULL, "%s must be %s", subject(place, name, sizeof name),
			list);
}

static void check_const(struct check *check, json_t *schema, struct json_place place)
{
	json_t *value = json_object_get(schema, "const");
	char name[SHOWN_MAX + 2];

	if (!value || json_equal(value, place.value))
		return;
	COMPLAIN(check, place, NULL, "%s can only be true; leave it out otherwise",
		subject(place, name, sizeof name));
}

/* In characters, as the draft counts. jansson has checked that TEXT is UTF-8. */
static size_t characters(const char *text)
{
	size_t count = 0;

	for (; *text; text++)
		count += ((unsigned char)*text & 0xc0) != 0x80;
	return count;
}

static void check_string(struct check *check, json_t *schema, struct json_place place)
{
	const char *text = json_string_value(place.value);
	json_t *minimum = json_object_get(schema, "minLength");
	json_t *maximum = json_object_get(schema, "maxLength");
	const char *pattern = json_string_value(json_object_get(schema, "pattern"));
	char name[SHOWN_MAX + 2], shown[SHOWN_MAX];
	const size_t length = text ? characters(text) : 0;

	if (!text)
		return;
	/* First, so that an expression never meets a text of any length. */
	if (maximum && length > (size_t)json_integer_value(maximum))
		COMPLAIN(check, place, NULL,
			"%s has %zu characters, at most %" JSON_INTEGER_FORMAT " are allowed",
			subject(place, name, sizeof name), length, json_integer_value(maximum));
	else if ((minimum && length < (size_t)json_integer_value(minimum)) ||
		 (pattern && !json_schema_matches(check->schema, pattern, text)))
		COMPLAIN(check, place, NULL, "'%s' is not %s",
			error_quote(shown, sizeof shown, text, strlen(text)),
			title_of(schema, "long enough"));
}

static void check_number(struct check *check, json_t *schema, struct json_place place)
{
	json_t *minimum = json_object_get(schema, "minimum");
	json_t *maximum = json_object_get(schema, "maximum");
	const json_int_t number = json_integer_value(place.value);
	char name[SHOWN_MAX + 2];

	if (!json_is_integer(place.value))
		return;
	if ((minimum && number < json_integer_value(minimum)) ||
		(maximum && number > json_integer_value(maximum)))
		COMPLAIN(check, place, NULL, "%s is %" JSON_INTEGER_FORMAT ", not %s",
			subject(place, name, sizeof name), number,
			title_of(schema, "in the range"));
}

static void check_value(struct check *check, json_t *schema, struct json_place place);

static bool stands_before(struct json_place array, size_t index)
{
	json_t *value = json_array_get(array.value, index);

	for (size_t i = 0; i < index; i++)
		if (json_equal(json_array_get(array.value, i), value))
			return true;
	return false;
}

static void check_array(struct check *check, json_t *schema, struct json_place place)
{
	json_t *minimum = json_object_get(schema, "minItems");
	json_t *maximum = json_object_get(schema, "maxItems");
	json_t *items = json_object_get(schema, "items");
	const bool unique = json_is_true(json_object_get(schema, "uniqueItems"));
	const size_t count = json_array_size(place.value);
	struct json_walk walk = json_walk_start(place);
	char name[SHOWN_MAX + 2];
	struct json_place item;

	if (!json_is_array(place.value))
		return;
	if ((minimum && count < (size_t)json_integer_value(minimum)) ||
		(maximum && count > (size_t)json_integer_value(maximum))) {
		COMPLAIN(check, place, NULL, "%s has %zu entries; it must be %s",
			subject(place, name, sizeof name), count,
			title_of(schema, "of another length"));
		return;
	}
	for (size_t i = 0; json_walk_next(&walk, &item); i++) {
		if (items)
			check_value(check, items, item);
		if (unique && stands_before(place, i))
			COMPLAIN(check, item, NULL, "this entry of %s stands there twice",
				subject(place, name, sizeof name));
	}
}

static void complain_of_key(
	struct check *check, json_t *schema, json_t *properties, struct json_place member)
{
	const char *words[JSON_SCHEMA_WORDS_MAX];
	char name[SHOWN_MAX + 2];
	size_t count = 0;
	const char *key;
	json_t *unused;

	json_object_foreach (properties, key, unused)
		words[count++] = key;
	complain(check, member, json_place_key_line(member), nearest_word(member.key, words, count),
		"unknown key %s in %s", subject(member, name, sizeof name),
		title_of(schema, "this object"));
}

/* True when a schema for members of this name was found, and applied. */
static bool check_known_member(struct check *check, json_t *schema, struct json_place member)
{
	json_t *known = json_object_get(json_object_get(schema, "properties"), member.key);
	json_t *patterns = json_object_get(schema, "patternProperties");
	const size_t before = check->found;
	bool is_known = known != NULL;
	const char *pattern;
	json_t *part;

	if (known)
		check_value(check, known, member);
	json_object_foreach (patterns, pattern, part) {
		if (!json_schema_matches(check->schema, pattern, member.key))
			continue;
		is_known = true;
		/* Both apply, but one complaint about a member is enough. */
		if (check->found == before)
			check_value(check, part, member);
	}
	return is_known;
}

static void check_name(struct check *check, json_t *names, struct json_place member)
{
	json_t *name = json_string(member.key);
	struct json_place place = member;

	if (!name) {
		COMPLAIN(check, member, NULL, "there is not enough memory to check this key");
		return;
	}
	place.value = name;
	check_value(check, names, place);
	json_decref(name);
}

static void check_member(struct check *check, json_t *schema, struct json_place member)
{
	json_t *names = json_object_get(schema, "propertyNames");
	json_t *others = json_object_get(schema, "additionalProperties");

	if (names)
		check_name(check, names, member);
	if (check_known_member(check, schema, member) || !others)
		return;
	if (json_is_false(others))
		complain_of_key(check, schema, json_object_get(schema, "properties"), member);
	else
		check_value(check, others, member);
}

static void check_object(struct check *check, json_t *schema, struct json_place place)
{
	json_t *maximum = json_object_get(schema, "maxProperties");
	struct json_walk walk = json_walk_start(place);
	struct json_place member;
	json_t *key;
	size_t i;

	if (!json_is_object(place.value))
		return;
	if (maximum && json_object_size(place.value) > (size_t)json_integer_value(maximum)) {
		COMPLAIN(check, place, NULL, "%zu keys are too many for %s",
			json_object_size(place.value), title_of(schema, "this object"));
		return;
	}
	json_array_foreach (json_object_get(schema, "required"), i, key)
		if (!json_object_get(place.value, json_string_value(key)))
			COMPLAIN(check, place, NULL, "%s needs the key '%s'",
				title_of(schema, "this object"), json_string_value(key));
	while (json_walk_next(&walk, &member))
		check_member(check, schema, member);
}

static void check_branch(struct check *check, json_t *schema, struct json_place place)
{
	json_t *condition = json_object_get(schema, "if");
	struct check quiet = { .schema = check->schema };
	json_t *branch;

	if (!condition)
		return;
	check_value(&quiet, condition, place);
	branch = json_object_get(schema, quiet.found == 0 ? "then" : "else");
	if (branch)
		check_value(check, branch, place);
}

/* A value of a wrong type gets one complaint, not one for each other keyword. */
static void check_value(struct check *check, json_t *schema, struct json_place place)
{
	const char *reference = json_string_value(json_object_get(schema, "$ref"));
	const size_t before = check->found;

	if (reference)
		check_value(check, json_schema_resolve(check->schema, reference), place);
	if (check->found != before || !check_type(check, schema, place))
		return;
	check_enum(check, schema, place);
	check_const(check, schema, place);
	check_string(check, schema, place);
	check_number(check, schema, place);
	check_array(check, schema, place);
	check_object(check, schema, place);
	check_branch(check, schema, place);
}

bool json_schema_check(const struct json_schema *schema, const struct json_document *document,
	struct complaints *complaints)
{
	struct check check = { .schema = schema, .complaints = complaints };

	check_value(&check, schema->root, json_document_root(document));
	return check.found == 0;
}
