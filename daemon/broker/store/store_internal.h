/* What the files of this folder share: the store itself, its statements, its lock. */
#pragma once

#include "daemon/broker/store/sealed_rows.h"

#include <pthread.h>

/* In the order of the statements in store_open.c. */
enum store_statement {
	STORE_READ,
	STORE_INSERT,
	STORE_REKEY,
	LEDGER_READ,
	LEDGER_WRITE,
	SLOT_READ,
	SLOT_INSERT,
	SLOT_DELETE,
	HEAD_FIND,
	HEAD_NEXT,
	HEAD_OF_SET,
	HEAD_ACCOUNTS,
	HEAD_INSERT,
	HEAD_UPDATE,
	HEAD_REPLACE,
	HEAD_DELETE,
	VALUE_READ,
	VALUE_INSERT,
	VALUE_DELETE,
	VALUE_DELETE_ALL,
	VALUE_COUNT,
	LIVE_COUNT,
	LIVE_COUNT_OF_SET,
	STORE_STATEMENTS,
};

/* What is in memory while the store is unlocked: one run of pages of the arena. */
struct unlocked {
	struct store_keys keys;
	struct head head; /* of the operation that runs; wiped at its end */
	unsigned char plain[HEAD_PLAIN_MAX];
};

struct store {
	pthread_mutex_t mutex;
	/* Passphrases are tried one at a time: each takes 256 MiB. Never taken with MUTEX held. */
	pthread_mutex_t deriving;
	struct arena *arena;
	char *directory;
	struct db *db; /* NULL: uninitialised or damaged */
	struct mayfly_error damage;
	struct store_identity identity;
	struct secret memory; /* a struct unlocked; empty while locked */
};

static inline pthread_mutex_t *mutex_hold(pthread_mutex_t *mutex)
{
	(void)pthread_mutex_lock(mutex); /* has no way to fail for this kind of mutex */
	return mutex;
}

static inline void mutex_release_p(pthread_mutex_t **mutex)
{
	(void)pthread_mutex_unlock(*mutex); /* as above */
}

/* AUTO_HELD *held = mutex_hold(&store->mutex); holds until the end of the scope. */
#define AUTO_HELD __attribute__((unused)) MAYFLY_CLEANUP(mutex_release_p) pthread_mutex_t

static inline struct unlocked *store_unlocked(const struct store *store)
{
	return (struct unlocked *)(void *)store->memory.bytes;
}

static inline enum store_state state_of(const struct store *store)
{
	if (store->damage.code)
		return STORE_DAMAGED;
	if (!store->db)
		return STORE_UNINITIALISED;
	return store->memory.bytes ? STORE_UNLOCKED : STORE_LOCKED;
}

/* The operation's head, wiped at the end of the scope. */
void head_wipe_p(struct head **head);
#define AUTO_HEAD MAYFLY_CLEANUP(head_wipe_p) struct head

/* 0 when there is a store whose file can be read; -ENODATA, -EUCLEAN. */
int store_require_file(const struct store *store, struct mayfly_error *err);
/* 0 when it is unlocked too, with *RET_VAULT for the sealed rows and *RET_HEAD for one of them;
 * -ENOKEY. */
int store_require_unlocked(const struct store *store, struct vault *ret_vault,
	struct head **ret_head, struct mayfly_error *err);

/* Which store it is, when it is unlocked: asked before a second of work is done for nothing. Takes
 * the mutex. */
int store_identity_unlocked(
	struct store *store, struct store_identity *ret_identity, struct mayfly_error *err);

/* Memory for a struct unlocked with the keys derived from IDENTITY and ROOT (KEY_BYTES). */
int unlocked_new(struct arena *arena, const struct store_identity *identity,
	const unsigned char *root, struct secret *ret_memory, struct mayfly_error *err);

int64_t now_unix_s(void);

/* A head for REFERENCE without versions. -EDQUOT, -EOVERFLOW. */
int head_start(const struct vault *vault, struct ledger *ledger,
	const struct secret_reference *reference, struct head *head, struct mayfly_error *err);
/* Version NUMBER of a value of BYTES, with a key of its own. */
void version_make(struct version *version, uint32_t number, size_t bytes, int64_t created_unix_s);

/* A store that is being made and filled, in its one transaction. */
struct store_filling {
	const struct vault *vault;
	struct ledger *ledger;
	struct head *head; /* of the secret whose versions come in */
};

/* Writes the last secret's head. */
int store_fill_end(struct store_filling *filling, struct mayfly_error *err);

/* A slot that is being made, and its slot key. */
struct new_slot {
	struct slot_row row;
	struct secret slot_key;
};

void new_slot_done(struct new_slot *slot);
#define AUTO_NEW_SLOT MAYFLY_CLEANUP(new_slot_done) struct new_slot

/* Takes about a second for a passphrase: call it without the mutex. *RET_SLOT is the caller's. */
int new_slot_make(struct store *store, const struct store_identity *identity, enum slot_kind kind,
	const struct secret *key, struct new_slot *ret_slot, struct mayfly_error *err);
int new_slot_make_recovery(struct store *store, const struct store_identity *identity,
	struct new_slot *ret_slot, struct secret *ret_text, struct mayfly_error *err);

/* Seals the root key of VAULT's keys into SLOT, inserts it and enters it into LEDGER. */
int new_slot_insert(const struct vault *vault, struct ledger *ledger, struct new_slot *slot,
	struct mayfly_error *err);
/* Deletes slot ID's row and entry. */
int slot_delete(
	const struct vault *vault, struct ledger *ledger, int64_t id, struct mayfly_error *err);
/* All rows, damaged ones with kind SLOT_INVALID. */
int slot_read_all(
	struct db *db, struct slot_row *ret_rows, size_t *ret_count, struct mayfly_error *err);
/* Whether LEDGER knows ROW just as it is. */
bool slot_is_entered(
	const struct store_keys *keys, const struct ledger *ledger, const struct slot_row *row);

/* The slot of KIND that KEY opens: the root key in RET_ROOT (a secret of KEY_BYTES), the row in
 * RET_ROW, the store's identity at that time in RET_IDENTITY. Call it without the mutex. */
int slot_try(struct store *store, enum slot_kind kind, const struct secret *key,
	struct secret *ret_root, struct slot_row *ret_row, struct store_identity *ret_identity,
	struct mayfly_error *err);

/* 0 when VALUE has a length that is kept; -EINVAL, -EFBIG. */
int value_check(const struct secret *value, struct mayfly_error *err);
/* A secret that was not removed. */
int find_live(const struct vault *vault, const struct secret_reference *reference,
	struct head *head, struct mayfly_error *err);
/* WANTED: a number or VERSION_*. */
int choose_version(
	struct head *head, uint32_t wanted, struct version **ret_version, struct mayfly_error *err);
/* Destroys the oldest versions until at most KEEP are left, but never the prepared one. KEEP 0 is for a
 * head that gets a version at once. */
int destroy_oldest(const struct vault *vault, struct ledger *ledger, struct head *head,
	uint32_t keep, uint32_t *ret_destroyed, struct mayfly_error *err);
/* A version for VALUE behind the others of HEAD, with a key of its own: the current one from now on. */
int append_version(const struct vault *vault, struct ledger *ledger, struct head *head,
	const struct secret *value, struct mayfly_error *err);

#define AUDIT_KEY_MAX 64

/* The audit chain's first key in table `store`. */
void audit_key_seal(
	const struct store_keys *keys, const struct secret *audit_key, unsigned char *ret_sealed);
int audit_key_open(const struct vault *vault, struct secret *ret_key, struct mayfly_error *err);
