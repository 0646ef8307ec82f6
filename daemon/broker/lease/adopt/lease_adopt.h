/* After a death of ours: every delivery is found again, by the mounter's own table, the arena, or
 * in its container, and taken up, or wiped. Never by a counter: the row in state.db says which
 * device and which process it was, the kernel says whether they are. */
#pragma once

#include "daemon/broker/lease/lease.h"

/* At the broker's start: ROWS of state.db (borrowed) and the mounter's list. ON_ADOPTED is called
 * once, when everything that is to be found was found or given up; engines may be listened to then.
 */
int lease_adopt_all(struct lease_context *context, json_t *rows, void (*on_adopted)(void *data),
	void *data, struct mayfly_error *err);

/* A new mounter is there: what the dead one had is taken up by it. Operations that were under way
 * have failed before. */
void lease_readopt_all(struct lease_context *context);
