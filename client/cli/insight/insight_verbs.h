/* The verbs that look: what happened, and is it well. Each returns an exit status, or a negative
 * errno with ERR set. */
#pragma once

#include "client/cli/cli.h"

int explain_run(struct cli *cli, struct mayfly_error *err);
int status_run(struct cli *cli, struct mayfly_error *err);
int audit_run(struct cli *cli, struct mayfly_error *err);
int audit_verify_run(struct cli *cli, struct mayfly_error *err);
int doctor_run(struct cli *cli, struct mayfly_error *err);
