/* What is wrong with a file that an operator wrote: where, why, and which word was probably meant.
 * Collected, so that one check shows everything at once. */
#pragma once

#include "proto/error.h"

#include <stddef.h>

struct complaint {
	char *where;   /* "FILE:LINE" */
	char *text;    /* one sentence, no newline */
	char *nearest; /* NULL if no known word is near */
};

struct complaints {
	struct complaint *items;
	size_t count;
};

void complaints_done(struct complaints *list);

/* Adds one complaint about FILE, LINE (1-based; 0: the whole file). NEAREST may be NULL.
 * All strings are copied. Out of memory ends the process (assert): nothing can go on from there. */
void complaint_add(struct complaints *list, const char *file, unsigned line, const char *nearest,
	const char *format, ...) MAYFLY_PRINTF(5, 6);

/* Sets ERR to the first complaint, and how many more there are. Returns -EINVAL. */
int complaints_to_error(const struct complaints *list, struct mayfly_error *err);
