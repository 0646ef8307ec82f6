/* Passphrases on their way from a person, a pipe or a file to the broker. */
#pragma once

#include "client/cli/cli.h"
#include "client/cli/value/value.h"

/* Reads a passphrase (option --from-file, standard input, or a prompt that says PROMPT; twice if
 * it is a new one) and seals it into *RET_SEALED, which the caller owns. */
int passphrase_read(struct cli *cli, const char *prompt, bool is_new,
	struct sealed_value *ret_sealed, struct mayfly_error *err);
