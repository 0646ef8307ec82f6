/* Taking content away: files that are overwritten and removed, and files that are overwritten and kept
 * for a later generation. Everything through the own mount. */
#pragma once

#include "daemon/mounter/kernel/kernel_calls.h"

#include <stdbool.h>

/* Overwrites, truncates and removes one entry; for directory_for_each(). */
int entry_wipe(int directory, const struct directory_entry *entry, void *data);

/* Overwrites and truncates the file NAME, and keeps it. */
int file_empty(int directory, const char *name);

/* Overwrites and truncates every file below the directory NAME, and removes nothing. */
int tree_empty(int directory, const char *name);

/* NAME is a file without content: no file of a delivery is that short. */
bool is_emptied(int directory, const char *name);

/* Nobody has the file NAME open, or mapped: the kernel would give a lease on it. It must be uid 0's. */
bool is_unopened(int directory, const char *name);
