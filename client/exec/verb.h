/* The program inside a container: its verbs, and what they share. One static file without locale,
 * name service or any other file; argv[0] means nothing, as it is bound wherever it is wanted. */
#pragma once

#include "include/mayfly/status.h"

#include <stdbool.h>
#include <stdint.h>

/* experience.md's statuses; `exec` adds the shells' own for what becomes of CMD. */
enum exec_exit {
	EXEC_DONE = 0,
	EXEC_FAILED = 1, /* refused or failed */
	EXEC_USAGE = 2,
	EXEC_UNREACHABLE = 3,
	EXEC_CANNOT_RUN = 126,
	EXEC_NOT_FOUND = 127,
};

struct verb {
	const char *name;
	const char *summary; /* one line */
	const char *help;    /* what --help prints */
	/* ARGV[0] is the verb's name. Returns an exit status. */
	int (*run)(int argc, char **argv);
};

extern const struct verb request_verb, watch_verb, exec_verb;

/* What getopt_long() returns for options without a letter. */
enum option_number { OPTION_HELP = 256, OPTION_FIRST };

/* What stands for getopt_long()'s '?' and ':' on standard error. Returns EXEC_USAGE. */
int usage_unknown_option(const char *verb, char **argv);

/* "mayfly: VERB: ..." and where to read on, on standard error. Returns EXEC_USAGE. */
int usage_error(const char *verb, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* FAILURE on standard error, without what could steer a terminal. Returns its exit status. */
int complain(const char *verb, const struct mayfly_failure *failure);

/* Prints what TEXT has, control characters as '?'. Errors are found by finish_output(). */
void print_text(const char *text);

/* STATUS, or EXEC_FAILED with a word on standard error if standard output has not taken all. */
int finish_output(const char *verb, int status);

/* Reads "90s", "15m", "8h", "30d" (at most LONGEST_MS). False if TEXT is none. */
bool duration_parse(const char *text, uint32_t longest_ms, uint32_t *ret_ms);
