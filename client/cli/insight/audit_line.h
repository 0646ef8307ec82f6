/* One audit record as a person reads it: when, how it ended, who did what to what, and why. What
 * proves the record (its mac, its number) is in --json only. */
#pragma once

#include <jansson.h>

/* Prints RECORD on standard output, in lines of at most 80 columns. */
void audit_line_print(json_t *record);
