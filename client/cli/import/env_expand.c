/* Variables in the values of a .env file. */
#include "client/cli/import/entries.h"

#include <ctype.h>
#include <string.h>

#define DEEPEST 16

struct expansion {
	struct entries *entries;
	unsigned line, depth;
};

/* ${NAME OPERATOR WORD}; OPERATOR '\0' when there is none. */
struct braced {
	const char *name, *word;
	size_t name_length, word_length;
	char operator;
	bool or_empty; /* ":-" and the like: an empty value counts as none */
	size_t length; /* of all of it */
};

static size_t name_length(const char *text, size_t length)
{
	size_t n = 0;

	if (length > 0 && isdigit((unsigned char)text[0]))
		return 0;
	while (n < length && (isalnum((unsigned char)text[n]) || text[n] == '_'))
		n++;
	return n;
}

/* Where the brace that TEXT begins with ("${") is closed; LENGTH when it is not. */
static size_t closing_brace(const char *text, size_t length)
{
	size_t open = 0;

	for (size_t i = 0; i < length; i++) {
		if (text[i] == '}' && --open == 0)
			return i;
		/* What stands behind an opening brace is a name's first character. */
		if (text[i] == '{') {
			open++;
			i++;
		}
	}
	return length;
}

/* The last closing brace of TEXT's first line, 0 when there is none. */
static size_t last_brace(const char *text, size_t length)
{
	size_t last = 0;

	for (size_t i = 0; i < length && text[i] != '\n'; i++)
		if (text[i] == '}')
			last = i;
	return last;
}

/* TEXT begins with "${". False for what Compose calls invalid. */
static bool read_braced(const char *text, size_t length, struct braced *ret)
{
	size_t at, end;

	*ret = (struct braced){ .name = text + 2 };
	ret->name_length = name_length(ret->name, length - 2);
	at = 2 + ret->name_length;
	if (ret->name_length == 0 || at >= length)
		return false;
	if (text[at] == '}') {
		ret->length = at + 1;
		return true;
	}
	if (text[at] == ':') {
		ret->or_empty = true;
		at++;
	}
	if (at >= length || !strchr("-+?", text[at]) || text[at] == '\0')
		return false;
	ret->operator= text[at++];
	end = last_brace(text, length);
	if (end < at)
		return false;
	if (closing_brace(text, end + 1) <= end)
		end = closing_brace(text, end + 1);
	ret->word = text + at;
	ret->word_length = end - at;
	ret->length = end + 1;
	return true;
}

static int expand(
	struct expansion *expansion, const char *text, size_t length, struct mayfly_error *err);

/* The value that an earlier line gave NAME. */
static int put_variable(
	struct expansion *expansion, const char *name, size_t length, struct mayfly_error *err)
{
	struct entries *entries = expansion->entries;
	const struct entry *entry = entries_find(entries, name, length);

	if (!entry)
		return error_set(err, -EINVAL,
			"line %u: a value names a variable that the file does not set before\n"
			"put the value into single quotes, or $$ for a $, if none is meant",
			expansion->line);
	/* The values never move. */
	return entries_put(entries, entries->values.bytes + entry->offset, entry->length, err);
}

static int put_braced(
	struct expansion *expansion, const struct braced *braced, struct mayfly_error *err)
{
	const struct entry *entry =
		entries_find(expansion->entries, braced->name, braced->name_length);
	const bool is_set = entry && (entry->length > 0 || !braced->or_empty);

	switch (braced->operator) {
	case '-':
		return is_set ? put_variable(expansion, braced->name, braced->name_length, err)
			      : expand(expansion, braced->word, braced->word_length, err);
	case '+':
		return is_set ? expand(expansion, braced->word, braced->word_length, err) : 0;
	case '?':
		if (!is_set)
			return error_set(err, -EINVAL,
				"line %u: a variable that a value needs is not set before it",
				expansion->line);
		break;
	default:
		break;
	}
	return put_variable(expansion, braced->name, braced->name_length, err);
}

/* One $ and what belongs to it; *RET_TAKEN says how much that is. */
static int expand_one(struct expansion *expansion, const char *text, size_t length,
	size_t *ret_taken, struct mayfly_error *err)
{
	struct braced braced;
	size_t name;

	*ret_taken = 2;
	if (length >= 2 && text[1] == '$')
		return entries_put(expansion->entries, "$", 1, err);
	if (length >= 2 && text[1] == '{') {
		if (!read_braced(text, length, &braced))
			return error_set(err, -EINVAL,
				"line %u: a value has ${ with no variable behind it\n"
				"put the value into single quotes, or $$ for a $, if none is meant",
				expansion->line);
		*ret_taken = braced.length;
		return put_braced(expansion, &braced, err);
	}
	name = name_length(text + 1, length - 1);
	*ret_taken = 1 + name;
	return name > 0 ? put_variable(expansion, text + 1, name, err)
			: entries_put(expansion->entries, "$", 1, err);
}

static int expand(
	struct expansion *expansion, const char *text, size_t length, struct mayfly_error *err)
{
	int r = 0;

	if (++expansion->depth > DEEPEST)
		return error_set(
			err, -EINVAL, "line %u: variables are nested too deeply", expansion->line);
	while (r == 0 && length > 0) {
		const char *dollar = memchr(text, '$', length);
		size_t taken = dollar ? (size_t)(dollar - text) : length;

		r = entries_put(expansion->entries, text, taken, err);
		text += taken;
		length -= taken;
		if (r < 0 || length == 0)
			break;
		r = expand_one(expansion, text, length, &taken, err);
		text += taken;
		length -= taken;
	}
	expansion->depth--;
	return r;
}

int env_expand(struct entries *entries, const char *text, size_t length, unsigned line,
	struct mayfly_error *err)
{
	struct expansion expansion = { .entries = entries, .line = line };

	return expand(&expansion, text, length, err);
}
