/* How hardened a container is, as its two files say it: the posture members of a container object.
 * Does no I/O. */
#pragma once

#include "proto/error.h"

#include <jansson.h>

/* Adds to FACTS what HOST (hostconfig.json) and CONFIG (config.v2.json) say: privileged,
 * read_only_root, no_new_privileges, capabilities_added, capabilities_dropped, pids_limit,
 * memory_limit, pid_mode, ipc_mode, cgroupns_mode. Returns 0, -EBADMSG naming the member that is
 * missing or of the wrong kind, or -ENOMEM. */
int posture_add(json_t *facts, json_t *host, json_t *config, struct mayfly_error *err);
