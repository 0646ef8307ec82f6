#include "daemon/broker/store/store_internal.h"

#include "proto/recovery_text.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

static const char *kind_name(enum slot_kind kind)
{
	switch (kind) {
	case SLOT_HOST_KEY:
		return "host key";
	case SLOT_PASSPHRASE:
		return "passphrase";
	case SLOT_RECOVERY:
		return "recovery key";
	case SLOT_INVALID:
		break;
	}
	return "key";
}

void new_slot_done(struct new_slot *slot)
{
	secret_done(&slot->slot_key);
}

/* slot_key_derive(), one passphrase at a time. */
static int derive_in_turn(struct store *store, const struct store_identity *identity,
	const struct slot_row *row, const struct secret *key, struct secret *ret_slot_key,
	struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->deriving);

	return slot_key_derive(identity, row, key, ret_slot_key, err);
}

static int new_slot_from(struct store *store, const struct store_identity *identity,
	enum slot_kind kind, const struct secret *key, struct new_slot *ret_slot,
	struct mayfly_error *err)
{
	struct new_slot slot = { .row = slot_row_make(kind, now_unix_s()) };
	const int r = derive_in_turn(store, identity, &slot.row, key, &slot.slot_key, err);

	if (r == 0)
		*ret_slot = slot;
	return r;
}

int new_slot_make(struct store *store, const struct store_identity *identity, enum slot_kind kind,
	const struct secret *key, struct new_slot *ret_slot, struct mayfly_error *err)
{
	AUTO_SECRET read = { 0 };
	const int r = slot_key_read(store->arena, kind, key, &read, err);

	if (r < 0)
		return r;
	return new_slot_from(store, identity, kind, &read, ret_slot, err);
}

int new_slot_make_recovery(struct store *store, const struct store_identity *identity,
	struct new_slot *ret_slot, struct secret *ret_text, struct mayfly_error *err)
{
	AUTO_SECRET key = { 0 }, text = { 0 };
	int r;

	r = secret_new(store->arena, RECOVERY_KEY_BYTES, &key, err);
	if (r < 0)
		return r;
	randombytes_buf(key.bytes, key.length);
	r = recovery_text_write(&key, &text, err);
	if (r < 0)
		return r;
	r = new_slot_from(store, identity, SLOT_RECOVERY, &key, ret_slot, err);
	if (r < 0)
		return r;
	*ret_text = secret_take(&text);
	return 0;
}

int new_slot_insert(const struct vault *vault, struct ledger *ledger, struct new_slot *slot,
	struct mayfly_error *err)
{
	struct slot_row *row = &slot->row;
	AUTO_STATEMENT *insert = db_statement(vault->db, SLOT_INSERT);

	if (ledger->slot_count == STORE_SLOTS_MAX)
		return error_set(err, -E2BIG, "a store has at most %d slots: remove one first",
			STORE_SLOTS_MAX);
	row->id = (int64_t)++ledger->counter;
	slot_seal(vault->keys, &slot->slot_key, row);
	ledger->slots[ledger->slot_count].id = row->id;
	slot_digest(vault->keys, row, ledger->slots[ledger->slot_count].digest);
	ledger->slot_count++;
	bind_number(insert, 1, row->id);
	bind_number(insert, 2, row->kind);
	bind_number(insert, 3, row->created_unix_s);
	bind_number(insert, 4, row->cost.passes);
	bind_number(insert, 5, row->cost.memory_kib);
	bind_bytes(insert, 6, row->salt, sizeof row->salt);
	bind_bytes(insert, 7, row->commitment, sizeof row->commitment);
	bind_bytes(insert, 8, row->sealed_root, sizeof row->sealed_root);
	return db_run(vault->db, insert, "write a slot", err);
}

int slot_delete(
	const struct vault *vault, struct ledger *ledger, int64_t id, struct mayfly_error *err)
{
	AUTO_STATEMENT *delete = db_statement(vault->db, SLOT_DELETE);

	for (uint32_t i = 0; i < ledger->slot_count; i++)
		if (ledger->slots[i].id == id) {
			ledger->slots[i] = ledger->slots[--ledger->slot_count];
			break;
		}
	bind_number(delete, 1, id);
	return db_run(vault->db, delete, "remove a slot", err);
}

/* Out of range is out of bounds, not something smaller. */
static uint32_t column_cost(sqlite3_stmt *row, int column)
{
	const int64_t number = sqlite3_column_int64(row, column);

	return number < 0 || number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
}

static struct slot_row slot_from_row(sqlite3_stmt *read)
{
	const int64_t kind = sqlite3_column_int64(read, 1);
	struct slot_row row = {
		.id = sqlite3_column_int64(read, 0),
		.created_unix_s = sqlite3_column_int64(read, 2),
		.cost = { column_cost(read, 3), column_cost(read, 4) },
	};

	if (kind >= SLOT_HOST_KEY && kind <= SLOT_RECOVERY &&
		column_bytes(read, 5, row.salt, sizeof row.salt) &&
		column_bytes(read, 6, row.commitment, sizeof row.commitment) &&
		column_bytes(read, 7, row.sealed_root, sizeof row.sealed_root))
		row.kind = (enum slot_kind)kind;
	return row;
}

int slot_read_all(
	struct db *db, struct slot_row *ret_rows, size_t *ret_count, struct mayfly_error *err)
{
	AUTO_STATEMENT *read = db_statement(db, SLOT_READ);
	size_t count = 0;
	int r;

	while ((r = db_next(db, read, "read the slots", err)) == 1) {
		if (count == STORE_SLOTS_MAX)
			return error_set(err, -EUCLEAN, "'%s' has more than %d slots", db_path(db),
				STORE_SLOTS_MAX);
		ret_rows[count++] = slot_from_row(read);
	}
	if (r < 0)
		return r;
	*ret_count = count;
	return 0;
}

bool slot_is_entered(
	const struct store_keys *keys, const struct ledger *ledger, const struct slot_row *row)
{
	unsigned char digest[SLOT_DIGEST_BYTES];

	slot_digest(keys, row, digest);
	for (uint32_t i = 0; i < ledger->slot_count; i++)
		if (ledger->slots[i].id == row->id)
			return sodium_memcmp(digest, ledger->slots[i].digest, sizeof digest) == 0;
	return false;
}

/* The slots as they are now, without holding the mutex while keys are derived. */
static int slot_snapshot(struct store *store, struct slot_row *ret_rows, size_t *ret_count,
	struct store_identity *ret_identity, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	const int r = store_require_file(store, err);

	if (r < 0)
		return r;
	*ret_identity = store->identity;
	return slot_read_all(store->db, ret_rows, ret_count, err);
}

/* 0, or -EKEYREJECTED with the reason. */
static int slot_try_one(struct store *store, const struct store_identity *identity,
	const struct slot_row *row, const struct secret *key, unsigned char *ret_root,
	struct mayfly_error *err)
{
	AUTO_SECRET slot_key = { 0 };
	int r;

	r = derive_in_turn(store, identity, row, key, &slot_key, err);
	if (r < 0)
		return r;
	r = slot_open(identity, &slot_key, row, ret_root);
	if (r == -EBADMSG)
		return error_set(err, -EKEYREJECTED,
			"the %s is right, but its slot %lld is damaged: unlock with another",
			kind_name(row->kind), (long long)row->id);
	return r < 0 ? error_set(err, r, "that is not the %s", kind_name(row->kind)) : 0;
}

int slot_try(struct store *store, enum slot_kind kind, const struct secret *key,
	struct secret *ret_root, struct slot_row *ret_row, struct store_identity *ret_identity,
	struct mayfly_error *err)
{
	struct slot_row rows[STORE_SLOTS_MAX];
	struct store_identity identity;
	AUTO_SECRET read = { 0 }, root = { 0 };
	size_t count;
	int r;

	r = slot_key_read(store->arena, kind, key, &read, err);
	if (r < 0)
		return r;
	r = secret_new(store->arena, KEY_BYTES, &root, err);
	if (r < 0)
		return r;
	r = slot_snapshot(store, rows, &count, &identity, err);
	if (r < 0)
		return r;
	r = error_set(err, -EKEYREJECTED, "the store has no slot for a %s", kind_name(kind));
	for (size_t i = 0; r == -EKEYREJECTED && i < count; i++) {
		if (rows[i].kind != kind)
			continue;
		r = slot_try_one(store, &identity, &rows[i], &read, root.bytes, err);
		*ret_row = rows[i];
	}
	if (r < 0)
		return r;
	*ret_root = secret_take(&root);
	*ret_identity = identity;
	return 0;
}

/* A slot that was removed and put back into the file opens no more. A damaged ledger cannot tell,
 * and does not lock anyone out: nothing can be written then. */
static int require_entered(struct store *store, const struct unlocked *unlocked,
	const struct slot_row *row, struct mayfly_error *err)
{
	const struct vault vault = { .db = store->db, .keys = &unlocked->keys };
	struct ledger ledger;
	const int r = ledger_load(&vault, &ledger, err);

	if (r == -EUCLEAN)
		return 0;
	if (r < 0)
		return r;
	if (!slot_is_entered(&unlocked->keys, &ledger, row))
		return error_set(err, -EKEYREJECTED,
			"slot %lld was removed and put back into the file", (long long)row->id);
	return 0;
}

int store_unlock(struct store *store, enum slot_kind kind, const struct secret *key,
	struct mayfly_error *err)
{
	AUTO_SECRET root = { 0 }, memory = { 0 };
	struct store_identity identity;
	struct slot_row row;
	int r;

	r = slot_try(store, kind, key, &root, &row, &identity, err);
	if (r < 0)
		return r;
	r = unlocked_new(store->arena, &identity, root.bytes, &memory, err);
	if (r < 0)
		return r;

	AUTO_HELD *held = mutex_hold(&store->mutex);
	if (memcmp(&identity, &store->identity, sizeof identity) != 0)
		return error_set(
			err, -EKEYREJECTED, "the root key was changed in the meantime: try again");
	r = require_entered(store, (struct unlocked *)(void *)memory.bytes, &row, err);
	if (r < 0)
		return r;
	if (!store->memory.bytes)
		store->memory = secret_take(&memory);
	return 0;
}

void store_lock(struct store *store)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);

	secret_done(&store->memory);
}

static void bind_audit_key(struct bound *bound, const struct store_keys *keys)
{
	bound_begin(bound, "audit key");
	bound_bytes(bound, keys->identity.uuid, sizeof keys->identity.uuid);
	bound_number(bound, (uint64_t)keys->identity.generation);
}

void audit_key_seal(
	const struct store_keys *keys, const struct secret *audit_key, unsigned char *ret_sealed)
{
	struct bound bound;

	bind_audit_key(&bound, keys);
	record_seal(keys->audit, &bound, audit_key->bytes, audit_key->length, ret_sealed);
}

int audit_key_open(const struct vault *vault, struct secret *ret_key, struct mayfly_error *err)
{
	AUTO_STATEMENT *read = db_statement(vault->db, STORE_READ);
	AUTO_SECRET key = { 0 };
	struct bound bound;
	size_t length;
	int r;

	r = db_next(vault->db, read, "read the audit key", err);
	if (r < 0)
		return r;
	length = r == 1 ? (size_t)sqlite3_column_bytes(read, 2) : 0;
	if (length <= SEAL_OVERHEAD || length > AUDIT_KEY_MAX + SEAL_OVERHEAD)
		return error_set(err, -EBADMSG, "the audit chain's first key is damaged");
	r = secret_new(vault->arena, length - SEAL_OVERHEAD, &key, err);
	if (r < 0)
		return r;
	bind_audit_key(&bound, vault->keys);
	r = record_open(
		vault->keys->audit, &bound, sqlite3_column_blob(read, 2), length, key.bytes);
	if (r < 0)
		return error_set(err, r, "the audit chain's first key is damaged");
	*ret_key = secret_take(&key);
	return 0;
}

int store_audit_key(struct store *store, struct secret *ret_key, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	struct vault vault;
	struct head *head;
	const int r = store_require_unlocked(store, &vault, &head, err);

	if (r < 0)
		return r;
	return audit_key_open(&vault, ret_key, err);
}

static struct slot_info info_of(const struct slot_row *row)
{
	return (struct slot_info){ row->id, row->kind, row->created_unix_s };
}

int store_slots(struct store *store, struct slot_info *ret_slots, size_t max, size_t *ret_count,
	struct mayfly_error *err)
{
	struct slot_row rows[STORE_SLOTS_MAX];
	struct store_identity identity;
	size_t count;
	const int r = slot_snapshot(store, rows, &count, &identity, err);

	if (r < 0)
		return r;
	*ret_count = count < max ? count : max;
	for (size_t i = 0; i < *ret_count; i++)
		ret_slots[i] = info_of(&rows[i]);
	return 0;
}

/* An old recovery key stops working when a new one is made. */
static int delete_recovery(const struct vault *vault, struct ledger *ledger, bool *ret_deleted,
	struct mayfly_error *err)
{
	struct slot_row rows[STORE_SLOTS_MAX];
	size_t count;
	int r;

	r = slot_read_all(vault->db, rows, &count, err);
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (rows[i].kind != SLOT_RECOVERY)
			continue;
		r = slot_delete(vault, ledger, rows[i].id, err);
		*ret_deleted = true;
	}
	return r;
}

static int slot_add_prepared(struct store *store, const struct store_identity *identity,
	struct new_slot *slot, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	AUTO_TRANSACTION *open = NULL;
	bool has_deleted = false;
	struct ledger ledger;
	struct vault vault;
	struct head *head;
	int r;

	r = store_require_unlocked(store, &vault, &head, err);
	if (r < 0)
		return r;
	if (memcmp(identity, &store->identity, sizeof *identity) != 0)
		return error_set(
			err, -EAGAIN, "the root key was changed in the meantime: try again");
	r = db_begin(store->db, &open, err);
	if (r < 0)
		return r;
	r = ledger_load(&vault, &ledger, err);
	if (r < 0)
		return r;
	if (slot->row.kind == SLOT_RECOVERY) {
		r = delete_recovery(&vault, &ledger, &has_deleted, err);
		if (r < 0)
			return r;
	}
	r = new_slot_insert(&vault, &ledger, slot, err);
	if (r < 0)
		return r;
	r = ledger_save(&vault, &ledger, err);
	if (r < 0)
		return r;
	r = db_commit(&open, err);
	if (r == 0 && has_deleted)
		db_forget_deleted(store->db);
	return r;
}

int store_identity_unlocked(
	struct store *store, struct store_identity *ret_identity, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	struct vault vault;
	struct head *head;
	const int r = store_require_unlocked(store, &vault, &head, err);

	if (r == 0)
		*ret_identity = store->identity;
	return r;
}

int store_slot_add(struct store *store, enum slot_kind kind, const struct secret *key,
	struct secret *ret_recovery_text, struct slot_info *ret_slot, struct mayfly_error *err)
{
	AUTO_NEW_SLOT slot = { 0 };
	AUTO_SECRET text = { 0 };
	struct store_identity identity;
	int r;

	r = store_identity_unlocked(store, &identity, err);
	if (r < 0)
		return r;
	r = kind == SLOT_RECOVERY ? new_slot_make_recovery(store, &identity, &slot, &text, err)
				  : new_slot_make(store, &identity, kind, key, &slot, err);
	if (r < 0)
		return r;
	r = slot_add_prepared(store, &identity, &slot, err);
	if (r < 0)
		return r;
	if (kind == SLOT_RECOVERY)
		*ret_recovery_text = secret_take(&text);
	if (ret_slot)
		*ret_slot = info_of(&slot.row);
	return 0;
}

/* 0 when slot ID is there and not the only one. Rows that the ledger does not know do not count. */
static int check_removable(
	struct db *db, const struct ledger *ledger, int64_t id, struct mayfly_error *err)
{
	struct slot_row rows[STORE_SLOTS_MAX];
	bool is_there = false;
	size_t count;
	const int r = slot_read_all(db, rows, &count, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		is_there |= rows[i].id == id;
	if (!is_there)
		return error_set(err, -ENOENT, "there is no slot %lld", (long long)id);
	if (ledger->slot_count == 1 && ledger->slots[0].id == id)
		return error_set(err, -EPERM,
			"slot %lld is the only one: without it nothing opens the store",
			(long long)id);
	return 0;
}

int store_slot_remove(struct store *store, int64_t id, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	AUTO_TRANSACTION *open = NULL;
	struct ledger ledger;
	struct vault vault;
	struct head *head;
	int r;

	r = store_require_unlocked(store, &vault, &head, err);
	if (r < 0)
		return r;
	r = db_begin(store->db, &open, err);
	if (r < 0)
		return r;
	r = ledger_load(&vault, &ledger, err);
	if (r < 0)
		return r;
	r = check_removable(store->db, &ledger, id, err);
	if (r < 0)
		return r;
	r = slot_delete(&vault, &ledger, id, err);
	if (r < 0)
		return r;
	r = ledger_save(&vault, &ledger, err);
	if (r < 0)
		return r;
	r = db_commit(&open, err);
	if (r == 0)
		db_forget_deleted(store->db);
	return r;
}
