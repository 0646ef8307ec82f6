#include "client/cli/value/newline_rule.h"

#include <string.h>

/* Length of the character that begins BYTES, 0 if it is not valid UTF-8 (RFC 3629). */
static size_t character_length(const unsigned char *bytes, size_t length)
{
	static const struct {
		unsigned char first_low, first_high, second_low, second_high;
		size_t length;
	} forms[] = {
		{ 0x00, 0x7f, 0x00, 0x00, 1 },
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 },
		{ 0xe0, 0xe0, 0xa0, 0xbf, 3 },
		{ 0xe1, 0xec, 0x80, 0xbf, 3 },
		{ 0xed, 0xed, 0x80, 0x9f, 3 },
		{ 0xee, 0xef, 0x80, 0xbf, 3 },
		{ 0xf0, 0xf0, 0x90, 0xbf, 4 },
		{ 0xf1, 0xf3, 0x80, 0xbf, 4 },
		{ 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		if (bytes[0] < forms[i].first_low || bytes[0] > forms[i].first_high)
			continue;
		if (forms[i].length > length)
			return 0;
		if (forms[i].length > 1 &&
			(bytes[1] < forms[i].second_low || bytes[1] > forms[i].second_high))
			return 0;
		for (size_t j = 2; j < forms[i].length; j++)
			if (bytes[j] < 0x80 || bytes[j] > 0xbf)
				return 0;
		return forms[i].length;
	}
	return 0;
}

static bool is_line_of_text(const unsigned char *bytes, size_t length)
{
	for (size_t i = 0; i < length;) {
		const size_t step = character_length(bytes + i, length - i);

		if (step == 0 || (bytes[i] < 32 && bytes[i] != '\t') || bytes[i] == 127)
			return false;
		i += step;
	}
	return true;
}

enum newline_outcome newline_rule(
	const unsigned char *bytes, size_t length, bool exact, size_t *ret_length)
{
	size_t line = length;

	*ret_length = length;
	if (length == 0 || bytes[length - 1] != '\n')
		return NEWLINE_NONE;
	if (exact)
		return NEWLINE_KEPT_EXACT;
	line--;
	if (line > 0 && bytes[line - 1] == '\r')
		line--;
	if (memchr(bytes, '\n', line))
		return NEWLINE_KEPT_LINES;
	if (!is_line_of_text(bytes, line))
		return NEWLINE_KEPT_BINARY;
	*ret_length = line;
	return NEWLINE_LEFT_OUT;
}
