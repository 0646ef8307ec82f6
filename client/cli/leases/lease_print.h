/* Leases as people read them. */
#pragma once

#include <jansson.h>

/* One lease of the operator interface in a few lines: who, how old, until when, by which grants, what. */
void lease_print(json_t *lease);

/* When the files of LEASE end if they are not granted any more: "within 12 min"; or that they do not.
 * The caller frees it. */
char *lease_end_text(json_t *lease);
