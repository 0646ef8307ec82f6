/* What a backup says: records in one order, written by the broker, read by the broker and by the
 * command. Numbers are little endian.
 *
 *   each record: kind (1) | length (4) | that many bytes
 *
 *   1 info       made (8) | store (16) | audit head: seq (8), mac (32) | host: length (1), text |
 *                environment: length (1), text                        once, first
 *   2 file       name: length (1), text | text of the file            any number
 *   3 audit key  the audit chain's first key, 1 to 64 bytes           once
 *   4 secret     removed (1) | current (4) | next (4) | keep (4) | changed (8) | removed at (8) |
 *                set: length (1), text | name: length (1), text       any number, each followed by
 *   5 version    number (4) | created (8) | value                     its versions, oldest first
 *   6 end        files (8) | secrets (8) | versions (8)               once, last
 *
 * A reader checks all of it, names and bounds too, whatever its visitor looks at. */
#pragma once

#include "include/mayfly/limits.h"
#include "proto/backup/backup_stream.h"
#include "proto/secret_name.h"

#include <stdbool.h>
#include <stdint.h>

#define BACKUP_STORE_BYTES   16
#define BACKUP_MAC_BYTES     32
#define BACKUP_HOST_MAX	     64
#define BACKUP_AUDIT_KEY_MAX 64
#define BACKUP_FILE_NAME_MAX 255
#define BACKUP_FILE_MAX	     ((size_t)4 * 1024 * 1024)
#define BACKUP_CONFIG_NAME   "mayflyd.json"
#define BACKUP_POLICY_PREFIX "policy.d/"

struct backup_info {
	int64_t made_unix_s;
	unsigned char store[BACKUP_STORE_BYTES];
	uint64_t audit_seq;
	unsigned char audit_mac[BACKUP_MAC_BYTES];
	char host[BACKUP_HOST_MAX + 1];
	char environment[MAYFLY_SET_NAME_MAX + 1]; /* "" when none was chosen */
};

/* One secret without its versions. */
struct backup_secret {
	struct secret_reference reference;
	bool is_removed;
	uint32_t current, next, keep;
	int64_t changed_unix_s, removed_unix_s;
};

struct backup_version {
	uint32_t number;
	int64_t created_unix_s;
};

struct backup_counts {
	uint64_t files, secrets, versions;
};

/* Each returns 0 or a negative errno that ends the reading. NULL: not looked at. What they are
 * given is borrowed. */
struct backup_visitor {
	int (*on_info)(void *data, const struct backup_info *info, struct mayfly_error *err);
	/* mayflyd.json or policy.d/NAME.json; TEXT has an end behind LENGTH bytes. */
	int (*on_file)(void *data, const char *name, const char *text, size_t length,
		struct mayfly_error *err);
	int (*on_audit_key)(void *data, const struct secret *key, struct mayfly_error *err);
	int (*on_secret)(void *data, const struct backup_secret *secret, struct mayfly_error *err);
	int (*on_version)(void *data, const struct backup_version *version,
		const struct secret *value, struct mayfly_error *err);
	void *data;
};

/* Reads FD (backup_stream.h) from its start to its end. With an empty VISITOR this is the check of
 * the whole file that stands before any use. RET_COUNTS may be NULL. Errors as backup_reader_new();
 * -EBADMSG for what no broker writes. */
int backup_read(struct arena *arena, int fd, const struct secret *recovery_key,
	const struct backup_visitor *visitor, struct backup_counts *ret_counts,
	struct mayfly_error *err);

/* Writes records in the order above; backup_write_end() also ends the stream. COUNTS, zero at the
 * beginning, is kept up to date. */
int backup_write_info(
	struct backup_writer *writer, const struct backup_info *info, struct mayfly_error *err);
int backup_write_file(struct backup_writer *writer, struct backup_counts *counts, const char *name,
	const char *text, size_t length, struct mayfly_error *err);
int backup_write_audit_key(
	struct backup_writer *writer, const struct secret *key, struct mayfly_error *err);
int backup_write_secret(struct backup_writer *writer, struct backup_counts *counts,
	const struct backup_secret *secret, struct mayfly_error *err);
int backup_write_version(struct backup_writer *writer, struct backup_counts *counts,
	const struct backup_version *version, const struct secret *value, struct mayfly_error *err);
int backup_write_end(
	struct backup_writer *writer, const struct backup_counts *counts, struct mayfly_error *err);

/* True for mayflyd.json and policy.d/NAME.json: what restoring may write. */
bool backup_file_name_is_good(const char *name);
