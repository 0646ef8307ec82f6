/* Errors with context and without allocation.
 * A function that touches the world takes `struct mayfly_error *err` as its last argument and
 * sets it exactly when it fails. Text reads "what was tried: why". Never secret bytes, never
 * bytes that a client sent without error_quote() around them. */
#pragma once

#include <stddef.h>

#define MAYFLY_PRINTF(f, a) __attribute__((format(printf, f, a)))

struct mayfly_error {
	int code; /* negative errno */
	char text[1024];
};

/* Sets ERR (NULL is fine) to CODE, a negative errno, and the formatted text, cut to fit.
 * Returns CODE. Does not block or allocate. */
int error_set(struct mayfly_error *err, int code, const char *format, ...) MAYFLY_PRINTF(3, 4);

/* As error_set(), and ends the text with ": " and the words for CODE (strerror). */
int error_errno(struct mayfly_error *err, int code, const char *format, ...) MAYFLY_PRINTF(3, 4);

/* Puts "formatted text: " before what ERR says. Returns err->code.
 * ERR must be set; call it on the way out of the function that knows what was being done. */
int error_within(struct mayfly_error *err, const char *format, ...) MAYFLY_PRINTF(2, 3);

/* Copies TEXT of LENGTH bytes to BUFFER of SIZE bytes so that it can be shown to a person:
 * control characters, quotes and bytes above 126 become '?', a long text is cut and ends in "...".
 * Returns BUFFER. Use it on every string that came from outside before it enters a message. */
const char *error_quote(char *buffer, size_t size, const char *text, size_t length);
