/* Questions at a terminal. Without a terminal nothing is asked. */
#pragma once

#include "client/cli/cli.h"
#include "proto/secret.h"

#include <stddef.h>

/* A line that is typed. The terminal driver holds at most 4095 bytes of one. */
#define PROMPT_LINE_MAX 4094

/* True when a person can be asked: standard input is a terminal. */
bool prompt_is_possible(void);

/* Asks PROMPT and reads one line without echo into *RET_LINE (without its newline), which the
 * caller owns. The terminal is put back however this ends, signals included.
 * Returns 0; -ENODATA at the end of input; -EFBIG for a line that the terminal driver has cut;
 * another negative errno. */
int prompt_hidden(
	struct cli *cli, const char *prompt, struct secret *ret_line, struct mayfly_error *err);

/* Asks twice (PROMPT, then "Again") and refuses two different lines. */
int prompt_hidden_twice(
	struct cli *cli, const char *prompt, struct secret *ret_line, struct mayfly_error *err);

/* Asks PROMPT and reads one visible line into BUFFER. Returns 0 or a negative errno as above. */
int prompt_visible(const char *prompt, char *buffer, size_t size, struct mayfly_error *err);

/* Asks QUESTION, answered by y or yes. With --yes it is not asked; without a terminal and without
 * --yes it is CLI_ERROR_USAGE. Anything but yes is -ECANCELED. */
int prompt_confirm(const struct cli *cli, const char *question, struct mayfly_error *err);
