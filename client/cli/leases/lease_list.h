/* Asks the broker for leases. */
#pragma once

#include "client/cli/cli.h"

#include <jansson.h>

/* The leases that fit PARAMETERS (of ListLeases; taken over) go to *RET_LEASES, a list that the caller owns.
 * Returns 0 or a negative errno with ERR set. */
int lease_list(struct cli *cli, json_t *parameters, json_t **ret_leases, struct mayfly_error *err);
