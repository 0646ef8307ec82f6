/* The segment that is written: durable appends, cutting back what failed, the change of segments.
 * Not safe against itself: one thread at a time. Every function blocks. */
#pragma once

#include "proto/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct audit_file {
	int directory; /* borrowed */
	int fd;	       /* owned; -1 between two segments */
	int64_t size;  /* up to here everything is durable and acknowledged */
	uint64_t first_seq;
	/* There may be bytes behind SIZE: the rest of a write that failed. */
	bool has_rest;
};

/* Opens `audit.jsonl` in DIRECTORY; FD is -1 when there is none. SIZE is the file's: what in it
 * counts, and FIRST_SEQ, are for audit_resume() to find out. */
int audit_file_open(struct audit_file *ret_file, int directory, struct mayfly_error *err);

void audit_file_done(struct audit_file *file);

/* Makes FILE ready for a batch of LENGTH bytes that starts with record SEQ: cuts back a failed
 * write, retires the segment when it would grow over MAX_BYTES, and makes `audit.jsonl`, durably.
 * A later call takes up what a failed one left. */
int audit_file_prepare(struct audit_file *file, uint64_t seq, size_t length, int64_t max_bytes,
	struct mayfly_error *err);

/* Appends and makes durable. After a failure the bytes are cut off again, at the latest by
 * audit_file_prepare(). */
int audit_file_append(
	struct audit_file *file, const char *bytes, size_t length, struct mayfly_error *err);

/* -EBADMSG when `audit.jsonl` is not what this process wrote: another file, or of another length.
 */
int audit_file_check(const struct audit_file *file, struct mayfly_error *err);
