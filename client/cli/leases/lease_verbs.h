/* The verbs on leases. Each returns an exit status, or a negative errno with ERR set. */
#pragma once

#include "client/cli/cli.h"

int leases_run(struct cli *cli, struct mayfly_error *err);
int revoke_run(struct cli *cli, struct mayfly_error *err);
