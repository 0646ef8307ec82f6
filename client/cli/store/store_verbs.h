/* The verbs on the store and its keys. Each returns an exit status, or a negative errno with ERR
 * set. */
#pragma once

#include "client/cli/cli.h"

int init_run(struct cli *cli, struct mayfly_error *err);
int unlock_run(struct cli *cli, struct mayfly_error *err);
int lock_run(struct cli *cli, struct mayfly_error *err);
int key_list_run(struct cli *cli, struct mayfly_error *err);
int key_add_run(struct cli *cli, struct mayfly_error *err);
int key_remove_run(struct cli *cli, struct mayfly_error *err);
int key_rotate_run(struct cli *cli, struct mayfly_error *err);
