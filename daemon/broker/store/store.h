/* The sealed store: secrets of all sets with provider `store`, in store.db.
 *
 * Glossary
 *   root key  256 random bits; everything else is derived from it (BLAKE2b, one context each)
 *   slot      one way to the root key: host key file, passphrase (Argon2id), recovery key
 *   token     keyed hash of SET/NAME: the row's key, so that the file shows no name
 *   version   one value; its own random key, wrapped by the root key, bound with the value to
 *             store, set, name and number
 *   damaged   the file is no store of ours, or it fails its own checks; nothing is written to it
 *
 * Every function may be called from any thread; one mutex serialises them. They block on disk (a
 * durable put is one fdatasync), unlocking by passphrase for about a second (256 MiB of memory, one
 * at a time) outside the mutex. store_list() holds everyone else up for 4 us a secret,
 * store_rotate_root_key() for 10 us a version.
 *
 * Results: 0 or a negative errno, the same everywhere:
 *
 *   -ENODATA      no store yet (init)       -ENOENT   no such secret or version
 *   -ENOKEY       locked                    -EEXIST   other bytes there
 *   -EKEYREJECTED wrong key                 -EBADMSG  damaged or moved record
 *   -EINVAL       no such key, value, ...   -EUCLEAN  damaged store
 *   -ENOSPC, -EIO, -EROFS, ...              the disk; nothing was changed
 *   -E2BIG, -EDQUOT, -EOVERFLOW, -EFBIG     more slots, secrets, versions, bytes than there may be
 *
 * A COMMIT that failed puts the store into read-only mode (-EROFS) until the next start: fsync may
 * lie on a retry. A full disk does not: there the write failed before anything was synced. A file
 * or disk that is read-only at the start is opened for reading.
 * Whoever writes to the file can put back an older copy of the whole file unnoticed; anything less
 * is found by store_verify(), and never gives another value than was asked for, but an older one of
 * the same secret when its head was put back.
 *
 * Rests on facts/store.md: SQLite WAL, synchronous=FULL, secure_delete; XChaCha20-Poly1305,
 * Argon2id (RFC 9106), BLAKE2b of libsodium. */
#pragma once

#include "include/mayfly/limits.h"
#include "proto/error.h"
#include "proto/secret.h"
#include "proto/secret_name.h"

#include <stdbool.h>
#include <stdint.h>

struct store;
struct store_filling;

enum store_state { STORE_UNINITIALISED = 1, STORE_LOCKED, STORE_UNLOCKED, STORE_DAMAGED };
enum slot_kind { SLOT_INVALID = 0, SLOT_HOST_KEY, SLOT_PASSPHRASE, SLOT_RECOVERY };

#define HOST_KEY_BYTES	  32
/* The recovery key as people see it: 256 bits in groups of base32, with check characters, no
 * newline. */
#define RECOVERY_TEXT_MAX 96

struct slot_info {
	int64_t id;
	enum slot_kind kind;
	int64_t created_unix_s;
};

struct version_info {
	uint32_t number;
	int64_t created_unix_s;
	uint32_t bytes; /* of the value */
};

struct secret_info {
	char name[MAYFLY_REFERENCE_MAX + 1]; /* without set */
	uint32_t current;
	uint32_t versions; /* kept now */
	uint32_t keep;	   /* at most */
	uint32_t prepared; /* the version that waits for store_activate(), 0: none */
	int64_t changed_unix_s;
	int64_t removed_unix_s; /* 0: not removed */
};

/* Opens DIRECTORY/store.db ("/var/lib/mayfly"), or remembers that there is none. Never creates it.
 * A file that cannot be a store (other application_id, newer user_version, broken pages, other
 * schema) leaves a store in state STORE_DAMAGED whose reason store_state() gives: the broker starts
 * all the same. Fails only for lack of memory. The caller owns *RET_STORE until store_close(). */
int store_open(const char *directory, struct arena *arena, struct store **ret_store,
	struct mayfly_error *err);
void store_close(struct store *store); /* wipes the keys; NULL is fine */

/* The state, and in *RET_DETAIL (NULL is fine), valid until store_close(): for STORE_DAMAGED the
 * reason, otherwise why nothing can be written, or NULL. */
enum store_state store_state(struct store *store, const char **ret_detail);

struct store_init_args {
	const struct secret *host_key;	    /* HOST_KEY_BYTES, or NULL */
	const struct secret *passphrase;    /* or NULL; exactly one of the two */
	const struct secret *audit_key;	    /* the audit chain's first key, kept sealed inside */
	const struct secret *recovery_text; /* as typed, that is to open it; NULL: one is made */
	/* Puts secrets into it before it is there (store_backup.h); NULL: none. */
	int (*fill)(struct store_filling *filling, void *data, struct mayfly_error *err);
	void *fill_data;
};

/* Creates the store: temporary file, fsync, rename, fsync of the directory. It is unlocked
 * afterwards. *RET_RECOVERY_TEXT gets the recovery key that was made as text; it is shown once and
 * not kept.
 * -EEXIST: there is one. */
int store_init(struct store *store, const struct store_init_args *args,
	struct secret *ret_recovery_text, struct mayfly_error *err);

/* KIND says what KEY is: HOST_KEY_BYTES, a passphrase as typed, or a recovery text as typed
 * (spaces, dashes and case are forgiven; a mistyped one is -EINVAL saying which group).
 * -EKEYREJECTED when no slot opens. A damaged ledger (sealed_rows.h) does not keep anyone out:
 * values can be read then, changes are -EUCLEAN. */
int store_unlock(struct store *store, enum slot_kind kind, const struct secret *key,
	struct mayfly_error *err);
void store_lock(struct store *store); /* wipes the keys */

/* The audit chain's first key. *RET_KEY is the caller's. */
int store_audit_key(struct store *store, struct secret *ret_key, struct mayfly_error *err);

/* Slots, at most 8; store_slots() works while locked. At least one must remain (-EPERM), and
 * removing the last that opens unattended is the caller's business. KEY as in store_unlock(); for
 * SLOT_RECOVERY it is NULL and *RET_RECOVERY_TEXT gets the new one, the old one stops working.
 * *RET_SLOT may be NULL. -EAGAIN when the root key was changed in the meantime. */
int store_slots(struct store *store, struct slot_info *ret_slots, size_t max, size_t *ret_count,
	struct mayfly_error *err);
int store_slot_add(struct store *store, enum slot_kind kind, const struct secret *key,
	struct secret *ret_recovery_text, struct slot_info *ret_slot, struct mayfly_error *err);
int store_slot_remove(struct store *store, int64_t id, struct mayfly_error *err);

/* A new root key: wraps every version's key again, in one transaction. Needs the keys of the slots
 * that stay: HOST_KEY and PASSPHRASE (either may be NULL: such slots are then dropped; each must
 * open a slot, else -EKEYREJECTED); the recovery key is made anew. Refused when a record does not
 * open or was taken out (-EBADMSG, -EUCLEAN): a new key must not hide that. */
int store_rotate_root_key(struct store *store, const struct secret *host_key,
	const struct secret *passphrase, struct secret *ret_recovery_text, uint64_t *ret_rewrapped,
	struct mayfly_error *err);

enum put_outcome { PUT_INVALID = 0, PUT_CREATED, PUT_UNCHANGED, PUT_STAGED };

/* Stores VALUE (1 byte to 1 MiB) under REFERENCE. The same bytes as the current version:
 * PUT_UNCHANGED. Other bytes: -EEXIST, unless STAGE: a further version that is current from now on.
 * A removed name counts as existing
 * (-EEXIST says to undelete or purge it first). Versions above the limit are destroyed, oldest
 * first. */
int store_put(struct store *store, const struct secret_reference *reference,
	const struct secret *value, bool stage, enum put_outcome *ret_outcome,
	uint32_t *ret_version, struct mayfly_error *err);

/* Which version. VERSION_PREVIOUS is the one before the current, VERSION_PREPARED the one that waits
 * for store_activate(). Any other number is that version. */
#define VERSION_CURRENT	 UINT32_MAX
#define VERSION_PREVIOUS (UINT32_MAX - 1)
#define VERSION_PREPARED (UINT32_MAX - 2)

/* *RET_VALUE is the caller's. *RET_VERSION (NULL is fine) says which it was. Removed names are
 * -ENOENT. */
int store_get(struct store *store, const struct secret_reference *reference, uint32_t version,
	struct secret *ret_value, uint32_t *ret_version, struct mayfly_error *err);

/* Removing hides a name and keeps its versions until undelete (-ENOENT when it is hidden already);
 * purging destroys them, also those of a damaged record. *RET_VERSIONS: how many. */
int store_remove(struct store *store, const struct secret_reference *reference, bool purge,
	uint32_t *ret_versions, struct mayfly_error *err);
int store_undelete(struct store *store, const struct secret_reference *reference,
	uint32_t *ret_current, struct mayfly_error *err);

/* KEEP: 1 to MAYFLY_VERSIONS_KEPT_MAX. Removed names are -ENOENT. */
int store_keep(struct store *store, const struct secret_reference *reference, uint32_t keep,
	uint32_t *ret_destroyed, struct mayfly_error *err);

/* Also for removed names (removed_unix_s tells). */
int store_info(struct store *store, const struct secret_reference *reference,
	struct secret_info *ret_info, struct mayfly_error *err);
/* Newest first, at most MAX. Also for removed names. */
int store_history(struct store *store, const struct secret_reference *reference,
	struct version_info *ret_versions, size_t max, size_t *ret_count, struct mayfly_error *err);

/* All secrets of SET, removed ones too, sorted by name, in an array that the caller frees. One
 * whose record is damaged stands in it as "?damaged-N", which is nobody's name, with no versions.
 */
int store_list(struct store *store, const char *set, struct secret_info **ret_list,
	size_t *ret_count, struct mayfly_error *err);

/* Live (not removed) secrets: of SET, or of all sets when NULL. Works while locked. */
int store_count(
	struct store *store, const char *set, uint64_t *ret_count, struct mayfly_error *err);

/* Everything that start leaves out to be quick: pages (quick_check), every row's binding, that no
 * row was taken out or put back. Long for a large store; run it in the background: it lets others
 * in between, but for the pages (2 us a secret). 0, or -EBADMSG/-EUCLEAN with the first finding. */
int store_verify(struct store *store, uint64_t *ret_records, struct mayfly_error *err);
