/* Taking content away: files that are overwritten and removed, and files that are overwritten and kept
 * for a later generation. Everything through the own mount. */
#pragma once

#include "daemon/mounter/kernel/kernel_calls.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Whose a file was before it was emptied. */
struct file_owner {
	uint32_t uid, gid;
	mode_t mode;
};

/* Overwrites, truncates and removes one entry; for directory_for_each(). */
int entry_wipe(int directory, const struct directory_entry *entry, void *data);

/* Overwrites and truncates the file NAME, and keeps it. It remembers whose it was. */
int file_empty(int directory, const char *name);

/* Overwrites and truncates every file below the directory NAME, and removes nothing. Each file remembers
 * whose it was. */
int tree_empty(int directory, const char *name);

/* NAME is a file without content: no file of a delivery is that short. */
bool is_emptied(int directory, const char *name);

/* Opens the emptied file NAME for writing, if OWNER had it before; -ESTALE otherwise. */
int emptied_open(int directory, const char *name, const struct file_owner *owner);
