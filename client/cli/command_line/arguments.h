/* The command line, taken apart by the verb table.
 * Repeats nothing that could be a value: of an option only its name, of a word too many nothing
 * where values are expected. */
#pragma once

#include "client/cli/command_line/verb.h"

struct option_given {
	const struct verb_option *option;
	const char *value; /* NULL for a flag; points into argv */
};

struct arguments {
	const struct verb *verb; /* NULL: no verb was named (`mayfly`, `mayfly --help`) */
	struct option_given *options;
	size_t options_count;
	const char **words; /* what is no option, in order; ends in NULL */
	size_t words_count;
};

/* Takes ARGV (without the program's name) apart. A verb of two words wins over one of one. Options
 * of every verb may stand before it. "--" ends options. On success the caller owns *RET_ARGUMENTS
 * until arguments_done(); its strings point into ARGV and the verb table. With --help the words are
 * not counted.
 * Returns 0, or CLI_ERROR_USAGE with what is wrong, the nearest word and where to read on. */
int arguments_parse(const struct verbs *verbs, const char *const *argv,
	struct arguments *ret_arguments, struct mayfly_error *err);
void arguments_done(struct arguments *arguments);

/* CLI_ERROR_USAGE for FIRST and SECOND (or NULL), which name no verb: what it may have been. For
 * the first word of a group ("key") the verbs of the group. */
int arguments_refuse_verb(
	const struct verbs *verbs, const char *first, const char *second, struct mayfly_error *err);

/* The value of option NAME, the last one if it was given twice; NULL if it was not given.
 * NAME must be an option of the verb. */
const char *argument_value(const struct arguments *arguments, const char *name);
bool argument_flag(const struct arguments *arguments, const char *name);

/* The next value of repeatable option NAME behind position *AT (start with 0), or NULL. */
const char *argument_next(const struct arguments *arguments, const char *name, size_t *at);

/* Reads option NAME as a whole number from MINIMUM to MAXIMUM; *RET_NUMBER is FALLBACK when it was
 * not given. Returns 0 or CLI_ERROR_USAGE. */
int argument_number(const struct arguments *arguments, const char *name, long long minimum,
	long long maximum, long long fallback, long long *ret_number, struct mayfly_error *err);

/* The same for a TEXT that WHAT names in the error. */
int number_parse(const char *what, const char *text, long long minimum, long long maximum,
	long long *ret_number, struct mayfly_error *err);
