#include "proto/secret_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alphanumeric(char c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z') || is_digit(c);
}

int set_name_check(const char *set, struct mayfly_error *err)
{
	char shown[80];
	const size_t length = strlen(set);
	bool valid = length >= 1 && length <= MAYFLY_SET_NAME_MAX && is_lower(set[0]);

	for (size_t i = 1; valid && i < length; i++)
		valid = is_lower(set[i]) || is_digit(set[i]) || set[i] == '-';
	if (!valid)
		return error_set(err, -EINVAL,
			"'%s' is no name for a set: a small letter, then up to 62 small letters, "
			"digits or '-'",
			error_quote(shown, sizeof shown, set, length));
	if (strcmp(set, "environment") == 0)
		return error_set(err, -EINVAL,
			"'environment' is no name for a set: it means the host's own");
	return 0;
}

/* One or more segments that start with a letter or digit: no "", ".", ".." and nothing hidden. */
static bool is_segmented(const char *text)
{
	bool at_start = true;

	for (const char *c = text; *c; c++) {
		if (at_start && !is_alphanumeric(*c))
			return false;
		if (!is_alphanumeric(*c) && !strchr("._-/", *c))
			return false;
		at_start = *c == '/';
	}
	return !at_start;
}

static int segmented_check(const char *text, const char *what, struct mayfly_error *err)
{
	char shown[80];
	const size_t length = strlen(text);

	if (length > MAYFLY_REFERENCE_MAX)
		return error_set(err, -EINVAL, "a %s of %zu bytes is longer than the limit of %d",
			what, length, MAYFLY_REFERENCE_MAX);
	if (!is_segmented(text))
		return error_set(err, -EINVAL,
			"'%s' is no valid %s: parts joined by '/', each a letter or digit and then "
			"letters, "
			"digits, '.', '_' or '-'",
			error_quote(shown, sizeof shown, text, length), what);
	return 0;
}

int secret_name_check(const char *name, struct mayfly_error *err)
{
	return segmented_check(name, "name of a secret", err);
}

/* The digits at the end of TEXT, behind '@', as a number; 0 when they are none. */
static uint32_t version_of(const char *digits)
{
	char *end;
	const unsigned long number = strtoul(digits, &end, 10);

	return is_digit(digits[0]) && digits[0] != '0' && *end == '\0' && number < UINT32_MAX - 1
		       ? (uint32_t)number
		       : 0;
}

static bool is_field(const char *text)
{
	const size_t length = strlen(text);

	if (length < 1 || length > MAYFLY_FIELD_MAX)
		return false;
	for (const char *c = text; *c; c++)
		if (!is_alphanumeric(*c) && !strchr("._-", *c))
			return false;
	return true;
}

int secret_selector_parse(
	const char *text, struct secret_selector *ret_selector, struct mayfly_error *err)
{
	struct secret_selector selector = { 0 };
	char rest[MAYFLY_REFERENCE_MAX + 1] = "", shown[80], *at, *hash;
	const size_t length = strlen(text);
	int r;

	if (length <= MAYFLY_REFERENCE_MAX)
		memcpy(rest, text, length);
	at = strrchr(rest, '@');
	if (at) {
		*at = '\0';
		selector.version = version_of(at + 1);
	}
	hash = strchr(rest, '#');
	if (hash)
		*hash = '\0';
	if ((at && selector.version == 0) || (hash && !is_field(hash + 1)))
		return error_set(err, -EINVAL,
			"'%s' is no secret: NAME, NAME#FIELD, NAME@VERSION or NAME#FIELD@VERSION",
			error_quote(shown, sizeof shown, text, length));
	r = secret_name_check(length > MAYFLY_REFERENCE_MAX ? text : rest, err);
	if (r < 0)
		return r;
	memcpy(selector.name, rest, strlen(rest) + 1);
	if (hash)
		memcpy(selector.field, hash + 1, strlen(hash + 1) + 1);
	*ret_selector = selector;
	return 0;
}

int secret_selector_check(const char *text, struct mayfly_error *err)
{
	struct secret_selector selector;

	return secret_selector_parse(text, &selector, err);
}

int file_path_check(const char *path, struct mayfly_error *err)
{
	return segmented_check(path, "path of a file", err);
}

int secret_reference_parse(
	const char *text, struct secret_reference *ret_reference, struct mayfly_error *err)
{
	struct secret_reference reference = { 0 };
	char shown[80];
	const size_t length = strlen(text);
	const char *slash = strchr(text, '/');
	int r;

	if (!slash || slash == text || slash[1] == '\0')
		return error_set(err, -EINVAL,
			"'%s' is no secret: write SET/NAME, as in prod/db-password",
			error_quote(shown, sizeof shown, text, length));
	if (length > MAYFLY_REFERENCE_MAX)
		return error_set(err, -EINVAL,
			"SET/NAME of %zu bytes is longer than the limit of %d", length,
			MAYFLY_REFERENCE_MAX);
	if ((size_t)(slash - text) >= sizeof reference.set)
		return error_set(err, -EINVAL, "the set in '%s' has %zu bytes, the limit is %d",
			error_quote(shown, sizeof shown, text, length), (size_t)(slash - text),
			MAYFLY_SET_NAME_MAX);
	memcpy(reference.set, text, (size_t)(slash - text));
	r = set_name_check(reference.set, err);
	if (r < 0)
		return r;
	memcpy(reference.name, slash + 1, length - (size_t)(slash + 1 - text));
	r = secret_name_check(reference.name, err);
	if (r < 0)
		return r;
	*ret_reference = reference;
	return 0;
}

#define WORD_MAX 64

/* Optimal string alignment: an exchange of two neighbours counts as one slip. */
static size_t edit_distance(const char *a, size_t a_length, const char *b, size_t b_length)
{
	size_t rows[3][WORD_MAX + 1];

	for (size_t j = 0; j <= b_length; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_length; i++) {
		size_t *row = rows[i % 3], *above = rows[(i + 2) % 3],
		       *two_above = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t j = 1; j <= b_length; j++) {
			size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);

			if (above[j] + 1 < best)
				best = above[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
				two_above[j - 2] + 1 < best)
				best = two_above[j - 2] + 1;
			row[j] = best;
		}
	}
	return rows[a_length % 3][b_length];
}

const char *nearest_word(const char *word, const char *const *words, size_t count)
{
	const size_t length = strnlen(word, WORD_MAX + 1);
	size_t limit = length / 3 > 0 ? length / 3 : 1;
	const char *nearest = NULL;

	if (length > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		const size_t other_length = strnlen(words[i], WORD_MAX + 1);
		size_t distance;

		if (other_length > WORD_MAX)
			continue;
		distance = edit_distance(word, length, words[i], other_length);
		if (distance < limit || (distance == limit && !nearest)) {
			nearest = words[i];
			limit = distance;
		}
	}
	return nearest;
}
