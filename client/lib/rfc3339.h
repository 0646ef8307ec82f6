/* Times as the broker writes them. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Reads TEXT (may be NULL), "2025-01-02T03:04:05Z" with or without a fraction, which is cut off.
 * False if it is no such time. */
bool rfc3339_parse(const char *text, int64_t *ret_unix_s);
