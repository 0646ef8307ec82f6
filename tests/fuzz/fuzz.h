/* The frame of a fuzz program. Each has one fuzz_one(), which must neither crash nor fail one of
 * its assertions, whatever the bytes. clang's libFuzzer makes the bytes up (the sanitized build);
 * every other build plays the corpus back (replay.c). */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Takes one byte off the end, so that what is in front stays readable in a corpus file. */
static inline uint8_t fuzz_byte(const uint8_t *bytes, size_t *size)
{
	return *size > 0 ? bytes[--*size] : 0;
}

/* A copy that ends in NUL, and in nothing behind it: reading on is found by the sanitizer. The
 * caller frees it. */
static inline char *fuzz_text(const uint8_t *bytes, size_t size)
{
	char *text = malloc(size + 1);

	assert(text);
	if (size > 0)
		memcpy(text, bytes, size);
	text[size] = '\0';
	return text;
}

/* A copy of exactly SIZE bytes. */
static inline char *fuzz_copy(const uint8_t *bytes, size_t size)
{
	char *copy = malloc(size > 0 ? size : 1);

	assert(copy);
	if (size > 0)
		memcpy(copy, bytes, size);
	return copy;
}
