/* What people read. Every word passes text_clean(): names and labels come from whoever may use an
 * engine. Standard output is the answer; standard error is what is said beside it. */
#pragma once

#include "client/cli/cli.h"

#include <jansson.h>
#include <stdio.h>

enum paint { PAINT_PLAIN = 0, PAINT_GOOD, PAINT_BAD, PAINT_WEAK, PAINT_STRONG };

/* Prints on standard output, without adding a newline. */
void say(const char *format, ...) MAYFLY_PRINTF(1, 2);
/* The same in colour, if standard output is a terminal and NO_COLOR is not set. */
void say_painted(enum paint paint, const char *format, ...) MAYFLY_PRINTF(2, 3);
/* Prints on standard error. */
void say_aside(const char *format, ...) MAYFLY_PRINTF(1, 2);

/* Prints TEXT on standard output, broken between words so that no line passes WIDTH columns (a
 * longer word has a line of its own). The first line is taken to begin at column INDENT already;
 * the others are indented by INDENT. Ends with a newline. */
void say_wrapped(unsigned indent, unsigned width, const char *text);

/* Prints JSON with an indent of 2 on standard output; only ASCII, so that it cannot steer a
 * terminal. Takes over JSON. Returns CLI_DONE. */
int print_json(json_t *json);

/* Prints ERR as "mayfly: ..." with what to do next, if it says that, indented on the next line. */
void print_error(const struct mayfly_error *err);

/* Makes sure that what was said has arrived: -EIO and the like, with ERR set. */
int print_finish(struct mayfly_error *err);

/* One line for LIST as "a, b and c"; the caller frees it. */
char *text_join(json_t *list);
