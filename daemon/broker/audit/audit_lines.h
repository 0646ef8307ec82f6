/* Reads the lines of a part of a segment. Knows nothing of records. */
#pragma once

#include "proto/error.h"

#include <stddef.h>
#include <stdint.h>

enum lines_found {
	LINES_END = 0,
	LINES_WHOLE,  /* a line that '\n' ended */
	LINES_BROKEN, /* the part ends without '\n', or the line is longer than any record's */
};

struct lines_reader {
	int fd; /* owned */
	int64_t end;
	int64_t offset;	 /* of the line that was found last */
	uint64_t number; /* of that line, from 1 where the reading started */
	/* Of the bytes at START in the file, FILLED are in BUFFER and USED of them were found. */
	char *buffer;
	int64_t start;
	size_t filled, used;
};

/* The empty reader, which lines_done() takes: an empty fd is -1. */
#define LINES_EMPTY      \
	{                \
		.fd = -1 \
	}

/* Starts a reader of FD, which it owns from here on even when this fails, from OFFSET (a line's
 * start) to END. Returns 0 or -ENOMEM. */
int lines_open(struct lines_reader *ret_reader, int fd, int64_t offset, int64_t end,
	struct mayfly_error *err);

/* Moves to OFFSET; counts lines from there. */
void lines_move(struct lines_reader *reader, int64_t offset);

/* Finds the next line. *RET_TEXT (without '\n') is valid until the next call. Blocks.
 * Returns an enum lines_found, or a negative errno: -EBADMSG when the file is shorter than END. */
int lines_next(struct lines_reader *reader, const char **ret_text, size_t *ret_length,
	struct mayfly_error *err);

/* The empty reader is fine. */
void lines_done(struct lines_reader *reader);
