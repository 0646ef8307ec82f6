/* What visits every record: verifying the store, and giving it a new root key. */
#include "daemon/broker/store/store_internal.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

/* store_verify() lets others in between: it holds the mutex this long, then rests, because a mutex
 * is not handed to those who wait for it. One secret with large values may take longer. */
#define HELD_NS	 2000000
#define RESTS_NS 200000

static int verify_head(const struct vault *vault, const struct head *head, struct mayfly_error *err)
{
	for (uint32_t i = 0; i < head->version_count; i++) {
		AUTO_SECRET value = { 0 };
		const int r = value_open(vault, head, &head->versions[i], &value, err);

		if (r < 0)
			return r;
	}
	return 0;
}

static int64_t monotonic_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* this clock is always there */
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Verifies heads above *AFTER for a while, and moves it on. 1: there may be more. */
static int verify_some(struct store *store, int64_t *after, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	const int64_t until = monotonic_ns() + HELD_NS;
	AUTO_HEAD *head = NULL;
	struct vault vault;
	int r;

	r = store_require_unlocked(store, &vault, &head, err);
	if (r < 0)
		return r;
	do {
		r = head_next(&vault, *after, head, err);
		if (r <= 0)
			return r;
		r = verify_head(&vault, head, err);
		if (r < 0)
			return r;
		*after = head->row.id;
	} while (monotonic_ns() < until);
	return 1;
}

/* Adds up all heads as their columns account for them. */
static int add_up(const struct vault *vault, struct ledger *ret_found, struct mayfly_error *err)
{
	AUTO_STATEMENT *read = db_statement(vault->db, HEAD_ACCOUNTS);
	struct ledger found = { 0 };
	int r;

	while ((r = db_next(vault->db, read, "add up the secrets", err)) == 1) {
		struct head_row row = {
			.id = sqlite3_column_int64(read, 0),
			.sequence = sqlite3_column_int64(read, 2),
		};

		if (!column_bytes(read, 1, row.token, sizeof row.token))
			return error_set(
				err, -EBADMSG, "record %lld is damaged", (long long)row.id);
		ledger_add(vault, &found, &row);
	}
	if (r == 0)
		*ret_found = found;
	return r;
}

static int count_values(const struct vault *vault, uint64_t *ret_count, struct mayfly_error *err)
{
	AUTO_STATEMENT *count = db_statement(vault->db, VALUE_COUNT);
	const int r = db_next(vault->db, count, "count the values", err);

	if (r < 0)
		return r;
	*ret_count = (uint64_t)sqlite3_column_int64(count, 0);
	return 0;
}

/* That no row was taken out, put back or added, by the ledger. */
static int verify_ledger(
	const struct vault *vault, const struct ledger *ledger, struct mayfly_error *err)
{
	struct ledger found;
	uint64_t values;
	int r;

	r = add_up(vault, &found, err);
	if (r < 0)
		return r;
	r = count_values(vault, &values, err);
	if (r < 0)
		return r;
	if (found.heads != ledger->heads || values != ledger->values)
		return error_set(err, -EUCLEAN,
			"the store should have %llu secrets with %llu versions and has %llu with "
			"%llu: records were taken out or put back",
			(unsigned long long)ledger->heads, (unsigned long long)ledger->values,
			(unsigned long long)found.heads, (unsigned long long)values);
	if (sodium_memcmp(found.sum, ledger->sum, sizeof found.sum) != 0)
		return error_set(err, -EUCLEAN,
			"a record was replaced by an older one of itself, or taken out for "
			"another");
	return 0;
}

static int verify_slots(
	const struct vault *vault, const struct ledger *ledger, struct mayfly_error *err)
{
	struct slot_row rows[STORE_SLOTS_MAX];
	size_t count;
	const int r = slot_read_all(vault->db, rows, &count, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		if (!slot_is_entered(vault->keys, ledger, &rows[i]))
			return error_set(err, -EBADMSG,
				"slot %lld is damaged, or was removed and put back",
				(long long)rows[i].id);
	if (count != ledger->slot_count)
		return error_set(err, -EUCLEAN, "a slot was taken out of the file");
	return 0;
}

static int verify_accounts(struct store *store, uint64_t *ret_records, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	AUTO_SECRET audit_key = { 0 };
	struct ledger ledger;
	struct vault vault;
	struct head *head;
	int r;

	r = store_require_unlocked(store, &vault, &head, err);
	if (r < 0)
		return r;
	r = ledger_load(&vault, &ledger, err);
	if (r < 0)
		return r;
	r = verify_slots(&vault, &ledger, err);
	if (r < 0)
		return r;
	r = verify_ledger(&vault, &ledger, err);
	if (r < 0)
		return r;
	r = audit_key_open(&vault, &audit_key, err);
	if (r == 0)
		*ret_records = ledger.heads + ledger.values;
	return r;
}

static int verify_pages(struct store *store, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	struct vault vault;
	struct head *head;
	const int r = store_require_unlocked(store, &vault, &head, err);

	return r < 0 ? r : db_check(store->db, err);
}

int store_verify(struct store *store, uint64_t *ret_records, struct mayfly_error *err)
{
	static const struct timespec rest = { .tv_nsec = RESTS_NS };
	int64_t after = INT64_MIN;
	int r;

	r = verify_pages(store, err);
	if (r < 0)
		return r;
	while ((r = verify_some(store, &after, err)) == 1)
		/* A shorter rest is as good. */
		(void)nanosleep(&rest, NULL);
	if (r < 0)
		return r;
	return verify_accounts(store, ret_records, err);
}

/* A store that gets a new root key. */
struct rekeying {
	struct vault from;
	struct vault to;
	struct ledger old;
	struct ledger found; /* what was visited, in the sums of the old keys */
	struct ledger renewed;
};

static int rekey_head(struct rekeying *rekeying, struct head *head, struct mayfly_error *err)
{
	struct secret_reference reference = { 0 };

	ledger_add(&rekeying->from, &rekeying->found, &head->row);
	rekeying->found.values += head->version_count;
	memcpy(reference.set, head->row.set, sizeof reference.set);
	memcpy(reference.name, head->name, sizeof reference.name);
	head_token(rekeying->to.keys, &reference, head->row.token);
	ledger_add(&rekeying->to, &rekeying->renewed, &head->row);
	return head_replace(&rekeying->to, head, err);
}

static int rekey_heads(struct rekeying *rekeying, struct head *head, struct mayfly_error *err)
{
	int64_t after = INT64_MIN;
	int r;

	while ((r = head_next(&rekeying->from, after, head, err)) == 1) {
		after = head->row.id;
		r = rekey_head(rekeying, head, err);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	/* A new ledger over a store with a gap would hide the gap. */
	if (rekeying->found.heads != rekeying->old.heads ||
		rekeying->found.values != rekeying->old.values ||
		sodium_memcmp(rekeying->found.sum, rekeying->old.sum, sizeof rekeying->old.sum) !=
			0)
		return error_set(err, -EUCLEAN,
			"records were taken out of the store or put back: restore a backup");
	rekeying->renewed.values = rekeying->old.values;
	return 0;
}

/* Every token changes: building the index once costs less than changing it at random places. */
static int rekey_heads_without_index(
	struct rekeying *rekeying, struct head *head, struct mayfly_error *err)
{
	struct db *db = rekeying->from.db;
	int r;

	r = db_execute(db, "DROP INDEX head_by_name", "drop the index", err);
	if (r < 0)
		return r;
	r = rekey_heads(rekeying, head, err);
	if (r < 0)
		return r;
	return db_execute(db, "CREATE INDEX head_by_name ON head (set_name, token, removed)",
		"make the index", err);
}

static int rekey_identity(struct rekeying *rekeying, struct mayfly_error *err)
{
	unsigned char sealed[AUDIT_KEY_MAX + SEAL_OVERHEAD];
	AUTO_SECRET audit_key = { 0 };
	AUTO_STATEMENT *write = db_statement(rekeying->to.db, STORE_REKEY);
	const int r = audit_key_open(&rekeying->from, &audit_key, err);

	if (r < 0)
		return r;
	audit_key_seal(rekeying->to.keys, &audit_key, sealed);
	bind_number(write, 1, rekeying->to.keys->identity.generation);
	bind_bytes(write, 2, sealed, audit_key.length + SEAL_OVERHEAD);
	return db_run(rekeying->to.db, write, "write the new root key's number", err);
}

/* The slots that come with a new root key. */
struct next_slots {
	struct new_slot slots[3];
	size_t count;
};

static void next_slots_done(struct next_slots *next)
{
	for (size_t i = 0; i < sizeof next->slots / sizeof next->slots[0]; i++)
		new_slot_done(&next->slots[i]);
}

static int rekey_slots(struct rekeying *rekeying, struct next_slots *next, struct mayfly_error *err)
{
	struct slot_row rows[STORE_SLOTS_MAX];
	struct ledger *ledger = &rekeying->renewed;
	size_t count;
	int r;

	r = slot_read_all(rekeying->from.db, rows, &count, err);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = slot_delete(&rekeying->to, ledger, rows[i].id, err);
	for (size_t i = 0; r == 0 && i < next->count; i++)
		r = new_slot_insert(&rekeying->to, ledger, &next->slots[i], err);
	return r;
}

static int rekey_all(struct rekeying *rekeying, struct next_slots *next, struct head *head,
	struct mayfly_error *err)
{
	AUTO_TRANSACTION *open = NULL;
	int r;

	r = db_begin(rekeying->from.db, &open, err);
	if (r < 0)
		return r;
	r = ledger_load(&rekeying->from, &rekeying->old, err);
	if (r < 0)
		return r;
	rekeying->renewed.counter = rekeying->old.counter;
	rekeying->renewed.next_head_id = rekeying->old.next_head_id;
	r = rekey_heads_without_index(rekeying, head, err);
	if (r < 0)
		return r;
	r = rekey_identity(rekeying, err);
	if (r < 0)
		return r;
	r = rekey_slots(rekeying, next, err);
	if (r < 0)
		return r;
	r = ledger_save(&rekeying->to, &rekeying->renewed, err);
	if (r < 0)
		return r;
	return db_commit(&open, err);
}

/* Writes everything anew and takes the new keys for our own. */
static int rekey_store(struct store *store, const struct store_identity *identity,
	struct next_slots *next, uint64_t *ret_rewrapped, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	AUTO_SECRET root = { 0 }, memory = { 0 };
	struct store_identity renewed = *identity;
	struct rekeying rekeying = { 0 };
	AUTO_HEAD *head = NULL;
	int r;

	r = store_require_unlocked(store, &rekeying.from, &head, err);
	if (r < 0)
		return r;
	if (memcmp(identity, &store->identity, sizeof *identity) != 0)
		return error_set(err, -EAGAIN, "the root key was changed in the meantime");
	renewed.generation++;
	r = secret_new(store->arena, KEY_BYTES, &root, err);
	if (r < 0)
		return r;
	randombytes_buf(root.bytes, root.length);
	r = unlocked_new(store->arena, &renewed, root.bytes, &memory, err);
	if (r < 0)
		return r;
	rekeying.to = rekeying.from;
	rekeying.to.keys = &((struct unlocked *)(void *)memory.bytes)->keys;
	r = rekey_all(&rekeying, next, head, err);
	if (r < 0)
		return r;
	db_forget_deleted(store->db);
	head_wipe_p(&head);
	secret_done(&store->memory);
	store->memory = secret_take(&memory);
	store->identity = renewed;
	*ret_rewrapped = rekeying.old.values;
	return 0;
}

/* A slot for KEY, which must open one that is there: a slip here would lock everyone out. */
static int renew_slot(struct store *store, enum slot_kind kind, const struct secret *key,
	struct next_slots *next, struct mayfly_error *err)
{
	struct store_identity identity;
	AUTO_SECRET root = { 0 };
	struct slot_row row;
	int r;

	if (!key)
		return 0;
	r = slot_try(store, kind, key, &root, &row, &identity, err);
	if (r < 0)
		return r;
	return new_slot_make(store, &identity, kind, key, &next->slots[next->count++], err);
}

int store_rotate_root_key(struct store *store, const struct secret *host_key,
	const struct secret *passphrase, struct secret *ret_recovery_text, uint64_t *ret_rewrapped,
	struct mayfly_error *err)
{
	MAYFLY_CLEANUP(next_slots_done) struct next_slots next = { 0 };
	struct store_identity identity;
	AUTO_SECRET text = { 0 };
	int r;

	r = store_identity_unlocked(store, &identity, err);
	if (r < 0)
		return r;
	r = renew_slot(store, SLOT_HOST_KEY, host_key, &next, err);
	if (r < 0)
		return r;
	r = renew_slot(store, SLOT_PASSPHRASE, passphrase, &next, err);
	if (r < 0)
		return r;
	r = new_slot_make_recovery(store, &identity, &next.slots[next.count++], &text, err);
	if (r < 0)
		return r;
	r = rekey_store(store, &identity, &next, ret_rewrapped, err);
	if (r < 0)
		return r;
	*ret_recovery_text = secret_take(&text);
	return 0;
}
