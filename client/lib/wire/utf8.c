#include "client/lib/wire/utf8.h"

size_t utf8_character(const char *text, size_t length)
{
	const unsigned char *c = (const unsigned char *)text;
	/* What the second byte may be depends on the first; see RFC 3629, section 4. */
	unsigned char low = 0x80, high = 0xbf;
	size_t size;

	if (c[0] < 0x80)
		return 1;
	if (c[0] < 0xc2 || c[0] > 0xf4)
		return 0;
	size = c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
	if (c[0] == 0xe0)
		low = 0xa0;
	if (c[0] == 0xed)
		high = 0x9f;
	if (c[0] == 0xf0)
		low = 0x90;
	if (c[0] == 0xf4)
		high = 0x8f;
	if (size > length || c[1] < low || c[1] > high)
		return 0;
	for (size_t i = 2; i < size; i++)
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	return size;
}

size_t utf8_whole(const char *text, size_t length)
{
	size_t at = 0;

	while (at < length) {
		const size_t size = utf8_character(text + at, length - at);

		if (size == 0)
			break;
		at += size;
	}
	return at;
}

bool utf8_is_valid(const char *text, size_t length)
{
	return utf8_whole(text, length) == length;
}

size_t utf8_write(uint32_t code_point, char *out)
{
	if (code_point < 0x80) {
		out[0] = (char)code_point;
		return 1;
	}
	if (code_point < 0x800) {
		out[0] = (char)(0xc0 | code_point >> 6);
		out[1] = (char)(0x80 | (code_point & 0x3f));
		return 2;
	}
	if (code_point < 0x10000) {
		out[0] = (char)(0xe0 | code_point >> 12);
		out[1] = (char)(0x80 | (code_point >> 6 & 0x3f));
		out[2] = (char)(0x80 | (code_point & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | code_point >> 18);
	out[1] = (char)(0x80 | (code_point >> 12 & 0x3f));
	out[2] = (char)(0x80 | (code_point >> 6 & 0x3f));
	out[3] = (char)(0x80 | (code_point & 0x3f));
	return 4;
}
