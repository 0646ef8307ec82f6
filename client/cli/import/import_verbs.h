/* `mayfly import`. Returns an exit status, or a negative errno with ERR set. */
#pragma once

#include "client/cli/cli.h"

int import_run(struct cli *cli, struct mayfly_error *err);
