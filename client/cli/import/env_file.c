/* The statements of a .env file, their quotes and escapes. env_expand.c has the variables. */
#include "client/cli/import/entries.h"

#include <ctype.h>
#include <string.h>

struct env_reader {
	const char *at, *end;
	unsigned line;
	struct entries *entries;
	struct secret scratch; /* a quoted value before its variables are replaced */
};

/* How many bytes of the LENGTH at TEXT are one space by Unicode; 0: none. */
static size_t space_length(const char *text, size_t length)
{
	const unsigned char *c = (const unsigned char *)text;

	if (length >= 1 && (c[0] == ' ' || (c[0] >= '\t' && c[0] <= '\r')))
		return 1;
	if (length >= 2 && c[0] == 0xc2 && (c[1] == 0x85 || c[1] == 0xa0))
		return 2;
	if (length < 3)
		return 0;
	if ((c[0] == 0xe1 && c[1] == 0x9a && c[2] == 0x80) ||
		(c[0] == 0xe2 && c[1] == 0x80 &&
			((c[2] >= 0x80 && c[2] <= 0x8a) || c[2] == 0xa8 || c[2] == 0xa9 ||
				c[2] == 0xaf)) ||
		(c[0] == 0xe2 && c[1] == 0x81 && c[2] == 0x9f) ||
		(c[0] == 0xe3 && c[1] == 0x80 && c[2] == 0x80))
		return 3;
	return 0;
}

/* The space that may stand between the parts of one line. */
static size_t inner_space(const char *text, size_t length)
{
	const size_t space = space_length(text, length);

	return space <= 2 && (length == 0 || *text != '\n') ? space : 0;
}

static size_t trimmed(const char *text, size_t length)
{
	for (size_t cut = 1; cut > 0;) {
		cut = 0;
		for (size_t width = 1; width <= 3 && width <= length; width++)
			if (space_length(text + length - width, width) == width)
				cut = width;
		length -= cut;
	}
	return length;
}

static size_t left(const struct env_reader *reader)
{
	return (size_t)(reader->end - reader->at);
}

static void advance(struct env_reader *reader, size_t count)
{
	for (size_t i = 0; i < count; i++)
		reader->line += reader->at[i] == '\n';
	reader->at += count;
}

static void skip_inner_space(struct env_reader *reader)
{
	size_t space;

	while ((space = inner_space(reader->at, left(reader))) > 0)
		advance(reader, space);
}

/* To the next statement; false at the end. */
static bool next_statement(struct env_reader *reader)
{
	for (;;) {
		size_t space;

		while ((space = space_length(reader->at, left(reader))) > 0)
			advance(reader, space);
		if (left(reader) == 0)
			return false;
		if (*reader->at != '#')
			return true;
		while (left(reader) > 0 && *reader->at != '\n')
			advance(reader, 1);
	}
}

static void skip_export(struct env_reader *reader)
{
	static const char word[] = "export";
	const size_t length = sizeof word - 1;

	if (left(reader) <= length || memcmp(reader->at, word, length) != 0 ||
		!strchr(" \t\n\f\r", reader->at[length]) || reader->at[length] == '\0')
		return;
	advance(reader, length);
	skip_inner_space(reader);
}

/* A name up to its = or :. 1; 0 when the line ends without one. */
static int read_name(struct env_reader *reader, const char **ret_name, size_t *ret_length,
	struct mayfly_error *err)
{
	const char *from = reader->at;

	while (left(reader) > 0) {
		const char c = *reader->at;
		const size_t space = inner_space(reader->at, left(reader));

		if (space > 0) {
			advance(reader, space);
			continue;
		}
		if (c == '=' || c == ':' || c == '\n') {
			*ret_name = from;
			*ret_length = trimmed(from, (size_t)(reader->at - from));
			if (memchr(from, ' ', *ret_length))
				return error_set(err, -EINVAL,
					"line %u: there is a space in a variable's name",
					reader->line);
			advance(reader, 1);
			return c != '\n';
		}
		/* Letters of all scripts are a variable's; check_entries() knows what a secret's
		 * are. */
		if ((!isalnum((unsigned char)c) && (!c || !strchr("_.-[]", c)) &&
			    (unsigned char)c < 0x80) ||
			space_length(reader->at, left(reader)) > 0)
			return error_set(err, -EINVAL,
				"line %u: a variable's name has a character that none has",
				reader->line);
		advance(reader, 1);
	}
	*ret_name = from;
	*ret_length = trimmed(from, (size_t)(reader->at - from));
	return 0;
}

static int read_plain(struct env_reader *reader, struct mayfly_error *err)
{
	const char *from = reader->at;
	const char *end = memchr(from, '\n', left(reader));
	size_t length = end ? (size_t)(end - from) : left(reader);
	const char *comment = memmem(from, length, " #", 2);
	const unsigned line = reader->line;

	advance(reader, end ? length + 1 : length);
	if (comment)
		length = (size_t)(comment - from);
	return env_expand(reader->entries, from, trimmed(from, length), line, err);
}

/* The quoted text at the reader, to TO: a backslash takes the quote's meaning away and stays
 * otherwise. */
static int read_quoted(
	struct env_reader *reader, char *to, size_t *ret_length, struct mayfly_error *err)
{
	const unsigned line = reader->line;
	const char quote = *reader->at;
	bool is_escaped = false;
	size_t length = 0;

	advance(reader, 1);
	while (left(reader) > 0) {
		const char c = *reader->at;

		advance(reader, 1);
		if (c == quote && !is_escaped) {
			*ret_length = length;
			return 0;
		}
		if (c == '\\' && !is_escaped) {
			is_escaped = true;
			continue;
		}
		if (is_escaped && c != quote)
			to[length++] = '\\';
		to[length++] = c;
		is_escaped = false;
	}
	return error_set(err, -EINVAL, "line %u: a quoted value has no end", line);
}

/* Writes the character NUMBER, below 256, in UTF-8. */
static size_t put_utf8(char *to, unsigned number)
{
	if (number < 0x80) {
		to[0] = (char)number;
		return 1;
	}
	to[0] = (char)(0xc0 | number >> 6);
	to[1] = (char)(0x80 | (number & 0x3f));
	return 2;
}

/* "\0" and up to three digits at FROM: three octal ones are a character; anything else loses its 0
 * and stays. Returns how much was read. */
static size_t expand_octal(const char *from, size_t length, char *to, size_t *written)
{
	size_t digits = 0;
	unsigned number = 0;
	bool is_octal = true;

	while (digits < 3 && 2 + digits < length && isdigit((unsigned char)from[2 + digits])) {
		is_octal = is_octal && from[2 + digits] < '8';
		number = number * 8 + (unsigned)(from[2 + digits] - '0');
		digits++;
	}
	if (digits == 3 && is_octal && number < 256) {
		*written += put_utf8(to + *written, number);
	} else {
		to[(*written)++] = '\\';
		memmove(to + *written, from + 2, digits);
		*written += digits;
	}
	return 2 + digits;
}

/* Escapes of a value in double quotes, in place: none becomes longer. */
static size_t expand_escapes(char *text, size_t length)
{
	static const char letters[] = "abfnrtv\"\\", meanings[] = "\a\b\f\n\r\t\v\"\\";
	size_t written = 0;

	for (size_t i = 0; i < length;) {
		const char *letter = i + 1 < length && text[i] == '\\' && text[i + 1]
					     ? strchr(letters, text[i + 1])
					     : NULL;

		if (letter) {
			text[written++] = meanings[letter - letters];
			i += 2;
		} else if (i + 1 < length && text[i] == '\\' && text[i + 1] == '$') {
			text[written++] = '$';
			text[written++] = '$';
			i += 2;
		} else if (i + 1 < length && text[i] == '\\' && text[i + 1] == '0') {
			i += expand_octal(text + i, length - i, text, &written);
		} else {
			text[written++] = text[i++];
		}
	}
	return written;
}

static int read_value(struct env_reader *reader, struct mayfly_error *err)
{
	char *scratch = (char *)reader->scratch.bytes;
	const unsigned line = reader->line;
	size_t length;
	char quote;
	int r;

	if (left(reader) == 0 || (*reader->at != '"' && *reader->at != '\''))
		return read_plain(reader, err);
	quote = *reader->at;
	r = read_quoted(reader, scratch, &length, err);
	if (r < 0)
		return r;
	if (quote == '\'')
		return entries_put(reader->entries, scratch, length, err);
	length = expand_escapes(scratch, length);
	return env_expand(reader->entries, scratch, length, line, err);
}

static int read_statement(struct env_reader *reader, struct mayfly_error *err)
{
	const unsigned line = reader->line;
	size_t length = 0, begun;
	const char *name = NULL;
	int r;

	skip_export(reader);
	r = read_name(reader, &name, &length, err);
	if (r < 0)
		return r;
	if (r == 0) {
		if (length > 0)
			text_list_add(&reader->entries->left_out,
				"line %u: a name without a value, which Compose takes from the "
				"environment",
				line);
		return 0;
	}
	skip_inner_space(reader);
	begun = entries_begin(reader->entries);
	r = read_value(reader, err);
	return r < 0 ? r : entries_add(reader->entries, name, length, begun, line, err);
}

int env_file_parse(
	const char *text, size_t length, struct entries *entries, struct mayfly_error *err)
{
	struct env_reader reader = {
		.at = text, .end = text + length, .line = 1, .entries = entries
	};
	int r = secret_new(entries->values.arena, length + 1, &reader.scratch, err);

	if (length >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		reader.at += 3;
	while (r == 0 && next_statement(&reader))
		r = read_statement(&reader, err);
	secret_done(&reader.scratch);
	return r;
}
