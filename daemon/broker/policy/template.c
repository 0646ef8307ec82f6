#include "daemon/broker/policy/template.h"

#include "proto/secret_name.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

#define OPENING "{{"
#define CLOSING "}}"

/* ---- Reading a template's text. ---- */

static const char *const filter_names[] = { "url", "json", "base64" };
static const enum template_filter filters[] = { TEMPLATE_URL, TEMPLATE_JSON, TEMPLATE_BASE64 };

/* The character of TEXT that AT is, counted from 1; people count characters, not bytes. */
static size_t character_number(const char *text, const char *at)
{
	size_t number = 1;

	for (; text < at; text++)
		number += ((unsigned char)*text & 0xc0) != 0x80;
	return number;
}

static int read_filter(const char *text, const char *name, size_t length,
	enum template_filter *ret_filter, const char **ret_nearest, struct mayfly_error *err)
{
	const size_t count = sizeof filter_names / sizeof filter_names[0];
	char word[16], shown[48];

	for (size_t i = 0; i < count; i++) {
		if (strlen(filter_names[i]) == length &&
			memcmp(filter_names[i], name, length) == 0) {
			*ret_filter = filters[i];
			return 0;
		}
	}
	if (length < sizeof word) {
		memcpy(word, name, length);
		word[length] = '\0';
		*ret_nearest = nearest_word(word, filter_names, count);
	}
	return error_set(err, -EINVAL,
		"at character %zu of the template: '%s' is no filter; there are url, json and "
		"base64",
		character_number(text, name), error_quote(shown, sizeof shown, name, length));
}

static int read_placeholder(const char *text, const char **at, struct template_piece *ret_piece,
	const char **ret_nearest, struct mayfly_error *err)
{
	const char *start = *at + strlen(OPENING);
	const char *end = strstr(start, CLOSING);
	struct template_piece piece = { .text = start, .is_secret = true };
	const char *bar;
	int r;

	if (!end)
		return error_set(err, -EINVAL,
			"at character %zu of the template: '{{' without '}}' behind it",
			character_number(text, *at));
	bar = memchr(start, '|', (size_t)(end - start));
	piece.length = (size_t)((bar ? bar : end) - start);
	if (bar) {
		r = read_filter(
			text, bar + 1, (size_t)(end - bar - 1), &piece.filter, ret_nearest, err);
		if (r < 0)
			return r;
	}
	*at = end + strlen(CLOSING);
	*ret_piece = piece;
	return 1;
}

int template_next(const char *text, const char **at, struct template_piece *ret_piece,
	const char **ret_nearest, struct mayfly_error *err)
{
	const char *opening = strstr(*at, OPENING);

	*ret_nearest = NULL;
	if (**at == '\0')
		return 0;
	if (opening == *at)
		return read_placeholder(text, at, ret_piece, ret_nearest, err);
	*ret_piece = (struct template_piece){
		.text = *at,
		.length = opening ? (size_t)(opening - *at) : strlen(*at),
	};
	*at += ret_piece->length;
	return 1;
}

/* ---- Filters: each knows the exact length that it writes. ---- */

static bool is_unreserved(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

static size_t url_length(const struct secret *value)
{
	size_t length = 0;

	for (size_t i = 0; i < value->length; i++)
		length += is_unreserved(value->bytes[i]) ? 1 : 3;
	return length;
}

static unsigned char *url_write(unsigned char *out, const struct secret *value)
{
	static const char digits[] = "0123456789ABCDEF";

	for (size_t i = 0; i < value->length; i++) {
		const unsigned char c = value->bytes[i];

		if (is_unreserved(c)) {
			*out++ = c;
			continue;
		}
		*out++ = '%';
		*out++ = (unsigned char)digits[c >> 4];
		*out++ = (unsigned char)digits[c & 15];
	}
	return out;
}

/* The letter of C's short escape, or '\0'. */
static char json_short_escape(unsigned char c)
{
	switch (c) {
	case '"':
	case '\\':
		return (char)c;
	case '\b':
		return 'b';
	case '\f':
		return 'f';
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\t':
		return 't';
	default:
		return '\0';
	}
}

static size_t json_length(const struct secret *value)
{
	size_t length = 0;

	for (size_t i = 0; i < value->length; i++) {
		if (json_short_escape(value->bytes[i]))
			length += 2;
		else
			length += value->bytes[i] < 0x20 ? 6 : 1;
	}
	return length;
}

static unsigned char *json_write(unsigned char *out, const struct secret *value)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < value->length; i++) {
		const unsigned char c = value->bytes[i];
		const char letter = json_short_escape(c);

		if (letter) {
			*out++ = '\\';
			*out++ = (unsigned char)letter;
		} else if (c < 0x20) {
			memcpy(out, "\\u00", 4);
			out[4] = (unsigned char)digits[c >> 4];
			out[5] = (unsigned char)digits[c & 15];
			out += 6;
		} else {
			*out++ = c;
		}
	}
	return out;
}

/* The length of the UTF-8 sequence at the start of BYTES (RFC 3629: shortest form, no surrogates,
 * up to U+10FFFF), or 0. */
static size_t utf8_sequence(const unsigned char *bytes, size_t length)
{
	const unsigned char first = bytes[0];
	const unsigned char second = length > 1 ? bytes[1] : 0;
	size_t wanted;

	if (first < 0x80)
		return 1;
	if (first >= 0xc2 && first <= 0xdf)
		wanted = 2;
	else if (first >= 0xe0 && first <= 0xef)
		wanted = 3;
	else if (first >= 0xf0 && first <= 0xf4)
		wanted = 4;
	else
		return 0;
	if (wanted > length)
		return 0;
	for (size_t i = 1; i < wanted; i++)
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
	if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) ||
		(first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f))
		return 0;
	return wanted;
}

static bool is_utf8(const struct secret *value)
{
	for (size_t i = 0; i < value->length;) {
		const size_t step = utf8_sequence(value->bytes + i, value->length - i);

		if (step == 0)
			return false;
		i += step;
	}
	return true;
}

static size_t base64_length(const struct secret *value)
{
	return (value->length + 2) / 3 * 4;
}

/* libsodium's encoder is free of tables, so no cache line tells of the value. It ends what it
 * writes with a NUL: OUT has one byte more. */
static unsigned char *base64_write(unsigned char *out, const struct secret *value)
{
	const size_t length = base64_length(value);

	(void)sodium_bin2base64((char *)out, length + 1, value->bytes, value->length,
		sodium_base64_VARIANT_ORIGINAL);
	return out + length;
}

/* ---- Rendering. ---- */

static size_t filtered_length(enum template_filter filter, const struct secret *value)
{
	switch (filter) {
	case TEMPLATE_URL:
		return url_length(value);
	case TEMPLATE_JSON:
		return json_length(value);
	case TEMPLATE_BASE64:
		return base64_length(value);
	case TEMPLATE_PLAIN:
		break;
	}
	return value->length;
}

static unsigned char *filtered_write(
	unsigned char *out, enum template_filter filter, const struct secret *value)
{
	switch (filter) {
	case TEMPLATE_URL:
		return url_write(out, value);
	case TEMPLATE_JSON:
		return json_write(out, value);
	case TEMPLATE_BASE64:
		return base64_write(out, value);
	case TEMPLATE_PLAIN:
		break;
	}
	if (value->length > 0)
		memcpy(out, value->bytes, value->length);
	return out + value->length;
}

static int part_length(const struct template_part *part, template_lookup *lookup, void *context,
	size_t *ret_length, struct mayfly_error *err)
{
	const struct secret *value;

	if (part->literal) {
		*ret_length = strlen(part->literal);
		return 0;
	}
	value = lookup(context, part->secret);
	if (!value)
		return error_set(
			err, -ENOENT, "the template's secret '%s' does not exist", part->secret);
	if (part->filter == TEMPLATE_JSON && !is_utf8(value))
		return error_set(err, -EILSEQ,
			"the value of '%s' is not UTF-8, which '|json' needs; use '|base64'",
			part->secret);
	*ret_length = filtered_length(part->filter, value);
	return 0;
}

static int rendered_length(const struct policy_entry *entry, template_lookup *lookup, void *context,
	size_t *ret_length, struct mayfly_error *err)
{
	size_t total = 0;

	for (size_t i = 0; i < entry->parts_count; i++) {
		size_t length = 0;
		const int r = part_length(&entry->parts[i], lookup, context, &length, err);

		if (r < 0)
			return r;
		/* Checked in each round, so that no number of parts can overflow the sum. */
		total += length;
		if (total > MAYFLY_VALUE_MAX_BYTES)
			return error_set(err, -EFBIG,
				"the template's file is larger than the limit of %d bytes",
				MAYFLY_VALUE_MAX_BYTES);
	}
	*ret_length = total;
	return 0;
}

static unsigned char *part_write(unsigned char *out, const unsigned char *end,
	const struct template_part *part, template_lookup *lookup, void *context)
{
	const struct secret *value;
	size_t length;

	if (part->literal) {
		length = strlen(part->literal);
		assert(length <= (size_t)(end - out));
		memcpy(out, part->literal, length);
		return out + length;
	}
	value = lookup(context, part->secret);
	assert(value && filtered_length(part->filter, value) <= (size_t)(end - out));
	return filtered_write(out, part->filter, value);
}

int template_render(const struct policy_entry *entry, template_lookup *lookup, void *context,
	struct arena *arena, struct secret *ret_value, struct mayfly_error *err)
{
	AUTO_SECRET rendered = { 0 };
	unsigned char *out;
	size_t length = 0;
	int r = rendered_length(entry, lookup, context, &length, err);

	/* One byte more: base64_write() ends with a NUL. */
	if (r == 0)
		r = secret_new(arena, length + 1, &rendered, err);
	if (r < 0) {
		(void)error_within(err, "render '%s'", entry->path);
		return r;
	}
	out = rendered.bytes;
	for (size_t i = 0; i < entry->parts_count; i++)
		out = part_write(out, rendered.bytes + length, &entry->parts[i], lookup, context);
	secret_shorten(&rendered, length);
	*ret_value = secret_take(&rendered);
	return 0;
}
