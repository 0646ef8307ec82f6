#include "daemon/broker/https/json_slice.h"

#include <errno.h>
#include <string.h>

/* What is left to be read. */
struct reader {
	const char *at, *end;
	unsigned depth;
};

static void skip_space(struct reader *reader)
{
	while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t' ||
						   *reader->at == '\n' || *reader->at == '\r'))
		reader->at++;
}

static bool take(struct reader *reader, char c)
{
	if (reader->at == reader->end || *reader->at != c)
		return false;
	reader->at++;
	return true;
}

static bool take_word(struct reader *reader, const char *word)
{
	const size_t length = strlen(word);

	if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
		return false;
	reader->at += length;
	return true;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Four hex digits; -1 when they are none. */
static int32_t take_hex(struct reader *reader)
{
	int32_t value = 0;

	if (reader->end - reader->at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		const int digit = hex_value(*reader->at++);

		if (digit < 0)
			return -1;
		value = value * 16 + digit;
	}
	return value;
}

/* What stands behind "\u": one code point, of two halves if need be. */
static int32_t take_escaped_point(struct reader *reader)
{
	const int32_t high = take_hex(reader);
	int32_t low;

	if (high < 0xd800 || high > 0xdfff)
		return high;
	if (high > 0xdbff || !take_word(reader, "\\u"))
		return -1;
	low = take_hex(reader);
	if (low < 0xdc00 || low > 0xdfff)
		return -1;
	return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

static size_t encode_utf8(int32_t point, char bytes[4])
{
	if (point < 0x80) {
		bytes[0] = (char)point;
		return 1;
	}
	if (point < 0x800) {
		bytes[0] = (char)(0xc0 | (point >> 6));
		bytes[1] = (char)(0x80 | (point & 0x3f));
		return 2;
	}
	if (point < 0x10000) {
		bytes[0] = (char)(0xe0 | (point >> 12));
		bytes[1] = (char)(0x80 | ((point >> 6) & 0x3f));
		bytes[2] = (char)(0x80 | (point & 0x3f));
		return 3;
	}
	bytes[0] = (char)(0xf0 | (point >> 18));
	bytes[1] = (char)(0x80 | ((point >> 12) & 0x3f));
	bytes[2] = (char)(0x80 | ((point >> 6) & 0x3f));
	bytes[3] = (char)(0x80 | (point & 0x3f));
	return 4;
}

/* The length of the UTF-8 character at AT, 0 when it is none (overlong, a surrogate, cut off). */
static size_t utf8_length(const unsigned char *at, const unsigned char *end)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const size_t length = at[0] < 0x80	       ? 1
			      : (at[0] & 0xe0) == 0xc0 ? 2
			      : (at[0] & 0xf0) == 0xe0 ? 3
			      : (at[0] & 0xf8) == 0xf0 ? 4
						       : 0;
	uint32_t point;

	if (length <= 1)
		return length;
	if ((size_t)(end - at) < length)
		return 0;
	point = at[0] & (0x7fu >> length);
	for (size_t i = 1; i < length; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		point = (point << 6) | (at[i] & 0x3fu);
	}
	if (point < least[length] || (point >= 0xd800 && point <= 0xdfff) || point > 0x10ffff)
		return 0;
	return length;
}

/* One character of a string as bytes. Returns their number, 0 at the closing quote (which stays),
 * -1 when it is none. */
static int take_character(struct reader *reader, char bytes[4])
{
	static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	const char *found;
	size_t length;
	int32_t point;

	if (reader->at == reader->end || (unsigned char)*reader->at < 0x20)
		return -1;
	if (*reader->at == '"')
		return 0;
	if (*reader->at != '\\') {
		length = utf8_length(
			(const unsigned char *)reader->at, (const unsigned char *)reader->end);
		memcpy(bytes, reader->at, length);
		reader->at += length;
		return length ? (int)length : -1;
	}
	reader->at++;
	if (reader->at == reader->end)
		return -1;
	if (take(reader, 'u')) {
		point = take_escaped_point(reader);
		return point < 0 ? -1 : (int)encode_utf8(point, bytes);
	}
	found = *reader->at ? strchr(escapes, *reader->at) : NULL;
	reader->at++;
	if (!found)
		return -1;
	bytes[0] = meanings[found - escapes];
	return 1;
}

static bool skip_string(struct reader *reader)
{
	char bytes[4];
	int length;

	if (!take(reader, '"'))
		return false;
	while ((length = take_character(reader, bytes)) > 0)
		;
	return length == 0 && take(reader, '"');
}

static size_t skip_digits(struct reader *reader)
{
	const char *start = reader->at;

	while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9')
		reader->at++;
	return (size_t)(reader->at - start);
}

static bool skip_number(struct reader *reader)
{
	(void)take(reader, '-');
	if (!take(reader, '0') && skip_digits(reader) == 0)
		return false;
	if (take(reader, '.') && skip_digits(reader) == 0)
		return false;
	if (take(reader, 'e') || take(reader, 'E')) {
		if (!take(reader, '+'))
			(void)take(reader, '-');
		if (skip_digits(reader) == 0)
			return false;
	}
	return true;
}

static bool skip_value(struct reader *reader);

static bool skip_member(struct reader *reader)
{
	if (!skip_string(reader))
		return false;
	skip_space(reader);
	if (!take(reader, ':'))
		return false;
	return skip_value(reader);
}

/* An object or array, from behind its first character. */
static bool skip_items(struct reader *reader, char end, bool (*skip_item)(struct reader *))
{
	skip_space(reader);
	if (take(reader, end))
		return true;
	do {
		skip_space(reader);
		if (!skip_item(reader))
			return false;
		skip_space(reader);
	} while (take(reader, ','));
	return take(reader, end);
}

/* Real recursion, at most JSON_SLICE_DEPTH_MAX deep. */
static bool skip_value(struct reader *reader)
{
	bool is_fine;

	skip_space(reader);
	if (reader->at == reader->end || reader->depth >= JSON_SLICE_DEPTH_MAX)
		return false;
	reader->depth++;
	if (take(reader, '{'))
		is_fine = skip_items(reader, '}', skip_member);
	else if (take(reader, '['))
		is_fine = skip_items(reader, ']', skip_value);
	else if (*reader->at == '"')
		is_fine = skip_string(reader);
	else if (*reader->at == '-' || (*reader->at >= '0' && *reader->at <= '9'))
		is_fine = skip_number(reader);
	else
		is_fine = take_word(reader, "true") || take_word(reader, "false") ||
			  take_word(reader, "null");
	reader->depth--;
	return is_fine;
}

int json_slice_check(const char *text, size_t length, struct json_slice *ret_document)
{
	struct reader reader = { .at = text, .end = text + length };
	const char *start, *end;

	skip_space(&reader);
	start = reader.at;
	if (!skip_value(&reader))
		return -EBADMSG;
	end = reader.at;
	skip_space(&reader);
	if (reader.at != reader.end)
		return -EBADMSG;
	*ret_document = (struct json_slice){ .text = start, .length = (size_t)(end - start) };
	return 0;
}

enum json_slice_kind json_slice_kind(struct json_slice slice)
{
	if (slice.length == 0)
		return JSON_SLICE_NONE;
	switch (slice.text[0]) {
	case '{':
		return JSON_SLICE_OBJECT;
	case '[':
		return JSON_SLICE_ARRAY;
	case '"':
		return JSON_SLICE_STRING;
	case 't':
		return JSON_SLICE_TRUE;
	case 'f':
		return JSON_SLICE_FALSE;
	case 'n':
		return JSON_SLICE_NULL;
	default:
		return JSON_SLICE_NUMBER;
	}
}

/* ---- Walking through an object or array that was checked. ---- */

static bool walk_start(struct json_slice slice, struct reader *reader)
{
	const enum json_slice_kind kind = json_slice_kind(slice);

	*reader = (struct reader){ .at = slice.text, .end = slice.text + slice.length };
	if (kind != JSON_SLICE_OBJECT && kind != JSON_SLICE_ARRAY)
		return false;
	reader->at++;
	return true;
}

/* The next value; its key in *RET_KEY for objects. False at the end. */
static bool walk_next(struct reader *reader, bool is_object, struct json_slice *ret_key,
	struct json_slice *ret_value)
{
	const char *start;

	skip_space(reader);
	if (take(reader, ','))
		skip_space(reader);
	if (take(reader, '}') || take(reader, ']') || reader->at == reader->end)
		return false;
	if (is_object) {
		start = reader->at;
		(void)skip_string(reader); /* was checked */
		*ret_key = (struct json_slice){ start, (size_t)(reader->at - start) };
		skip_space(reader);
		(void)take(reader, ':');
		skip_space(reader);
	}
	start = reader->at;
	(void)skip_value(reader); /* was checked */
	*ret_value = (struct json_slice){ start, (size_t)(reader->at - start) };
	return true;
}

/* Whether the string KEY means WORD. Not in constant time: keys are names. */
static bool key_is(struct json_slice key, const char *word)
{
	struct reader reader = { .at = key.text + 1, .end = key.text + key.length };
	char bytes[4];
	int length;

	while ((length = take_character(&reader, bytes)) > 0) {
		if (strncmp(word, bytes, (size_t)length) != 0)
			return false;
		word += length;
	}
	return *word == '\0';
}

bool json_slice_member(struct json_slice object, const char *key, struct json_slice *ret_value)
{
	struct json_slice found = { 0 }, name, value;
	struct reader reader;

	if (json_slice_kind(object) != JSON_SLICE_OBJECT || !walk_start(object, &reader))
		return false;
	while (walk_next(&reader, true, &name, &value)) {
		if (!key_is(name, key))
			continue;
		if (found.text)
			return false;
		found = value;
	}
	if (found.text)
		*ret_value = found;
	return found.text != NULL;
}

bool json_slice_path(
	struct json_slice object, const char *const *keys, struct json_slice *ret_value)
{
	for (; *keys; keys++)
		if (!json_slice_member(object, *keys, &object))
			return false;
	*ret_value = object;
	return true;
}

size_t json_slice_count(struct json_slice slice)
{
	const bool is_object = json_slice_kind(slice) == JSON_SLICE_OBJECT;
	struct json_slice key, value;
	struct reader reader;
	size_t count = 0;

	if (!walk_start(slice, &reader))
		return 0;
	while (walk_next(&reader, is_object, &key, &value))
		count++;
	return count;
}

bool json_slice_item(struct json_slice array, size_t index, struct json_slice *ret_value)
{
	struct json_slice key, value;
	struct reader reader;

	if (json_slice_kind(array) != JSON_SLICE_ARRAY || !walk_start(array, &reader))
		return false;
	for (size_t i = 0; walk_next(&reader, false, &key, &value); i++)
		if (i == index) {
			*ret_value = value;
			return true;
		}
	return false;
}

ssize_t json_slice_decode(struct json_slice string, char *into)
{
	struct reader reader = { .at = string.text + 1, .end = string.text + string.length };
	ssize_t count = 0;
	char bytes[4];
	int length;

	if (json_slice_kind(string) != JSON_SLICE_STRING)
		return -EINVAL;
	while ((length = take_character(&reader, bytes)) > 0) {
		if (into)
			memcpy(into + count, bytes, (size_t)length);
		count += length;
	}
	/* It was a part of a secret. */
	explicit_bzero(bytes, sizeof bytes);
	return count;
}

bool json_slice_text(struct json_slice string, char *buffer, size_t size)
{
	const ssize_t length = json_slice_decode(string, NULL);

	if (length < 0 || (size_t)length >= size)
		return false;
	(void)json_slice_decode(string, buffer);
	buffer[length] = '\0';
	return strlen(buffer) == (size_t)length;
}

bool json_slice_integer(struct json_slice number, int64_t *ret_value)
{
	const bool is_negative = number.length > 0 && number.text[0] == '-';
	int64_t value = 0;

	if (json_slice_kind(number) != JSON_SLICE_NUMBER)
		return false;
	for (size_t i = is_negative; i < number.length; i++) {
		const char c = number.text[i];

		if (c < '0' || c > '9' || value > (INT64_MAX - 9) / 10)
			return false;
		value = value * 10 + (c - '0');
	}
	*ret_value = is_negative ? -value : value;
	return true;
}
