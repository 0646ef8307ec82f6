/* UTF-8, as RFC 3629 allows it: no overlong forms, no surrogates, nothing above U+10FFFF. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The bytes of the character at TEXT, of which there are LENGTH, at least 1; 0: there is none. */
size_t utf8_character(const char *text, size_t length);

bool utf8_is_valid(const char *text, size_t length);

/* How many of the LENGTH bytes of TEXT are whole, valid characters from its start. */
size_t utf8_whole(const char *text, size_t length);

/* Writes CODE_POINT, at most U+10FFFF, to OUT, which has room for 4 bytes. Returns their number. */
size_t utf8_write(uint32_t code_point, char *out);
