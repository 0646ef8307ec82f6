/* The sealed rows of store.db: heads, values and the ledger; their bytes and their statements.
 * Called with the store's mutex held. Keeps nothing.
 *
 * Glossary
 *   head      one secret: its name and, for each version, number, time, length and the version's own
 *             random key. Wrapping those keys is sealing the head
 *   value     one version's bytes, sealed with that key. Its row's number is the head's and the
 *             version's together
 *   sequence  a number that no other writing of a head has; bound to the head
 *   ledger    one sealed row that accounts for all others: how many heads and values, which slots, and
 *             the sum (modulo 2^256) over all heads of a keyed hash of token, id and sequence. A head
 *             that was taken out or replaced by an older one of itself changes the sum; keeping it up
 *             to date costs two hashes, whatever the store's size */
#pragma once

#include "daemon/broker/store/sqlite/sqlite_db.h"
#include "daemon/broker/store/store_keys.h"

#define TOKEN_BYTES	KEY_BYTES
#define SECRETS_MAX	1000000
/* A head with the longest name and the most versions, filled up. */
#define HEAD_PLAIN_MAX	8192
#define HEAD_SEALED_MAX (HEAD_PLAIN_MAX + SEAL_OVERHEAD)
#define LEDGER_BYTES	(4 * 8 + 32 + 4 + STORE_SLOTS_MAX * (8 + SLOT_DIGEST_BYTES))
/* Value rows are numbered head id * 2^32 + version. */
#define HEAD_ID_MAX	((int64_t)INT32_MAX)
#define VERSION_MAX	((uint32_t)INT32_MAX)

/* What stands in clear in a head's row. */
struct head_row {
	int64_t id;
	int64_t sequence;
	bool is_removed;
	unsigned char token[TOKEN_BYTES];
	char set[MAYFLY_SET_NAME_MAX + 1];
};

struct version {
	uint32_t number;
	uint32_t bytes;
	int64_t created_unix_s;
	unsigned char key[KEY_BYTES];
};

/* Lies in the arena. */
struct head {
	struct head_row row;
	char name[MAYFLY_REFERENCE_MAX + 1];
	uint32_t current;
	uint32_t next;	   /* number of the next version; never used twice */
	uint32_t prepared; /* the version that waits for store_activate(), 0: none */
	uint32_t keep;
	int64_t changed_unix_s;
	int64_t removed_unix_s;
	uint32_t version_count;
	struct version versions[MAYFLY_VERSIONS_KEPT_MAX]; /* oldest first */
};

struct ledger {
	uint64_t counter; /* the last sequence or slot id that was given out */
	uint64_t next_head_id;
	uint64_t heads;
	uint64_t values;
	unsigned char sum[32];
	uint32_t slot_count;
	struct {
		int64_t id;
		unsigned char digest[SLOT_DIGEST_BYTES];
	} slots[STORE_SLOTS_MAX];
};

/* What the statements on sealed rows need. */
struct vault {
	struct db *db;
	const struct store_keys *keys;
	unsigned char *plain; /* HEAD_PLAIN_MAX bytes of the arena, for heads on their way */
	struct arena *arena;
};

/* The key of REFERENCE's row. */
void head_token(const struct store_keys *keys, const struct secret_reference *reference,
	unsigned char *ret_token);

/* 0; -ENOENT; -EBADMSG when the record does not open: RET_HEAD->row is set all the same. */
int head_find(const struct vault *vault, const struct secret_reference *reference,
	struct head *ret_head, struct mayfly_error *err);

/* The head with the smallest id above AFTER: 1, 0 when there is none; -EBADMSG as head_find(). */
int head_next(
	const struct vault *vault, int64_t after, struct head *ret_head, struct mayfly_error *err);

/* Opens the head in the present row of STATEMENT: id, set, token, removed, sequence, record. */
int head_from_row(const struct vault *vault, sqlite3_stmt *statement, struct head *ret_head);

/* Writes HEAD, which gets a fresh sequence, and accounts for it. */
int head_insert(const struct vault *vault, struct ledger *ledger, struct head *head,
	struct mayfly_error *err);
int head_update(const struct vault *vault, struct ledger *ledger, struct head *head,
	struct mayfly_error *err);
int head_delete(const struct vault *vault, struct ledger *ledger, const struct head_row *row,
	struct mayfly_error *err);

/* Re-keying: accounts for ROW in LEDGER, whose keys VAULT has; writes HEAD sealed with them. */
void ledger_add(const struct vault *vault, struct ledger *ledger, const struct head_row *row);
int head_replace(const struct vault *vault, const struct head *head, struct mayfly_error *err);

/* Seals VALUE with VERSION's key and inserts it. */
int value_insert(const struct vault *vault, const struct head *head, const struct version *version,
	const struct secret *value, struct mayfly_error *err);
/* *RET_VALUE is the caller's. -EBADMSG: damaged, moved or gone. */
int value_open(const struct vault *vault, const struct head *head, const struct version *version,
	struct secret *ret_value, struct mayfly_error *err);
int value_delete(const struct vault *vault, const struct head *head, const struct version *version,
	struct mayfly_error *err);
/* All of a head's values; *RET_COUNT says how many rows there were. */
int value_delete_all(const struct vault *vault, const struct head_row *row, uint64_t *ret_count,
	struct mayfly_error *err);

/* The ledger's bytes and back. ledger_open(): -EUCLEAN. */
void ledger_seal(const struct store_keys *keys, const struct ledger *ledger,
	unsigned char ret_sealed[LEDGER_BYTES + SEAL_OVERHEAD]);
int ledger_load(const struct vault *vault, struct ledger *ret_ledger, struct mayfly_error *err);
int ledger_save(const struct vault *vault, const struct ledger *ledger, struct mayfly_error *err);
