/* The verbs on single secrets. Each returns an exit status, or a negative errno with ERR set. */
#pragma once

#include "client/cli/cli.h"

#include "proto/secret_name.h"

#include <jansson.h>

/* Checks word INDEX of the command line as SET/NAME; CLI_ERROR_USAGE if it is none. */
int secret_word(struct cli *cli, size_t index, const char **ret_name, struct mayfly_error *err);

/* Adds --length, --charset and --bytes to WISH, the parameters of a call that makes a random value. */
int generated_wish_read(struct cli *cli, json_t *wish, struct mayfly_error *err);

int put_run(struct cli *cli, struct mayfly_error *err);
int generate_run(struct cli *cli, struct mayfly_error *err);
int list_run(struct cli *cli, struct mayfly_error *err);
int show_run(struct cli *cli, struct mayfly_error *err);
int history_run(struct cli *cli, struct mayfly_error *err);
int verify_run(struct cli *cli, struct mayfly_error *err);
int reveal_run(struct cli *cli, struct mayfly_error *err);
int get_run(struct cli *cli, struct mayfly_error *err);
int keep_run(struct cli *cli, struct mayfly_error *err);
int remove_run(struct cli *cli, struct mayfly_error *err);
int undelete_run(struct cli *cli, struct mayfly_error *err);
