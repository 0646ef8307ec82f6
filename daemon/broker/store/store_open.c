#include "daemon/broker/store/store_internal.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const schema[] = {
	"CREATE TABLE store (id INTEGER PRIMARY KEY CHECK (id = 1), uuid BLOB NOT NULL, "
	"generation INTEGER NOT NULL, audit_key BLOB NOT NULL, ledger BLOB NOT NULL) STRICT",
	"CREATE TABLE slot (id INTEGER PRIMARY KEY, kind INTEGER NOT NULL, created INTEGER NOT "
	"NULL, "
	"passes INTEGER NOT NULL, memory_kib INTEGER NOT NULL, salt BLOB NOT NULL, "
	"commitment BLOB NOT NULL, root_key BLOB NOT NULL) STRICT",
	"CREATE TABLE head (id INTEGER PRIMARY KEY, set_name TEXT NOT NULL, token BLOB NOT NULL, "
	"removed INTEGER NOT NULL, sequence INTEGER NOT NULL, record BLOB NOT NULL) STRICT",
	"CREATE TABLE value (id INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT",
	/* The last one, because re-keying makes it anew. */
	"CREATE INDEX head_by_name ON head (set_name, token, removed)",
	NULL,
};

static const char *const statements[] = {
	[STORE_READ] = "SELECT uuid, generation, audit_key FROM store",
	[STORE_INSERT] = "INSERT INTO store (id, uuid, generation, audit_key, ledger) "
			 "VALUES (1, ?1, ?2, ?3, x'')",
	[STORE_REKEY] = "UPDATE store SET generation = ?1, audit_key = ?2",
	[LEDGER_READ] = "SELECT ledger FROM store",
	[LEDGER_WRITE] = "UPDATE store SET ledger = ?1",
	[SLOT_READ] = "SELECT id, kind, created, passes, memory_kib, salt, commitment, root_key "
		      "FROM slot ORDER BY id",
	[SLOT_INSERT] =
		"INSERT INTO slot (id, kind, created, passes, memory_kib, salt, commitment, "
		"root_key) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
	[SLOT_DELETE] = "DELETE FROM slot WHERE id = ?1",
	[HEAD_FIND] = "SELECT id, set_name, token, removed, sequence, record FROM head "
		      "WHERE set_name = ?1 AND token = ?2",
	[HEAD_NEXT] = "SELECT id, set_name, token, removed, sequence, record FROM head "
		      "WHERE id > ?1 ORDER BY id LIMIT 1",
	[HEAD_OF_SET] = "SELECT id, set_name, token, removed, sequence, record FROM head "
			"WHERE set_name = ?1",
	[HEAD_ACCOUNTS] = "SELECT id, token, sequence FROM head",
	[HEAD_INSERT] = "INSERT INTO head (id, token, set_name, removed, sequence, record) "
			"VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
	[HEAD_UPDATE] = "UPDATE head SET removed = ?2, sequence = ?3, record = ?4 WHERE id = ?1",
	[HEAD_REPLACE] = "UPDATE head SET token = ?2, record = ?3 WHERE id = ?1",
	[HEAD_DELETE] = "DELETE FROM head WHERE id = ?1",
	[VALUE_READ] = "SELECT sealed FROM value WHERE id = ?1",
	[VALUE_INSERT] = "INSERT INTO value (id, sealed) VALUES (?1, ?2)",
	[VALUE_DELETE] = "DELETE FROM value WHERE id = ?1",
	[VALUE_DELETE_ALL] = "DELETE FROM value WHERE id BETWEEN ?1 AND ?2",
	[VALUE_COUNT] = "SELECT count(*) FROM value",
	[LIVE_COUNT] = "SELECT count(*) FROM head WHERE removed = 0",
	[LIVE_COUNT_OF_SET] = "SELECT count(*) FROM head WHERE set_name = ?1 AND removed = 0",
};

static const struct db_format store_format = {
	.file_name = "store.db",
	.kind = "secret store",
	.application_id = 0x4d465353, /* "MFSS" */
	.version = 1,
	.schema = schema,
	.statements = statements,
	.statement_count = STORE_STATEMENTS,
	.cache_kib = 8000,
};

int64_t now_unix_s(void)
{
	return (int64_t)time(NULL);
}

void head_wipe_p(struct head **head)
{
	if (*head)
		sodium_memzero(*head, sizeof **head);
	*head = NULL;
}

int store_require_file(const struct store *store, struct mayfly_error *err)
{
	if (store->damage.code)
		return error_set(err, -EUCLEAN, "the store is damaged: %s", store->damage.text);
	if (!store->db)
		return error_set(err, -ENODATA, "there is no store in '%s' yet: run mayfly init",
			store->directory);
	return 0;
}

int store_require_unlocked(const struct store *store, struct vault *ret_vault,
	struct head **ret_head, struct mayfly_error *err)
{
	struct unlocked *unlocked = store_unlocked(store);
	const int r = store_require_file(store, err);

	if (r < 0)
		return r;
	if (!unlocked)
		return error_set(err, -ENOKEY, "the store is locked: run mayfly unlock");
	*ret_vault = (struct vault){
		.db = store->db,
		.keys = &unlocked->keys,
		.plain = unlocked->plain,
		.arena = store->arena,
	};
	*ret_head = &unlocked->head;
	return 0;
}

int unlocked_new(struct arena *arena, const struct store_identity *identity,
	const unsigned char *root, struct secret *ret_memory, struct mayfly_error *err)
{
	struct secret memory = { 0 };
	struct unlocked *unlocked;
	const int r = secret_new(arena, sizeof *unlocked, &memory, err);

	if (r < 0)
		return r;
	unlocked = (struct unlocked *)(void *)memory.bytes;
	unlocked->keys.identity = *identity;
	memcpy(unlocked->keys.root, root, KEY_BYTES);
	store_keys_derive(&unlocked->keys);
	*ret_memory = memory;
	return 0;
}

static int identity_read(
	struct db *db, struct store_identity *ret_identity, struct mayfly_error *err)
{
	AUTO_STATEMENT *read = db_statement(db, STORE_READ);
	struct store_identity identity;
	const int r = db_next(db, read, "read which store it is", err);

	if (r < 0)
		return r;
	if (r == 0 || !column_bytes(read, 0, identity.uuid, sizeof identity.uuid))
		return error_set(err, -EUCLEAN, "'%s' does not say which store it is", db_path(db));
	identity.generation = sqlite3_column_int64(read, 1);
	*ret_identity = identity;
	return 0;
}

static void db_close_p(struct db **db)
{
	db_close(*db);
	*db = NULL;
}

/* Opens the file and looks which store it is. */
static int attach(struct store *store, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(db_close_p) struct db *db = NULL;
	int r;

	r = db_open(store->directory, &store_format, &db, err);
	if (r < 0)
		return r;
	r = identity_read(db, &store->identity, err);
	if (r < 0)
		return r;
	store->db = ptr_take(&db);
	return 0;
}

static int store_new(const char *directory, struct arena *arena, struct store **ret_store)
{
	struct store *store = calloc(1, sizeof *store);

	if (!store)
		return -ENOMEM;
	store->arena = arena;
	store->directory = strdup(directory);
	if (!store->directory || pthread_mutex_init(&store->mutex, NULL) != 0 ||
		pthread_mutex_init(&store->deriving, NULL) != 0) {
		free(store->directory);
		free(store);
		return -ENOMEM;
	}
	*ret_store = store;
	return 0;
}

/* What a broker that was killed while it made a backup has left: as sealed as the store, but nobody
 * would look for it. */
static void remove_copy(const char *directory)
{
	AUTO_FREE char *path = NULL;

	if (asprintf(&path, "%s/store.db" DB_COPY_SUFFIX, directory) < 0)
		path = NULL;
	else
		(void)unlink(path); /* the next copy, or start, tries again */
}

int store_open(const char *directory, struct arena *arena, struct store **ret_store,
	struct mayfly_error *err)
{
	struct store *store;
	int r;

	/* Chooses the fastest code for this processor; safe to repeat. */
	if (sodium_init() < 0 || store_new(directory, arena, &store) < 0)
		return error_errno(err, -ENOMEM, "open the store");
	remove_copy(directory);
	r = attach(store, &store->damage);
	if (r == -ENOENT)
		store->damage = (struct mayfly_error){ 0 };
	if (r == -ENOMEM) {
		if (err)
			*err = store->damage;
		store_close(store);
		return r;
	}
	*ret_store = store;
	return 0;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	secret_done(&store->memory);
	db_close(store->db);
	(void)pthread_mutex_destroy(&store->deriving);
	(void)pthread_mutex_destroy(&store->mutex);
	free(store->directory);
	free(store);
}

enum store_state store_state(struct store *store, const char **ret_detail)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	const enum store_state state = state_of(store);

	if (ret_detail)
		*ret_detail = state == STORE_DAMAGED ? store->damage.text
			      : store->db	     ? db_refusal(store->db)
						     : NULL;
	return state;
}

/* What store_init() has ready when it begins to write. */
struct first_rows {
	const struct store_init_args *args;
	struct secret memory; /* a struct unlocked */
	struct new_slot daily;
	struct new_slot recovery;
};

static void first_rows_done(struct first_rows *first)
{
	secret_done(&first->memory);
	new_slot_done(&first->daily);
	new_slot_done(&first->recovery);
}

static int write_first_rows(struct db *db, void *context, struct mayfly_error *err)
{
	struct first_rows *first = context;
	struct unlocked *unlocked = (struct unlocked *)(void *)first->memory.bytes;
	const struct vault vault = { .db = db,
		.keys = &unlocked->keys,
		.plain = unlocked->plain,
		.arena = first->memory.arena };
	struct ledger ledger = { .next_head_id = 1 };
	struct store_filling filling = { &vault, &ledger, &unlocked->head };
	const struct secret *key = first->args->audit_key;
	unsigned char audit_key[AUDIT_KEY_MAX + SEAL_OVERHEAD];
	AUTO_STATEMENT *insert = db_statement(db, STORE_INSERT);
	int r;

	audit_key_seal(&unlocked->keys, key, audit_key);
	bind_bytes(insert, 1, unlocked->keys.identity.uuid, STORE_UUID_BYTES);
	bind_number(insert, 2, unlocked->keys.identity.generation);
	bind_bytes(insert, 3, audit_key, key->length + SEAL_OVERHEAD);
	r = db_run(db, insert, "write which store it is", err);
	if (r < 0)
		return r;
	r = new_slot_insert(&vault, &ledger, &first->daily, err);
	if (r < 0)
		return r;
	r = new_slot_insert(&vault, &ledger, &first->recovery, err);
	if (r < 0)
		return r;
	r = first->args->fill ? first->args->fill(&filling, first->args->fill_data, err) : 0;
	if (r < 0)
		return r;
	r = store_fill_end(&filling, err);
	if (r < 0)
		return r;
	return ledger_save(&vault, &ledger, err);
}

static int prepare_first_rows(struct store *store, const struct store_init_args *args,
	struct first_rows *first, struct secret *recovery_text, struct mayfly_error *err)
{
	struct store_identity identity = { .generation = 1 };
	AUTO_SECRET root = { 0 };
	int r;

	randombytes_buf(identity.uuid, sizeof identity.uuid);
	r = secret_new(store->arena, KEY_BYTES, &root, err);
	if (r < 0)
		return r;
	randombytes_buf(root.bytes, root.length);
	r = unlocked_new(store->arena, &identity, root.bytes, &first->memory, err);
	if (r < 0)
		return r;
	r = new_slot_make(store, &identity, args->host_key ? SLOT_HOST_KEY : SLOT_PASSPHRASE,
		args->host_key ? args->host_key : args->passphrase, &first->daily, err);
	if (r < 0)
		return r;
	if (args->recovery_text)
		return new_slot_make(store, &identity, SLOT_RECOVERY, args->recovery_text,
			&first->recovery, err);
	return new_slot_make_recovery(store, &identity, &first->recovery, recovery_text, err);
}

static int require_uninitialised(const struct store *store, struct mayfly_error *err)
{
	if (state_of(store) == STORE_UNINITIALISED)
		return 0;
	return error_set(err, -EEXIST, "there is a store in '%s' already%s%s", store->directory,
		store->damage.code ? ", a damaged one: " : "", store->damage.text);
}

static int check_init(
	struct store *store, const struct store_init_args *args, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);

	if (!args->host_key == !args->passphrase)
		return error_set(err, -EINVAL,
			"a store is made with a host key or a passphrase: one of the two");
	if (args->audit_key->length < 1 || args->audit_key->length > AUDIT_KEY_MAX)
		return error_set(err, -EINVAL, "an audit key has 1 to %d bytes", AUDIT_KEY_MAX);
	return require_uninitialised(store, err);
}

int store_init(struct store *store, const struct store_init_args *args,
	struct secret *ret_recovery_text, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(first_rows_done) struct first_rows first = { .args = args };
	AUTO_SECRET recovery_text = { 0 };
	int r;

	r = check_init(store, args, err);
	if (r < 0)
		return r;
	r = prepare_first_rows(store, args, &first, &recovery_text, err);
	if (r < 0)
		return r;

	/* Without the mutex, which others do not wait for so long: db_create() lets one at a time
	 * make the file, and only where there is none. */
	r = db_create(store->directory, &store_format, write_first_rows, &first, err);
	if (r < 0)
		return r;

	AUTO_HELD *held = mutex_hold(&store->mutex);
	r = require_uninitialised(store, err);
	if (r < 0)
		return r;
	r = attach(store, err);
	if (r < 0)
		return r;
	store->memory = secret_take(&first.memory);
	*ret_recovery_text = secret_take(&recovery_text);
	return 0;
}
