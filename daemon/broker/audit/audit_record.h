/* Turns records, which are JSON objects, into the chained lines of one batch.
 * Does no I/O. Nothing of a record reaches a line raw: jansson escapes control characters and
 * everything that is not ASCII (a terminal obeys U+202E too), and DEL is escaped here. */
#pragma once

#include "daemon/broker/audit/audit_chain.h"
#include "proto/error.h"

#include <jansson.h>

/* What is the same for all records of a batch. */
struct audit_stamp {
	char time[32]; /* RFC 3339 in UTC with milliseconds */
	char boot[37];
	uint64_t uptime_ms;
	uint64_t epoch;
};

struct audit_batch {
	char *bytes; /* owned */
	size_t length;
	size_t size;
};

/* Reads the clocks. BOOT is the kernel's boot id. */
void audit_stamp_make(struct audit_stamp *ret_stamp, const char *boot, uint64_t epoch);

/* Appends RECORD's line to BATCH and moves HEAD behind it. RECORD is borrowed and not changed.
 * Returns 0; -EINVAL when it is no object, is empty, or has one of our own members; -EMSGSIZE when
 * its line would be too long; -ENOMEM. BATCH is as it was after a failure. */
int audit_batch_add(struct audit_batch *batch, const struct audit_stamp *stamp,
	const struct secret *key, json_t *record, struct audit_head *head,
	struct mayfly_error *err);

void audit_batch_done(struct audit_batch *batch);
