/* What is in the store, for a backup, and what was in a backup, into a store that is being made.
 * Values pass through the arena one at a time. */
#pragma once

#include "daemon/broker/store/store.h"
#include "proto/backup/backup_record.h"

/* Gives every secret and every version of it to TO's functions, all as they were at one moment: of
 * a copy of the file, which is as sealed as the file and gone afterwards. Others wait for a
 * millisecond at a time. What does not open is left out and named to ON_DAMAGED. -ENOKEY, -EAGAIN
 * when the store was locked or its root key changed meanwhile; -ENOSPC without room for the copy.
 */
struct store_export {
	int (*on_secret)(void *data, const struct backup_secret *secret, struct mayfly_error *err);
	int (*on_version)(void *data, const struct backup_version *version,
		const struct secret *value, struct mayfly_error *err);
	void (*on_damaged)(void *data, const char *what);
	void *data;
};
int store_export(struct store *store, const struct store_export *to, struct mayfly_error *err);

/* Which store it is. -ENOKEY while it is locked. */
int store_uuid(
	struct store *store, unsigned char ret_uuid[BACKUP_STORE_BYTES], struct mayfly_error *err);

/* For FILL: a secret, then its versions, oldest first. They keep their numbers and times, and get
 * keys of this store. -EBADMSG for a name that is there already. */
int store_fill_secret(struct store_filling *filling, const struct backup_secret *secret,
	struct mayfly_error *err);
int store_fill_version(struct store_filling *filling, const struct backup_version *version,
	const struct secret *value, struct mayfly_error *err);
