/* What the files of this folder know about one open chain. Not for others. */
#pragma once

#include "daemon/broker/audit/audit.h"
#include "daemon/broker/audit/audit_file.h"
#include "daemon/broker/audit/audit_key.h"
#include "daemon/broker/audit/audit_view.h"

#include <pthread.h>

#define AUDIT_EPOCH_MAX_RECORDS 4096
#define AUDIT_EPOCH_MAX_MS	60000

struct audit {
	int directory; /* DIRECTORY/audit, locked against a second writer */
	struct arena *arena;
	char boot[37];
	/* AUDIT_SEGMENT_MAX_BYTES, AUDIT_EPOCH_MAX_RECORDS and AUDIT_EPOCH_MAX_MS, lower in tests.
	 * They do not change once others know the chain. */
	int64_t segment_max_bytes;
	uint64_t epoch_max_records;
	int64_t epoch_max_ms;

	/* Held while a batch is written; guards everything down to the next mutex. */
	pthread_mutex_t writing;
	struct audit_key key;
	struct audit_head head;
	struct audit_file file;
	uint64_t epoch_records;
	int64_t epoch_start_ms; /* CLOCK_BOOTTIME */
	bool must_ratchet;	/* before anything else is written */

	/* Held for moments, never over I/O: audit_head() is called on the loop. */
	pthread_mutex_t publishing;
	struct audit_head published;
};

/* Finds the end of the chain: fills AUDIT's head and file from what is in its directory and its
 * key, which is loaded. *RET_TORN_BYTES behind it are the rest of a write that was never
 * acknowledged; the file's has_rest says so. Blocks. -EBADMSG when key and records do not belong
 * together. */
int audit_resume(struct audit *audit, int64_t *ret_torn_bytes, struct mayfly_error *err);

/* Goes to the next epoch, durably. With the writing mutex held, or before others know AUDIT.
 * Blocks. */
int audit_ratchet(struct audit *audit, struct mayfly_error *err);

/* Lets audit_head() tell AUDIT's head. As above. */
void audit_publish_head(struct audit *audit);

/* Takes a view of the chain and what belongs to the same moment. Blocks while a batch is written,
 * not longer. RET_KEY (NULL: not needed) is a copy of the present key. */
int audit_look(struct audit *audit, struct audit_view *ret_view, struct audit_head *ret_head,
	struct audit_key *ret_key, struct mayfly_error *err);
