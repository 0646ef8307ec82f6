/* Backups: what a running broker knows that another host needs, into one encrypted file, and out of
 * it into a store that is being made. proto/backup/backup_stream.h and backup_record.h have the format.
 * Blocks for as long as the store is large; for worker threads.
 *
 * What goes in: every secret with its versions, times and numbers; mayflyd.json and policy.d; the
 * audit chain's first key and its head, so that a copy of the audit files can be proved without
 * this host. What does not: host key, slots, root key (a restored store has its own); leases and
 * volumes, which belong to containers of this host; the audit records themselves. */
#pragma once

#include "daemon/broker/audit/audit.h"
#include "daemon/broker/store/store_backup.h"

struct backup_source {
	const char *root;	 /* "" or the directory below which etc/mayfly is */
	const char *environment; /* NULL: not chosen */
	struct arena *arena;
	struct store *store;
	struct audit *audit;
};

/* Records that did not open and are not in it. */
struct damaged_names {
	char **names;
	size_t count;
};
void damaged_names_done(struct damaged_names *damaged);

/* Writes a backup to FD, an empty regular file, for who has the secret half of PUBLIC_KEY. What was
 * written when it fails is no backup. *RET_DAMAGED is the caller's. Errors as store_export(). */
int backup_make(const struct backup_source *source, int fd,
	const unsigned char public_key[BACKUP_KEY_BYTES], struct backup_counts *ret_counts,
	struct damaged_names *ret_damaged, struct mayfly_error *err);

/* Makes the store of the backup in FD: reads all of it first, then again to use it. RECOVERY_TEXT,
 * as typed, opens the backup, and the store from then on; HOST_KEY or PASSPHRASE does too. The
 * store has a root key, and an AUDIT_KEY, of its own. *RET_INFO says where it came from. Nothing is
 * there when it fails. Errors as backup_read() and store_init(). */
struct restore_wish {
	const struct secret *recovery_text, *host_key, *passphrase, *audit_key;
};
int backup_restore(struct store *store, struct arena *arena, int fd,
	const struct restore_wish *wish, struct backup_info *ret_info,
	struct backup_counts *ret_counts, struct mayfly_error *err);
