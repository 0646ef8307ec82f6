/* Finds a lease by what names it. With 10,000 of them every open, event of the engine and call of a
 * container would look through all otherwise. Loop thread only. */
#pragma once

#include "daemon/broker/lease/lease_context.h"

#include <stdint.h>

/* LEASE is in the context's list, and can be found, from here on until lease_index_remove(). */
void lease_index_add(struct lease *lease);
void lease_index_remove(struct lease *lease);

/* MOUNT_ID as text; NULL when there is none. */
struct lease *lease_find(struct lease_context *context, const char *mount_id);

/* Whose files are on DEVICE, unless it has ended. */
struct lease *lease_find_by_device(struct lease_context *context, uint64_t device);
