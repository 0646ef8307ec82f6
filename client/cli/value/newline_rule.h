/* The newline rule: one line of text loses one final newline; nothing else is ever changed.
 * Programs disagree about it, and what `echo` or an editor wrote has it. `put` and `verify` apply
 * the same rule, so that what was put is what is verified. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum newline_outcome {
	NEWLINE_NONE = 0,    /* no newline at the end */
	NEWLINE_LEFT_OUT,    /* one line of text: its newline does not belong to the value */
	NEWLINE_KEPT_LINES,  /* several lines: the last newline belongs to the value */
	NEWLINE_KEPT_BINARY, /* not text */
	NEWLINE_KEPT_EXACT,  /* --exact */
};

/* Looks at LENGTH BYTES and stores in *RET_LENGTH how many of them are the value. "\r\n" is one
 * newline. Text is valid UTF-8 without control characters but tab and newline. */
enum newline_outcome newline_rule(
	const unsigned char *bytes, size_t length, bool exact, size_t *ret_length);
