/* The verbs on compose files. Each returns an exit status, or a negative errno with ERR set. */
#pragma once

#include "client/cli/cli.h"

struct conversion;

/* Prints what CONVERSION cannot serve, all of it. Returns 0 if that is nothing, else -EINVAL. */
int conversion_refuse(const struct conversion *conversion, struct mayfly_error *err);

int compose_run(struct cli *cli, struct mayfly_error *err);
int convert_run(struct cli *cli, struct mayfly_error *err);
