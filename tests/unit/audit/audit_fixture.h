/* A chain in a directory of its own, for the tests of the audit module. */
#pragma once

#include "daemon/broker/audit/audit_state.h"

#include <stdbool.h>
#include <stddef.h>

#define FIXTURE_PATH_SIZE 256
#define FIXTURE_LINES_MAX 512

struct fixture {
	char directory[FIXTURE_PATH_SIZE];
	struct arena *arena;
	struct audit *audit;
	struct secret first_key; /* set by the first fixture_open() */
	struct mayfly_error err;
};

/* Makes a directory in memory (/dev/shm: most tests sync thousands of times), and an arena. */
void fixture_make(struct fixture *fixture);

/* As above, below TMPDIR. */
void fixture_make_on_disk(struct fixture *fixture);

/* As above, in a directory that is there. */
void fixture_make_at(struct fixture *fixture, const char *directory);

/* Opens the chain, which must succeed; small segments and epochs when the limits are not 0. */
void fixture_open(struct fixture *fixture, int64_t segment_max_bytes, uint64_t epoch_max_records);

/* Closes the chain, if it is open. */
void fixture_close(struct fixture *fixture);

/* Appends COUNT records, one by one: {"action":"release","decision":"granted","number":<i>}. */
void fixture_append(struct fixture *fixture, int count);

/* A record as fixture_append() writes it. The caller owns it. */
json_t *fixture_record(int number);

/* Counts in SEEN how often each "number" below SIZE is in the chain. */
void fixture_numbers(struct fixture *fixture, unsigned char *seen, size_t size);

/* What audit_verify() says. */
int fixture_verify(struct fixture *fixture, struct audit_report *ret_report);

/* True when the independent verifier finds nothing wrong and agrees on the head. */
bool fixture_python_agrees(struct fixture *fixture);

/* The path of NAME in the chain's directory, in a buffer of the caller. */
const char *fixture_path(
	const struct fixture *fixture, const char *name, char buffer[FIXTURE_PATH_SIZE * 2]);

/* A file's bytes with a NUL behind them; the caller frees them. */
char *fixture_read(const struct fixture *fixture, const char *name, size_t *ret_length);

/* Overwrites the file in place, and cuts it. */
void fixture_write(
	const struct fixture *fixture, const char *name, const void *bytes, size_t length);

/* Copies every file of the chain into a new fixture, closed. */
void fixture_copy(const struct fixture *from, struct fixture *ret_to);

/* Closes and removes everything. */
void fixture_done(struct fixture *fixture);
