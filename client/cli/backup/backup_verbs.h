/* The verbs on backups. Each returns an exit status, or a negative errno with ERR set. */
#pragma once

#include "client/cli/cli.h"

int backup_run(struct cli *cli, struct mayfly_error *err);
int restore_run(struct cli *cli, struct mayfly_error *err);
int key_backup_run(struct cli *cli, struct mayfly_error *err);
