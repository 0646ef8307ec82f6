/* JSON with values in it. A library would keep copies of them where nobody wipes them. */
#include "client/cli/import/entries.h"

#include <ctype.h>
#include <string.h>

#define DEEPEST 16

struct json_reader {
	const char *at, *end;
	unsigned line, depth;
	struct entries *entries;
	char name[MAYFLY_REFERENCE_MAX + 1]; /* of the member that is read, with what it is in */
	size_t name_length;
};

static int wrong(const struct json_reader *reader, const char *what, struct mayfly_error *err)
{
	return error_set(err, -EINVAL, "line %u: %s", reader->line, what);
}

/* The next character that is no space, '\0' at the end; it stays. */
static char peek(struct json_reader *reader)
{
	while (reader->at < reader->end && *reader->at && strchr(" \t\r\n", *reader->at)) {
		reader->line += *reader->at == '\n';
		reader->at++;
	}
	return reader->at < reader->end ? *reader->at : '\0';
}

static int hex4(struct json_reader *reader, unsigned *ret_number)
{
	*ret_number = 0;
	if (reader->end - reader->at < 4)
		return -EINVAL;
	for (int i = 0; i < 4; i++) {
		const char c = (char)tolower((unsigned char)*reader->at++);

		if (!isxdigit((unsigned char)c))
			return -EINVAL;
		*ret_number = *ret_number * 16 +
			      (unsigned)(isdigit((unsigned char)c) ? c - '0' : c - 'a' + 10);
	}
	return 0;
}

/* Behind "\u": one character, of two halves where it needs them, in UTF-8. */
static int unicode(struct json_reader *reader, char to[4], size_t *ret_length)
{
	unsigned number, low;

	if (hex4(reader, &number) < 0 || (number >= 0xdc00 && number <= 0xdfff))
		return -EINVAL;
	if (number >= 0xd800 && number <= 0xdbff) {
		if (reader->end - reader->at < 2 || memcmp(reader->at, "\\u", 2) != 0)
			return -EINVAL;
		reader->at += 2;
		if (hex4(reader, &low) < 0 || low < 0xdc00 || low > 0xdfff)
			return -EINVAL;
		number = 0x10000 + ((number - 0xd800) << 10) + (low - 0xdc00);
	}
	*ret_length = number < 0x80 ? 1 : number < 0x800 ? 2 : number < 0x10000 ? 3 : 4;
	for (size_t i = *ret_length; i-- > 1; number >>= 6)
		to[i] = (char)(0x80 | (number & 0x3f));
	to[0] = (char)(*ret_length == 1 ? number : (0xf00U >> *ret_length & 0xff) | number);
	return 0;
}

static int escape(struct json_reader *reader, char to[4], size_t *ret_length)
{
	static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	const char *letter;

	if (reader->at == reader->end)
		return -EINVAL;
	if (*reader->at == 'u') {
		reader->at++;
		return unicode(reader, to, ret_length);
	}
	letter = *reader->at ? strchr(letters, *reader->at) : NULL;
	if (!letter)
		return -EINVAL;
	reader->at++;
	to[0] = meanings[letter - letters];
	*ret_length = 1;
	return 0;
}

/* The string at the reader, which becomes what the entries were put last. */
static int read_string(struct json_reader *reader, struct mayfly_error *err)
{
	if (peek(reader) != '"')
		return wrong(reader, "a string is missing", err);
	reader->at++;
	while (reader->at < reader->end && *reader->at != '"') {
		char bytes[4];
		size_t length = 1;
		int r;

		if ((unsigned char)*reader->at < ' ')
			return wrong(reader, "a string has a raw control character", err);
		bytes[0] = *reader->at++;
		if (bytes[0] == '\\' && escape(reader, bytes, &length) < 0)
			return wrong(reader, "a string has an escape that JSON has not", err);
		r = entries_put(reader->entries, bytes, length, err);
		if (r < 0)
			return r;
	}
	if (reader->at == reader->end)
		return wrong(reader, "a string has no end", err);
	reader->at++;
	return 0;
}

/* A number, true or false, as it is written; null is left out. */
static int read_word(struct json_reader *reader, bool *ret_is_null, struct mayfly_error *err)
{
	const char *from = reader->at;
	size_t length;

	while (reader->at < reader->end && (isalnum((unsigned char)*reader->at) ||
						   (*reader->at && strchr("+-.", *reader->at))))
		reader->at++;
	length = (size_t)(reader->at - from);
	*ret_is_null = length == 4 && memcmp(from, "null", 4) == 0;
	if (length == 0 || !(isdigit((unsigned char)from[0]) || from[0] == '-' || *ret_is_null ||
				   (length == 4 && memcmp(from, "true", 4) == 0) ||
				   (length == 5 && memcmp(from, "false", 5) == 0)))
		return wrong(reader, "a value is missing, or is none of JSON", err);
	return *ret_is_null ? 0 : entries_put(reader->entries, from, length, err);
}

static int read_object(struct json_reader *reader, struct mayfly_error *err);

static int read_value(struct json_reader *reader, struct mayfly_error *err)
{
	const size_t begun = entries_begin(reader->entries);
	const unsigned line = reader->line;
	bool is_null = false;
	int r;

	switch (peek(reader)) {
	case '{':
		return read_object(reader, err);
	case '[':
		return wrong(reader, "a list is no value of a secret", err);
	case '"':
		r = read_string(reader, err);
		break;
	default:
		r = read_word(reader, &is_null, err);
		break;
	}
	if (r < 0)
		return r;
	if (is_null) {
		text_list_add(&reader->entries->left_out, "line %u: null", line);
		return 0;
	}
	if (entries_find(reader->entries, reader->name, reader->name_length))
		return wrong(reader, "a name stands in it twice", err);
	return entries_add(reader->entries, reader->name, reader->name_length, begun, line, err);
}

/* Puts the member's name behind that of what it is in; *RET_BEFORE is the length without it. */
static int read_name(struct json_reader *reader, size_t *ret_before, struct mayfly_error *err)
{
	const size_t begun = entries_begin(reader->entries);
	const size_t slash = reader->name_length > 0;
	size_t length;
	int r = read_string(reader, err);

	if (r < 0)
		return r;
	length = reader->entries->used - begun;
	if (length == 0 || memchr(reader->entries->values.bytes + begun, '\0', length) ||
		reader->name_length + slash + length >= sizeof reader->name)
		return wrong(reader, "a name is empty or too long", err);
	*ret_before = reader->name_length;
	if (slash)
		reader->name[reader->name_length++] = '/';
	memcpy(reader->name + reader->name_length, reader->entries->values.bytes + begun, length);
	reader->name_length += length;
	reader->entries->used = begun;
	return 0;
}

static int read_member(struct json_reader *reader, struct mayfly_error *err)
{
	size_t before;
	int r = read_name(reader, &before, err);

	if (r < 0)
		return r;
	if (peek(reader) != ':')
		return wrong(reader, "a name has no value", err);
	reader->at++;
	r = read_value(reader, err);
	reader->name_length = before;
	return r;
}

static int read_object(struct json_reader *reader, struct mayfly_error *err)
{
	if (peek(reader) != '{')
		return wrong(reader, "this is no JSON object", err);
	if (++reader->depth > DEEPEST)
		return wrong(reader, "objects are nested too deeply", err);
	reader->at++;
	if (peek(reader) != '}')
		for (;;) {
			const int r = read_member(reader, err);

			if (r < 0)
				return r;
			if (peek(reader) != ',')
				break;
			reader->at++;
		}
	if (peek(reader) != '}')
		return wrong(reader, "an object has no end", err);
	reader->at++;
	reader->depth--;
	return 0;
}

int json_values_parse(
	const char *text, size_t length, struct entries *entries, struct mayfly_error *err)
{
	struct json_reader reader = {
		.at = text, .end = text + length, .line = 1, .entries = entries
	};
	int r;

	if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		reader.at += 3;
	r = read_object(&reader, err);
	(void)peek(&reader);
	if (r == 0 && reader.at < reader.end)
		r = wrong(&reader, "something stands behind the object", err);
	return r;
}
