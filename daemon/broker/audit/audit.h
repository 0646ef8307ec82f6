/* The audit file: every decision, one JSON object a line, chained by a key that only moves forward.
 *
 * Glossary
 *   record   {"seq", "time", "boot", "uptime_ms", "epoch", "action", ..., "mac"}
 *   mac      BLAKE2b-256 keyed with the epoch's key over the previous mac and the line without its
 *            own mac (audit_chain.h, docs/audit-format.md)
 *   ratchet  key(i+1) = BLAKE2b-256("mayfly audit next", keyed with key(i)); key(i) is then erased:
 *            who takes the machine later cannot rewrite what is older. At every start, every 4,096
 *            records, and every 60 s with records (audit_queue.h also when nobody appends)
 *   head     seq and mac of the last record: keep it elsewhere and a cut tail shows
 *
 * Files: DIRECTORY/audit/audit.jsonl, older segments audit-<first seq>.jsonl, audit.key (the
 * present key, its epoch and the record that it follows; written, fsynced, renamed), first.key only
 * until `init` has sealed the first key in the store. Never values. Strings are escaped by jansson;
 * control characters of others never reach a line raw. */
#pragma once

#include "proto/error.h"
#include "proto/secret.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define AUDIT_KEY_BYTES		32
#define AUDIT_SEGMENT_MAX_BYTES ((int64_t)64 * 1024 * 1024)

struct audit;

/* Opens or creates DIRECTORY/audit, takes up the chain where the last whole line left it (a torn
 * last line, of a write that was never acknowledged, is cut off and noted in a record with the
 * action "audit-cut"), ratchets. Blocks.
 * Fails when the key and the file do not belong together (-EBADMSG): then nothing can be released,
 * and ERR says what to do. -EBUSY when another process writes there. */
int audit_open(const char *directory, struct arena *arena, struct audit **ret_audit,
	struct mayfly_error *err);
void audit_close(struct audit *audit);

/* Before `init`: a copy of the chain's first key, to be sealed in the store; then
 * audit_first_key_sealed() erases first.key. -ENOENT when it was sealed already. A chain that had
 * to be begun again has a first key that is to be sealed too. Both block. */
int audit_first_key(struct audit *audit, struct secret *ret_key, struct mayfly_error *err);
int audit_first_key_sealed(struct audit *audit, struct mayfly_error *err);

/* Appends COUNT records (objects, borrowed; the members named above are added to copies) and makes
 * them durable with one fdatasync. Blocks; any thread, one at a time inside. COUNT 0 writes
 * nothing, but ratchets when that is due. Returns 0, or a negative errno: then none of them may be
 * taken as written, and the file is cut back to where it was. -EINVAL and -EMSGSIZE: a record is at
 * fault (no object, one of the members above, a line over 256 KiB). -EBADMSG: the file is not what
 * this process left; nothing is written to it any more. */
int audit_append(
	struct audit *audit, json_t *const *records, size_t count, struct mayfly_error *err);

/* The last record's seq and mac (64 hex digits and a NUL); 0 and zeros before the first. Does not
 * block. */
void audit_head(struct audit *audit, uint64_t *ret_seq, char ret_mac[65]);

struct audit_filter {
	/* RFC 3339 UTC, or a beginning of it, compared as text without the Z: SINCE and later,
	 * before UNTIL. Or NULL. */
	const char *since, *until;
	const char *secret;    /* SET/NAME, or NULL */
	const char *container; /* name or beginning of the id, or NULL */
	const char *action;
	bool refused_only;
	uint64_t last; /* only the newest N that fit; 0: all */
};

/* True when RECORD fits. Pure. */
bool audit_filter_fits(const struct audit_filter *filter, json_t *record);

/* Calls ON_RECORD for each fitting record behind seq AFTER, oldest first, until it returns false.
 * RECORD is borrowed. What is appended meanwhile is not seen, and does not wait. Blocks.
 * -EBADMSG at a line that is no record. */
int audit_read(struct audit *audit, uint64_t after, const struct audit_filter *filter,
	bool (*on_record)(json_t *record, void *data), void *data, struct mayfly_error *err);

struct audit_report {
	uint64_t records;
	char first_time[32], last_time[32]; /* RFC 3339, "" without records */
	uint64_t head_seq;
	char head_mac[65];
};

/* Goes through every segment from FIRST_KEY on: each line's mac, no seq missing, epochs in order,
 * and that the file ends where this process stopped writing. -EBADMSG with segment, line and what
 * is wrong. Blocks. */
int audit_verify(struct audit *audit, const struct secret *first_key,
	struct audit_report *ret_report, struct mayfly_error *err);
