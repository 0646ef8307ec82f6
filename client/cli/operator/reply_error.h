/* The broker's refusals in words: what is wrong, and what to do next.
 * One row for each error of org.mayfly.Operator. */
#pragma once

#include "proto/error.h"

#include <jansson.h>

/* Sets ERR for the error NAME ("org.mayfly.Operator.Locked") with PARAMETERS. The text is
 * "why\nwhat to do next". Complaints are printed on standard error, one a line.
 * Returns a negative errno: -ENODATA not initialised, -EEXIST already there, -ENOKEY locked,
 * -EKEYREJECTED wrong key, -ENOENT unknown, -EINVAL invalid, -EPERM forbidden, -EBADMSG damaged,
 * -EIO the rest; CLI_ERROR_UNREACHABLE when the broker speaks another version. */
int reply_error_explain(const char *name, json_t *parameters, struct mayfly_error *err);

/* Prints COMPLAINTS (array of Complaint) on standard error, one a line. */
void complaints_print(json_t *complaints);
