#include "client/lib/wire/text_buffer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_buffer_done(struct text_buffer *buffer)
{
	free(buffer->bytes);
	*buffer = (struct text_buffer){ 0 };
}

bool text_buffer_reserve(struct text_buffer *buffer, size_t more)
{
	size_t room = buffer->room ? buffer->room : 512;
	char *bytes;

	if (buffer->is_failed)
		return false;
	while (room - buffer->length < more)
		room *= 2;
	if (room == buffer->room)
		return true;
	bytes = realloc(buffer->bytes, room);
	if (!bytes) {
		buffer->is_failed = true;
		return false;
	}
	buffer->bytes = bytes;
	buffer->room = room;
	return true;
}

void text_buffer_add(struct text_buffer *buffer, const char *bytes, size_t length)
{
	if (length == 0 || !text_buffer_reserve(buffer, length))
		return;
	memcpy(buffer->bytes + buffer->length, bytes, length);
	buffer->length += length;
}

void text_buffer_add_text(struct text_buffer *buffer, const char *text)
{
	text_buffer_add(buffer, text, strlen(text));
}

void text_buffer_add_json(struct text_buffer *buffer, const char *text)
{
	char escaped[8];

	if (!text) {
		text_buffer_add_text(buffer, "null");
		return;
	}
	text_buffer_add(buffer, "\"", 1);
	for (; *text; text++) {
		const unsigned char c = (unsigned char)*text;

		if (c >= 0x20 && c != '"' && c != '\\') {
			text_buffer_add(buffer, text, 1);
			continue;
		}
		(void)snprintf(escaped, sizeof escaped, "\\u%04x", c);
		text_buffer_add_text(buffer, escaped);
	}
	text_buffer_add(buffer, "\"", 1);
}

void text_buffer_add_number(struct text_buffer *buffer, unsigned long long number)
{
	char digits[24];

	(void)snprintf(digits, sizeof digits, "%llu", number);
	text_buffer_add_text(buffer, digits);
}
