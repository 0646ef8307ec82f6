/* The segments of a chain as they were at one moment, for those who read them.
 * What is written, renamed or begun afterwards does not show: the present segment is held open and
 * read up to the length that it had.
 *
 * Glossary
 *   segment   a file of records: `audit.jsonl` is written, `audit-<first seq>.jsonl` are older */
#pragma once

#include "daemon/broker/audit/audit_lines.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AUDIT_FILE	     "audit.jsonl"
#define AUDIT_SEGMENT_FORMAT "audit-%020ju.jsonl"
#define AUDIT_NAME_SIZE	     40

struct audit_segment {
	uint64_t first_seq; /* by its name; UINT64_MAX for the present one, which has none */
	char name[AUDIT_NAME_SIZE];
};

struct audit_view {
	int directory; /* borrowed */
	int present;   /* owned; -1 when there is no present segment */
	int64_t present_bytes;
	struct audit_segment *segments; /* oldest first, the present one last */
	size_t count;
};

/* The empty view, which audit_view_done() takes. */
#define AUDIT_VIEW_EMPTY      \
	{                     \
		.present = -1 \
	}

/* Lists DIRECTORY; PRESENT (-1: none) is duplicated. Blocks. */
int audit_view_make(int directory, int present, int64_t present_bytes, struct audit_view *ret_view,
	struct mayfly_error *err);

void audit_view_done(struct audit_view *view);

/* True for the one that was being written, always the last. */
bool audit_view_is_present(const struct audit_view *view, size_t index);

/* Reads the present segment's first line and fills in its first_seq, where there is a record.
 * Blocks. */
int audit_view_date_present(struct audit_view *view, struct mayfly_error *err);

/* The last segment whose first_seq is not above SEQ; 0 when there is none. */
size_t audit_view_find(const struct audit_view *view, uint64_t seq);

/* Opens segment INDEX at its start. The caller owns the reader. Blocks. */
int audit_view_lines(const struct audit_view *view, size_t index, struct lines_reader *ret_reader,
	struct mayfly_error *err);

/* Moves READER to the start of some line that is not behind the first record with a seq above SEQ:
 * by bisection, so that who follows a long file does not read all of it each time. Trusts nothing:
 * in a damaged file it finds a line further in front. */
int audit_lines_seek(struct lines_reader *reader, uint64_t seq, struct mayfly_error *err);
