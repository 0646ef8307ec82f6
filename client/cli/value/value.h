/* How values, passphrases and keys come in and go out: from a prompt, standard input or a file
 * into locked memory, from there into a sealed memfd beside a message; never argv, never the
 * environment, never JSON. */
#pragma once

#include "client/cli/cli.h"
#include "client/cli/value/newline_rule.h"
#include "proto/secret.h"

#include <stdbool.h>
#include <stddef.h>

struct value_request {
	const char *prompt;    /* "Value of prod/db-password" */
	const char *from_file; /* NULL: prompt or standard input; "-": standard input */
	bool exact;	       /* keep a final newline */
	bool ask_twice;	       /* at a terminal */
	size_t max_bytes;
	const char *what; /* "value", "passphrase": for errors */
};

/* Reads what REQUEST asks for into *RET_VALUE, which the caller owns. Applies the newline rule and
 * tells what it did in *RET_NEWLINE (may be NULL). Blocks until the input ends.
 * Returns 0; -EINVAL for 0 bytes; -EFBIG above the limit; another negative errno. */
int value_read(struct cli *cli, const struct value_request *request, struct secret *ret_value,
	enum newline_outcome *ret_newline, struct mayfly_error *err);

/* A value on its way to the broker. */
struct sealed_value {
	int fd;
	void *locked; /* keeps its pages out of swap until it has been used */
	size_t length;
};

#define SEALED_VALUE_EMPTY ((struct sealed_value){ .fd = -1 })

/* Puts VALUE into a memfd that can neither be written nor resized. The caller owns *RET_SEALED
 * until sealed_value_done(). */
int sealed_value_new(
	const struct secret *value, struct sealed_value *ret_sealed, struct mayfly_error *err);
void sealed_value_done(struct sealed_value *sealed);

/* An empty memfd for the broker to write into. */
int receiving_memfd_new(int *ret_fd, struct mayfly_error *err);

/* What the broker wrote into FD, at most MAX_BYTES; the caller owns *RET_VALUE. */
int receiving_memfd_read(struct cli *cli, int fd, size_t max_bytes, struct secret *ret_value,
	struct mayfly_error *err);

/* Writes all of VALUE to FD, and a newline behind it if WITH_NEWLINE. Not through stdio, which
 * would keep a copy. */
int value_write(int fd, const struct secret *value, bool with_newline, struct mayfly_error *err);
