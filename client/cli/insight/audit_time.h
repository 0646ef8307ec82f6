/* Points in time as people give them to `mayfly audit`. */
#pragma once

#include "proto/error.h"

#include <time.h>

#define AUDIT_TIME_SIZE 40

/* Reads TEXT, the value of OPTION: "2025-01-31T12:00:00Z", "2025-01-31" (its first moment, UTC), or
 * how long before NOW: "90s", "15m", "8h", "30d". Stores RFC 3339 in UTC, ending in Z, in RET_TIME.
 * Returns 0 or CLI_ERROR_USAGE. */
int audit_time_read(const char *option, const char *text, time_t now,
	char ret_time[AUDIT_TIME_SIZE], struct mayfly_error *err);
