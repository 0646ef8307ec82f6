/* The verbs on grants and policy. Each returns an exit status, or a negative errno with ERR set. */
#pragma once

#include "client/cli/cli.h"

int allow_run(struct cli *cli, struct mayfly_error *err);
int forbid_run(struct cli *cli, struct mayfly_error *err);
int policy_check_run(struct cli *cli, struct mayfly_error *err);
int policy_show_run(struct cli *cli, struct mayfly_error *err);
int policy_reload_run(struct cli *cli, struct mayfly_error *err);
