/* Takes single files away from a released delivery while the others stay: overwritten, truncated, gone. Who
 * has one open or mapped reads nothing any more. Until the container starts again no generation has them.
 * Loop thread only. */
#pragma once

#include "daemon/broker/lease/lease.h"

/* Takes PATHS (an array of texts, each as often as it likes; borrowed; an empty one is fine). REASON is for
 * the audit. If nothing would be left the lease ends. */
void lease_take(struct lease *lease, json_t *paths, const char *reason);

/* After a restart: what was not taken yet. */
void lease_take_resume(struct lease *lease);

/* Removes from FETCHED, the next generation, what was taken. */
void lease_leave_out_taken(const struct lease *lease, struct fetched *fetched);
