/* The files inside a delivery, written through its own mount. Runs in the mounter while a delivery
 * is detached, in a worker once a container may reach it. Never reads content, never sees a value.
 */
#pragma once

#include "proto/mounter_protocol.h"

#include <stdbool.h>

/* Makes the file that REQUEST describes below `..<generation>`, with its directories, its pages
 * allocated, owner and mode set. Returns a write-only descriptor; -EEXIST, -ENOSPC, ... */
int delivery_file_make(int own, const struct mounter_request *request);

/* Makes GENERATION what readers see. Atomic layout: `..data` is exchanged in one rename, links for
 * its top-level names are made, stale ones removed. Plain layout: its files are renamed into place
 * one by one, others wiped and removed. Older generations stay, empty, while half of the
 * inodes is free; with KEEP_PREVIOUS as they were. */
int delivery_commit(int own, uint32_t generation, bool is_plain, bool keep_previous);

/* Empties every generation but GENERATION, and removes links that lead nowhere in it. */
int delivery_clean(int own, uint32_t generation);

/* Overwrites, truncates and removes everything. The superblock must be writable. */
int delivery_wipe(int own);
