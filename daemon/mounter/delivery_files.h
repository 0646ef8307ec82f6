/* The files inside a delivery, written through its own mount. Runs in the mounter while a delivery
 * is detached, in a worker once a container may reach it. Never reads content, never sees a value.
 */
#pragma once

#include "proto/mounter_protocol.h"

#include <stdbool.h>

/* Makes the file that REQUEST describes below `..<generation>`, with its directories, its pages
 * allocated, owner and mode set. Returns a write-only descriptor; -EEXIST, -ENOSPC, ... */
int delivery_file_make(int own, const struct mounter_request *request);

/* The directory that readers see in the plain layout, at the top of the tmpfs. */
#define DELIVERY_VIEW "..view"

/* Opens (O_PATH) what mounts of the delivery begin at: its view, or the own mount's root. A plain
 * delivery that was found again in its container has no view: there the own mount begins at it. */
int delivery_view_open(int own);

/* Makes GENERATION what readers see. Atomic layout: ..data is exchanged in one rename, links for its
 * top-level names are made. Plain layout: its files are exchanged one by one. Older generations are
 * emptied, unless KEEP_PREVIOUS. */
int delivery_commit(int own, uint32_t generation, bool is_plain, bool keep_previous);

/* Empties every generation but the present one and removes links that lead nowhere in it. What a
 * container holds open stays, without content. KEEP_YOUNGER spares what has been readable since the
 * last such cleaning: called in turn, each generation stays for one turn at least. */
int delivery_clean(int own, bool keep_younger);

/* Empties the file PATH of the present generation, and removes it with what leads to it; one that is not
 * there is fine. Then as delivery_clean(). */
int delivery_take(int own, const char *path);

/* Overwrites, truncates and removes everything. The superblock must be writable. */
int delivery_wipe(int own);
