/* The verbs on sets. Each returns an exit status, or a negative errno with ERR set. */
#pragma once

#include "client/cli/cli.h"

int set_list_run(struct cli *cli, struct mayfly_error *err);
int set_create_run(struct cli *cli, struct mayfly_error *err);
int set_fill_run(struct cli *cli, struct mayfly_error *err);
int diff_run(struct cli *cli, struct mayfly_error *err);
