/* `mayfly status --watch`: what runs, looked at once a second. */
#pragma once

#include "client/cli/cli.h"

#include <jansson.h>
#include <stdbool.h>

/* Redraws one page in place at a terminal, else prints page after page; with --json a line for everything
 * that has changed since the last look. Until the caller is ended; a broker that goes away is waited for.
 * Returns a negative errno with ERR when nothing more can be printed. */
int status_watch(struct cli *cli, struct mayfly_error *err);

/* BACKEND of the broker's status answers, or has not been needed yet. */
bool status_backend_is_well(json_t *backend);
