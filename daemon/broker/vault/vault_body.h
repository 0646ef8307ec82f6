/* Bodies of requests: JSON objects with secrets in them, made in the arena and nowhere else. */
#pragma once

#include "proto/error.h"
#include "proto/secret.h"

#include <stdbool.h>
#include <stddef.h>

struct vault_field {
	const char *key; /* needs no escapes */
	const char *bytes;
	size_t length;
	bool is_raw; /* JSON already: a number, an object */
};

/* *RET_BODY is the caller's. Bytes that are no UTF-8 cannot stand in JSON: -EILSEQ. */
int vault_body_make(struct arena *arena, const struct vault_field *fields, size_t count,
	struct secret *ret_body, struct mayfly_error *err);

#define VAULT_FILE_MAX_BYTES ((size_t)64 * 1024)

/* Reads the file PATH of less than VAULT_FILE_MAX_BYTES into *RET_SECRET, without the white space at
 * its end. One that everybody may read is refused (-EPERM) unless IS_PUBLIC. Blocks: for the work
 * queue. -ENODATA when nothing stands in it. */
int vault_file_read(struct arena *arena, const char *path, bool is_public,
	struct secret *ret_secret, struct mayfly_error *err);
