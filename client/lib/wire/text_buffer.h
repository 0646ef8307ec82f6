/* Bytes that grow, and JSON written into them. Names only, never values: it reallocates. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* All zero is empty. */
struct text_buffer {
	char *bytes;
	size_t length, room;
	bool is_failed; /* memory was short: what follows is dropped; told once, at the end */
};

void text_buffer_done(struct text_buffer *buffer);

/* Makes room for MORE bytes behind the present ones. Returns false when memory is short. */
bool text_buffer_reserve(struct text_buffer *buffer, size_t more);

void text_buffer_add(struct text_buffer *buffer, const char *bytes, size_t length);
void text_buffer_add_text(struct text_buffer *buffer, const char *text);

/* TEXT, which must be valid UTF-8, as a JSON string with its quotes; NULL as null. */
void text_buffer_add_json(struct text_buffer *buffer, const char *text);
void text_buffer_add_number(struct text_buffer *buffer, unsigned long long number);
