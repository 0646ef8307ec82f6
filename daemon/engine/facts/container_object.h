/* A container object as PROTOCOL.md describes it: what the files say, and what the kernel says at
 * this moment. */
#pragma once

#include "daemon/engine/facts/container_table.h"
#include "daemon/engine/facts/image_digests.h"
#include "proto/error.h"

#include <jansson.h>

/* Makes the object of ENTRY, whose files are read again if they have changed, into *RET_OBJECT,
 * which the caller owns. Returns 0; -ENOENT when the container's files are gone; another negative
 * errno with the reason why it cannot be told. */
int container_object_make(struct container_table *table, struct container_entry *entry,
	struct image_digests *digests, json_t **ret_object, struct mayfly_error *err);
