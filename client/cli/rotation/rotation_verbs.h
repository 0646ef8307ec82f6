/* New values for what runs. Each verb returns an exit status, or a negative errno with ERR set. */
#pragma once

#include "client/cli/cli.h"

int rotate_run(struct cli *cli, struct mayfly_error *err);
int rollback_run(struct cli *cli, struct mayfly_error *err);
