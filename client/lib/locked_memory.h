/* Memory for one value: pages of its own, locked, left out of core dumps, wiped before they are
 * given back. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct locked_memory {
	unsigned char *bytes; /* NULL: none */
	size_t size;	      /* whole pages */
	bool is_locked;
};

/* Maps room for SIZE bytes, at least 1, all zero. 0 or a negative errno; that it could not be
 * locked is no error here, and *RET_LOCK_ERROR is why, else 0. */
int locked_memory_map(size_t size, struct locked_memory *ret_memory, int *ret_lock_error);

/* Wipes and gives back. */
void locked_memory_done(struct locked_memory *memory);
