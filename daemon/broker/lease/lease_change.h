/* Other files for a delivery that lives: a rotation's, or what a container asks for in addition. */
#pragma once

#include "daemon/broker/lease/lease.h"

/* So long whoever has opened the directory of a generation may read it after the next one came. */
#define LEASE_GRACE_MS 10000

/* Released, and nothing is under way with it. */
bool lease_can_change(const struct lease *lease);

/* A file of LEASE is at PATH. */
bool lease_has_path(const struct lease *lease, const char *path);

/* Gives released LEASE the files of PLAN and FETCHED (both taken over) as a further generation, in one
 * exchange. ON_CHANGED once: 0, or a negative errno with WHY; the files are then as before.
 * Returns 0; -EBUSY while another change is under way. */
int lease_change(struct lease *lease, struct plan *plan, struct fetched *fetched,
	void (*on_changed)(struct lease *lease, int status, const char *why, void *data),
	void *data);

/* Empties what is not the present generation; again later while something else is under way. */
void lease_end_grace(struct lease *lease);
