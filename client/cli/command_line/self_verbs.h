/* The verbs about this command itself. Each returns an exit status, or a negative errno with ERR
 * set. */
#pragma once

#include "client/cli/cli.h"

int help_run(struct cli *cli, struct mayfly_error *err);
int completion_run(struct cli *cli, struct mayfly_error *err);
int completion_words_run(struct cli *cli, struct mayfly_error *err);
int version_run(struct cli *cli, struct mayfly_error *err);
