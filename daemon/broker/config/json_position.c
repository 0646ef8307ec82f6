#include "daemon/broker/config/json_position.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One reading of a text for its lines. jansson has accepted the text, so what is read here is well
 * formed and nested at most JSON_PARSER_MAX_DEPTH (2048) deep; the bounds are checked all the same.
 */
struct reading {
	const char *at, *end;
	unsigned line;
	struct json_position *positions;
	size_t count, room;
};

static char next_token(struct reading *reading)
{
	for (; reading->at < reading->end; reading->at++) {
		const char c = *reading->at;

		if (c == '\n')
			reading->line++;
		else if (c != ' ' && c != '\t' && c != '\r')
			return c;
	}
	return '\0';
}

static void skip_string(struct reading *reading)
{
	for (reading->at++; reading->at < reading->end; reading->at++) {
		if (*reading->at == '"') {
			reading->at++;
			return;
		}
		if (*reading->at == '\\')
			reading->at++;
	}
}

/* A number, true, false or null. */
static void skip_word(struct reading *reading)
{
	do
		reading->at++;
	while (reading->at < reading->end && !strchr(" \t\r\n,:[]{}\"", *reading->at));
}

static int add_position(struct reading *reading, unsigned key_line)
{
	if (reading->count == reading->room) {
		const size_t room = reading->room ? reading->room * 2 : 64;
		struct json_position *grown = reallocarray(reading->positions, room, sizeof *grown);

		if (!grown)
			return -ENOMEM;
		reading->positions = grown;
		reading->room = room;
	}
	reading->positions[reading->count++] =
		(struct json_position){ .line = reading->line, .key_line = key_line };
	return 0;
}

static int read_value(struct reading *reading, unsigned key_line);

static int read_container(struct reading *reading, char closing)
{
	for (reading->at++;;) {
		const char c = next_token(reading);
		unsigned key_line = 0;
		int r;

		if (c == '\0')
			return 0;
		if (c == closing || c == ',') {
			reading->at++;
			if (c == closing)
				return 0;
			continue;
		}
		if (closing == '}') {
			key_line = reading->line;
			skip_string(reading);
			if (next_token(reading) == ':')
				reading->at++;
		}
		r = read_value(reading, key_line);
		if (r < 0)
			return r;
	}
}

static int read_value(struct reading *reading, unsigned key_line)
{
	const char c = next_token(reading);
	const size_t mine = reading->count;
	int r = add_position(reading, key_line);

	if (r < 0)
		return r;
	if (c == '{' || c == '[')
		r = read_container(reading, c == '{' ? '}' : ']');
	else if (c == '"')
		skip_string(reading);
	else
		skip_word(reading);
	reading->positions[mine].end = reading->count;
	return r;
}

/* jansson says so, or says nothing at all. */
static bool failed_for_memory(const json_error_t *error)
{
	return json_error_code(error) == json_error_out_of_memory || error->text[0] == '\0';
}

/* jansson's own words, without bytes of the file that a terminal would obey. */
static void complain_of_syntax(struct complaints *complaints, const char *file, json_error_t *error)
{
	for (char *c = error->text; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
	complaint_add(complaints, file, error->line > 0 ? (unsigned)error->line : 1, NULL,
		"this is no valid JSON: %s", error->text);
}

/* jansson drops a zero byte behind a word or a number without a complaint; the second reading does
 * not, and the two must agree on every place. */
static bool has_zero_byte(
	const char *file, const char *text, size_t length, struct complaints *complaints)
{
	const char *zero = length > 0 ? memchr(text, '\0', length) : NULL;
	unsigned line = 1;

	if (!zero)
		return false;
	for (const char *c = text; c < zero; c++)
		line += *c == '\n';
	complaint_add(complaints, file, line, NULL, "this is no valid JSON: a zero byte");
	return true;
}

int json_document_parse(const char *file, const char *text, size_t length,
	struct json_document *ret_document, struct complaints *complaints)
{
	AUTO_DOCUMENT document = { .file = file };
	struct reading reading = { .at = text, .end = text + length, .line = 1 };
	json_error_t error = { 0 };
	int r;

	if (has_zero_byte(file, text, length, complaints))
		return -EINVAL;
	document.root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
	if (!document.root && failed_for_memory(&error))
		return -ENOMEM;
	if (!document.root) {
		complain_of_syntax(complaints, file, &error);
		return -EINVAL;
	}
	r = read_value(&reading, 0);
	document.positions = reading.positions;
	document.positions_count = reading.count;
	if (r < 0)
		return r;
	*ret_document = document;
	document = (struct json_document){ 0 };
	return 0;
}

void json_document_done(struct json_document *document)
{
	json_decref(document->root);
	free(document->positions);
	*document = (struct json_document){ 0 };
}

struct json_place json_document_root(const struct json_document *document)
{
	return (struct json_place){ .document = document, .value = document->root };
}

struct json_walk json_walk_start(struct json_place container)
{
	return (struct json_walk){
		.container = container,
		.iterator = json_object_iter(container.value),
		.position = container.position + 1,
	};
}

/* jansson keeps the order of an object's keys (since 2.8) and refuses two equal ones, so the nth
 * member is the nth in the text, however its key is escaped there. */
bool json_walk_next(struct json_walk *walk, struct json_place *ret_place)
{
	const struct json_document *document = walk->container.document;
	struct json_place place = { .document = document, .position = walk->position };

	if (walk->iterator) {
		place.value = json_object_iter_value(walk->iterator);
		place.key = json_object_iter_key(walk->iterator);
		walk->iterator = json_object_iter_next(walk->container.value, walk->iterator);
	} else {
		place.value = json_array_get(walk->container.value, walk->index++);
	}
	if (!place.value)
		return false;
	assert(walk->position < document->positions_count);
	walk->position = document->positions[walk->position].end;
	*ret_place = place;
	return true;
}

bool json_place_member(struct json_place object, const char *key, struct json_place *ret_place)
{
	struct json_walk walk = json_walk_start(object);
	struct json_place member;

	if (!json_is_object(object.value))
		return false;
	while (json_walk_next(&walk, &member)) {
		if (strcmp(member.key, key) == 0) {
			*ret_place = member;
			return true;
		}
	}
	return false;
}

const char *json_place_text(struct json_place object, const char *key)
{
	return json_string_value(json_object_get(object.value, key));
}

unsigned json_place_line(struct json_place place)
{
	return place.document->positions[place.position].line;
}

unsigned json_place_key_line(struct json_place place)
{
	const struct json_position *position = &place.document->positions[place.position];

	return position->key_line ? position->key_line : position->line;
}

void complaint_at(struct complaints *list, struct json_place place, const char *nearest,
	const char *format, ...)
{
	va_list arguments;
	char *text = NULL;
	int r;

	va_start(arguments, format);
	r = vasprintf(&text, format, arguments);
	va_end(arguments);
	assert(r >= 0);
	complaint_add(list, place.document->file, json_place_line(place), nearest, "%s", text);
	free(text);
}
