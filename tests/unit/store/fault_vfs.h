/* A disk that fails on demand: SQLite's own access to files, with one call of our choice failing.
 */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>

enum fault_calls { FAULT_WRITES = 1, FAULT_SYNCS = 2, FAULT_READS = 4 };

struct fault_plan {
	unsigned calls;	 /* enum fault_calls: which calls count */
	long fails_at;	 /* the so-manieth of them, from 1; 0: none */
	bool stays;	 /* and all that follow */
	bool disk_full;	 /* ENOSPC, not EIO */
	long seen;	 /* calls until now */
	bool has_failed; /* at least one did */
};

/* Makes it SQLite's default for this process. PLAN is looked at in every call. */
void fault_vfs_install(struct fault_plan *plan);
