/* Takes single files away from a released delivery while the others stay: overwritten, truncated, gone. Who
 * has one open or mapped reads nothing any more. Until the container starts again no generation has them.
 * Loop thread only. */
#pragma once

#include "daemon/broker/lease/lease.h"

/* Takes PATHS (an array of texts, each as often as it likes; borrowed; an empty one is fine). REASON is for
 * the audit. If nothing would be left the lease ends. */
void lease_take(struct lease *lease, json_t *paths, const char *reason);

/* --- files that are read once ---
 * One open is allowed; when the last descriptor or mapping of it is gone, wherever it was passed on to, the
 * file is taken. The guard must be asked at every open, which the policy's check makes sure of. */

/* PLAN's files that are read once. */
void lease_once_set(struct lease *lease, const struct plan *plan);

/* The placeholders of the files that are about to be written: by their inodes they are known. */
void lease_once_note(struct lease *lease);

/* May OPENER have its file? Of one that is read once: then this is the one open, and *RET_PATH says which;
 * NULL for any other file. */
bool lease_once_take(struct lease *lease, const struct opener *opener, const char **ret_path);
/* It was not opened after all. */
void lease_once_give_back(struct lease *lease, const char *path);

/* An open of INODE is over. */
void lease_once_closed(struct lease *lease, uint64_t inode);

/* After a restart: what was not taken yet, and what was opened: its close may have been told to nobody. */
void lease_take_resume(struct lease *lease);

/* Removes from FETCHED, the next generation, what was taken. */
void lease_leave_out_taken(const struct lease *lease, struct fetched *fetched);
