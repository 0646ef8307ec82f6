#include "daemon/broker/store/sealed_rows.h"

#include "daemon/broker/store/store_internal.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

#define VERSION_BYTES (4 + 4 + 8 + KEY_BYTES)
#define HEAD_FIXED    (2 + 4 * 3 + 8 * 2 + 4)

static_assert(HEAD_FIXED + MAYFLY_REFERENCE_MAX + MAYFLY_VERSIONS_KEPT_MAX * VERSION_BYTES <=
		      HEAD_PLAIN_MAX,
	"the longest head fits");

/* Bytes that are written or read one field after the other; too short a record ends in is_short. */
struct cursor {
	unsigned char *at;
	size_t left;
	bool is_short;
};

static unsigned char *cursor_skip(struct cursor *cursor, size_t length)
{
	unsigned char *at = cursor->at;

	if (length > cursor->left) {
		cursor->is_short = true;
		return NULL;
	}
	cursor->at += length;
	cursor->left -= length;
	return at;
}

static void put_number(struct cursor *cursor, size_t width, uint64_t number)
{
	unsigned char *at = cursor_skip(cursor, width);

	if (at)
		number_write(at, width, number);
}

static void put_bytes(struct cursor *cursor, const void *bytes, size_t length)
{
	unsigned char *at = cursor_skip(cursor, length);

	if (at)
		memcpy(at, bytes, length);
}

static uint64_t get_number(struct cursor *cursor, size_t width)
{
	const unsigned char *at = cursor_skip(cursor, width);

	return at ? number_read(at, width) : 0;
}

static void get_bytes(struct cursor *cursor, void *ret_bytes, size_t length)
{
	const unsigned char *at = cursor_skip(cursor, length);

	if (at)
		memcpy(ret_bytes, at, length);
}

static void bind_identity(struct bound *bound, const char *type, const struct store_keys *keys)
{
	bound_begin(bound, type);
	bound_bytes(bound, keys->identity.uuid, sizeof keys->identity.uuid);
	bound_number(bound, (uint64_t)keys->identity.generation);
}

void head_token(const struct store_keys *keys, const struct secret_reference *reference,
	unsigned char *ret_token)
{
	struct bound message;

	bind_identity(&message, "token", keys);
	bound_text(&message, reference->set);
	bound_text(&message, reference->name);
	keyed_hash(keys->token, &message, ret_token, TOKEN_BYTES);
}

static void bind_head(
	struct bound *bound, const struct store_keys *keys, const struct head_row *row)
{
	bind_identity(bound, "head", keys);
	bound_text(bound, row->set);
	bound_bytes(bound, row->token, sizeof row->token);
	bound_number(bound, (uint64_t)row->id);
	bound_number(bound, (uint64_t)row->sequence);
	bound_number(bound, row->is_removed);
}

/* Writes HEAD to PLAIN, filled up with zeros. Returns the length. */
static size_t head_encode(const struct head *head, unsigned char *plain)
{
	struct cursor cursor = { plain, HEAD_PLAIN_MAX, false };
	const size_t name_length = strlen(head->name);
	size_t used, padded;

	put_number(&cursor, 2, name_length);
	put_bytes(&cursor, head->name, name_length);
	put_number(&cursor, 4, head->current);
	put_number(&cursor, 4, head->next);
	put_number(&cursor, 4, head->keep);
	put_number(&cursor, 4, head->prepared);
	put_number(&cursor, 8, (uint64_t)head->changed_unix_s);
	put_number(&cursor, 8, (uint64_t)head->removed_unix_s);
	put_number(&cursor, 4, head->version_count);
	for (uint32_t i = 0; i < head->version_count; i++) {
		const struct version *version = &head->versions[i];

		put_number(&cursor, 4, version->number);
		put_number(&cursor, 4, version->bytes);
		put_number(&cursor, 8, (uint64_t)version->created_unix_s);
		put_bytes(&cursor, version->key, sizeof version->key);
	}
	assert(!cursor.is_short);
	used = HEAD_PLAIN_MAX - cursor.left;
	padded = padded_length(used);
	memset(plain + used, 0, padded - used);
	return padded;
}

/* It was authenticated: only our own mistake could make it wrong, and then it counts as damaged. */
static int head_decode(unsigned char *plain, size_t length, struct head *head)
{
	struct cursor cursor = { plain, length, false };
	const size_t name_length = get_number(&cursor, 2);

	if (name_length >= sizeof head->name)
		return -EBADMSG;
	memset(head->name, 0, sizeof head->name);
	get_bytes(&cursor, head->name, name_length);
	head->current = (uint32_t)get_number(&cursor, 4);
	head->next = (uint32_t)get_number(&cursor, 4);
	head->keep = (uint32_t)get_number(&cursor, 4);
	head->prepared = (uint32_t)get_number(&cursor, 4);
	head->changed_unix_s = (int64_t)get_number(&cursor, 8);
	head->removed_unix_s = (int64_t)get_number(&cursor, 8);
	head->version_count = (uint32_t)get_number(&cursor, 4);
	if (head->version_count > MAYFLY_VERSIONS_KEPT_MAX)
		return -EBADMSG;
	for (uint32_t i = 0; i < head->version_count; i++) {
		struct version *version = &head->versions[i];

		version->number = (uint32_t)get_number(&cursor, 4);
		version->bytes = (uint32_t)get_number(&cursor, 4);
		version->created_unix_s = (int64_t)get_number(&cursor, 8);
		get_bytes(&cursor, version->key, sizeof version->key);
		if (version->bytes < 1 || version->bytes > MAYFLY_VALUE_MAX_BYTES)
			return -EBADMSG;
	}
	return cursor.is_short ? -EBADMSG : 0;
}

static int head_open(
	const struct vault *vault, const unsigned char *sealed, size_t length, struct head *head)
{
	struct bound bound;
	int r;

	if (!sealed || length < SEAL_OVERHEAD || length > HEAD_SEALED_MAX)
		return -EBADMSG;
	bind_head(&bound, vault->keys, &head->row);
	r = record_open(vault->keys->head, &bound, sealed, length, vault->plain);
	if (r == 0)
		r = head_decode(vault->plain, length - SEAL_OVERHEAD, head);
	sodium_memzero(vault->plain, length - SEAL_OVERHEAD);
	return r;
}

/* Returns the length of what it wrote. */
static size_t head_seal(const struct vault *vault, const struct head *head,
	unsigned char ret_sealed[HEAD_SEALED_MAX])
{
	const size_t length = head_encode(head, vault->plain);
	struct bound bound;

	bind_head(&bound, vault->keys, &head->row);
	record_seal(vault->keys->head, &bound, vault->plain, length, ret_sealed);
	sodium_memzero(vault->plain, length);
	return length + SEAL_OVERHEAD;
}

int head_from_row(const struct vault *vault, sqlite3_stmt *statement, struct head *ret_head)
{
	const char *set = (const char *)sqlite3_column_text(statement, 1);
	struct head_row *row = &ret_head->row;

	memset(row, 0, sizeof *row);
	row->id = sqlite3_column_int64(statement, 0);
	row->is_removed = sqlite3_column_int64(statement, 3) != 0;
	row->sequence = sqlite3_column_int64(statement, 4);
	if (!set || strlen(set) >= sizeof row->set)
		return -EBADMSG;
	memcpy(row->set, set, strlen(set));
	if (!column_bytes(statement, 2, row->token, sizeof row->token))
		return -EBADMSG;
	return head_open(vault, sqlite3_column_blob(statement, 5),
		(size_t)sqlite3_column_bytes(statement, 5), ret_head);
}

int head_find(const struct vault *vault, const struct secret_reference *reference,
	struct head *ret_head, struct mayfly_error *err)
{
	unsigned char token[TOKEN_BYTES];
	AUTO_STATEMENT *find = db_statement(vault->db, HEAD_FIND);
	int r;

	head_token(vault->keys, reference, token);
	bind_text(find, 1, reference->set);
	bind_bytes(find, 2, token, sizeof token);
	r = db_next(vault->db, find, "look for a secret", err);
	if (r < 0)
		return r;
	if (r == 0)
		return error_set(
			err, -ENOENT, "there is no secret %s/%s", reference->set, reference->name);
	r = head_from_row(vault, find, ret_head);
	if (r == 0 && strcmp(ret_head->name, reference->name) != 0)
		r = -EBADMSG;
	if (r < 0)
		return error_set(err, r,
			"the record of %s/%s is damaged or was moved: purge it or restore a backup",
			reference->set, reference->name);
	return 0;
}

int head_next(
	const struct vault *vault, int64_t after, struct head *ret_head, struct mayfly_error *err)
{
	AUTO_STATEMENT *next = db_statement(vault->db, HEAD_NEXT);
	int r;

	bind_number(next, 1, after);
	r = db_next(vault->db, next, "look for the next secret", err);
	if (r <= 0)
		return r;
	r = head_from_row(vault, next, ret_head);
	if (r < 0)
		return error_set(err, r,
			"record %lld of set '%s' is damaged or was moved (its name cannot be read)",
			(long long)ret_head->row.id, ret_head->row.set);
	return 1;
}

static void element_of(
	const struct vault *vault, const struct head_row *row, unsigned char ret_element[32])
{
	struct bound message;

	bind_identity(&message, "element", vault->keys);
	bound_bytes(&message, row->token, sizeof row->token);
	bound_number(&message, (uint64_t)row->id);
	bound_number(&message, (uint64_t)row->sequence);
	keyed_hash(vault->keys->element, &message, ret_element, 32);
}

void ledger_add(const struct vault *vault, struct ledger *ledger, const struct head_row *row)
{
	unsigned char element[sizeof ledger->sum];

	element_of(vault, row, element);
	sodium_add(ledger->sum, element, sizeof ledger->sum);
	ledger->heads++;
}

static void ledger_subtract(
	const struct vault *vault, struct ledger *ledger, const struct head_row *row)
{
	unsigned char element[sizeof ledger->sum];

	element_of(vault, row, element);
	sodium_sub(ledger->sum, element, sizeof ledger->sum);
	ledger->heads--;
}

int head_insert(const struct vault *vault, struct ledger *ledger, struct head *head,
	struct mayfly_error *err)
{
	unsigned char sealed[HEAD_SEALED_MAX];
	AUTO_STATEMENT *insert = db_statement(vault->db, HEAD_INSERT);

	head->row.sequence = (int64_t)++ledger->counter;
	ledger_add(vault, ledger, &head->row);
	bind_number(insert, 1, head->row.id);
	bind_bytes(insert, 2, head->row.token, sizeof head->row.token);
	bind_text(insert, 3, head->row.set);
	bind_number(insert, 4, head->row.is_removed);
	bind_number(insert, 5, head->row.sequence);
	bind_bytes(insert, 6, sealed, head_seal(vault, head, sealed));
	return db_run(vault->db, insert, "write a secret", err);
}

int head_update(const struct vault *vault, struct ledger *ledger, struct head *head,
	struct mayfly_error *err)
{
	unsigned char sealed[HEAD_SEALED_MAX];
	AUTO_STATEMENT *update = db_statement(vault->db, HEAD_UPDATE);

	ledger_subtract(vault, ledger, &head->row);
	head->row.sequence = (int64_t)++ledger->counter;
	ledger_add(vault, ledger, &head->row);
	bind_number(update, 1, head->row.id);
	bind_number(update, 2, head->row.is_removed);
	bind_number(update, 3, head->row.sequence);
	bind_bytes(update, 4, sealed, head_seal(vault, head, sealed));
	return db_run(vault->db, update, "write a secret", err);
}

int head_replace(const struct vault *vault, const struct head *head, struct mayfly_error *err)
{
	unsigned char sealed[HEAD_SEALED_MAX];
	AUTO_STATEMENT *replace = db_statement(vault->db, HEAD_REPLACE);

	bind_number(replace, 1, head->row.id);
	bind_bytes(replace, 2, head->row.token, sizeof head->row.token);
	bind_bytes(replace, 3, sealed, head_seal(vault, head, sealed));
	return db_run(vault->db, replace, "write a secret", err);
}

int head_delete(const struct vault *vault, struct ledger *ledger, const struct head_row *row,
	struct mayfly_error *err)
{
	AUTO_STATEMENT *delete = db_statement(vault->db, HEAD_DELETE);

	ledger_subtract(vault, ledger, row);
	bind_number(delete, 1, row->id);
	return db_run(vault->db, delete, "purge a secret", err);
}

static int64_t value_id(const struct head_row *row, uint32_t number)
{
	return (int64_t)((uint64_t)row->id << 32 | number);
}

/* Without the root key's generation: a new root key does not touch values. The version's key, which
 * stands in the sealed head only, binds a value to its head more closely than any field. */
static void bind_value(struct bound *bound, const struct vault *vault, const struct head *head,
	const struct version *version)
{
	bound_begin(bound, "value");
	bound_bytes(bound, vault->keys->identity.uuid, sizeof vault->keys->identity.uuid);
	bound_text(bound, head->row.set);
	bound_text(bound, head->name);
	bound_number(bound, (uint64_t)head->row.id);
	bound_number(bound, version->number);
	bound_number(bound, version->bytes);
	bound_number(bound, (uint64_t)version->created_unix_s);
}

static int value_seal(const struct vault *vault, const struct head *head,
	const struct version *version, const struct secret *value, unsigned char *sealed,
	struct mayfly_error *err)
{
	const size_t padded = padded_length(value->length);
	const unsigned char *plain = value->bytes;
	AUTO_SECRET filled = { 0 };
	struct bound bound;
	int r;

	if (padded > value->length) {
		r = secret_new(vault->arena, padded, &filled, err);
		if (r < 0)
			return r;
		memcpy(filled.bytes, value->bytes, value->length);
		plain = filled.bytes;
	}
	bind_value(&bound, vault, head, version);
	record_seal(version->key, &bound, plain, padded, sealed);
	return 0;
}

int value_insert(const struct vault *vault, const struct head *head, const struct version *version,
	const struct secret *value, struct mayfly_error *err)
{
	const size_t length = padded_length(value->length) + SEAL_OVERHEAD;
	AUTO_FREE unsigned char *sealed = malloc(length);
	AUTO_STATEMENT *insert = db_statement(vault->db, VALUE_INSERT);
	int r;

	if (!sealed)
		return error_errno(err, -ENOMEM, "seal a value");
	r = value_seal(vault, head, version, value, sealed, err);
	if (r < 0)
		return r;
	bind_number(insert, 1, value_id(&head->row, version->number));
	bind_bytes(insert, 2, sealed, length);
	return db_run(vault->db, insert, "write a value", err);
}

static int value_decrypt(const struct vault *vault, const struct head *head,
	const struct version *version, sqlite3_stmt *row, struct secret *ret_value,
	struct mayfly_error *err)
{
	const size_t length = (size_t)sqlite3_column_bytes(row, 0);
	AUTO_SECRET value = { 0 };
	struct bound bound;
	int r;

	if (length != padded_length(version->bytes) + SEAL_OVERHEAD)
		return error_set(err, -EBADMSG, "has another length than it should");
	r = secret_new(vault->arena, length - SEAL_OVERHEAD, &value, err);
	if (r < 0)
		return r;
	bind_value(&bound, vault, head, version);
	r = record_open(version->key, &bound, sqlite3_column_blob(row, 0), length, value.bytes);
	if (r < 0)
		return error_set(err, r, "is damaged or was moved");
	secret_shorten(&value, version->bytes);
	*ret_value = secret_take(&value);
	return 0;
}

int value_open(const struct vault *vault, const struct head *head, const struct version *version,
	struct secret *ret_value, struct mayfly_error *err)
{
	AUTO_STATEMENT *read = db_statement(vault->db, VALUE_READ);
	struct mayfly_error why = { 0 };
	int r;

	bind_number(read, 1, value_id(&head->row, version->number));
	r = db_next(vault->db, read, "read a value", err);
	if (r < 0)
		return r;
	r = r == 0 ? error_set(&why, -EBADMSG, "is gone")
		   : value_decrypt(vault, head, version, read, ret_value, &why);
	if (r == -EBADMSG)
		return error_set(err, r, "version %u of %s/%s %s: restore a backup",
			version->number, head->row.set, head->name, why.text);
	return r < 0 ? error_set(err, r, "%s", why.text) : 0;
}

int value_delete(const struct vault *vault, const struct head *head, const struct version *version,
	struct mayfly_error *err)
{
	AUTO_STATEMENT *delete = db_statement(vault->db, VALUE_DELETE);

	bind_number(delete, 1, value_id(&head->row, version->number));
	return db_run(vault->db, delete, "destroy a value", err);
}

int value_delete_all(const struct vault *vault, const struct head_row *row, uint64_t *ret_count,
	struct mayfly_error *err)
{
	AUTO_STATEMENT *delete = db_statement(vault->db, VALUE_DELETE_ALL);
	int r;

	bind_number(delete, 1, value_id(row, 0));
	bind_number(delete, 2, value_id(row, UINT32_MAX));
	r = db_run(vault->db, delete, "destroy values", err);
	if (r == 0)
		*ret_count = db_changes(vault->db);
	return r;
}

void ledger_seal(const struct store_keys *keys, const struct ledger *ledger,
	unsigned char ret_sealed[LEDGER_BYTES + SEAL_OVERHEAD])
{
	unsigned char plain[LEDGER_BYTES] = { 0 };
	struct cursor cursor = { plain, sizeof plain, false };
	struct bound bound;

	put_number(&cursor, 8, ledger->counter);
	put_number(&cursor, 8, ledger->next_head_id);
	put_number(&cursor, 8, ledger->heads);
	put_number(&cursor, 8, ledger->values);
	put_bytes(&cursor, ledger->sum, sizeof ledger->sum);
	put_number(&cursor, 4, ledger->slot_count);
	for (uint32_t i = 0; i < ledger->slot_count; i++) {
		put_number(&cursor, 8, (uint64_t)ledger->slots[i].id);
		put_bytes(&cursor, ledger->slots[i].digest, SLOT_DIGEST_BYTES);
	}
	assert(!cursor.is_short);
	bind_identity(&bound, "ledger", keys);
	record_seal(keys->ledger, &bound, plain, sizeof plain, ret_sealed);
}

static int ledger_open(const struct store_keys *keys, const unsigned char *sealed, size_t length,
	struct ledger *ledger)
{
	unsigned char plain[LEDGER_BYTES];
	struct cursor cursor = { plain, sizeof plain, false };
	struct bound bound;

	bind_identity(&bound, "ledger", keys);
	if (length != sizeof plain + SEAL_OVERHEAD ||
		record_open(keys->ledger, &bound, sealed, length, plain) < 0)
		return -EUCLEAN;
	ledger->counter = get_number(&cursor, 8);
	ledger->next_head_id = get_number(&cursor, 8);
	ledger->heads = get_number(&cursor, 8);
	ledger->values = get_number(&cursor, 8);
	get_bytes(&cursor, ledger->sum, sizeof ledger->sum);
	ledger->slot_count = (uint32_t)get_number(&cursor, 4);
	if (ledger->slot_count > STORE_SLOTS_MAX)
		return -EUCLEAN;
	for (uint32_t i = 0; i < ledger->slot_count; i++) {
		ledger->slots[i].id = (int64_t)get_number(&cursor, 8);
		get_bytes(&cursor, ledger->slots[i].digest, SLOT_DIGEST_BYTES);
	}
	return 0;
}

int ledger_load(const struct vault *vault, struct ledger *ret_ledger, struct mayfly_error *err)
{
	AUTO_STATEMENT *read = db_statement(vault->db, LEDGER_READ);
	int r;

	r = db_next(vault->db, read, "read the ledger", err);
	if (r < 0)
		return r;
	*ret_ledger = (struct ledger){ 0 };
	if (r == 0 || ledger_open(vault->keys, sqlite3_column_blob(read, 0),
			      (size_t)sqlite3_column_bytes(read, 0), ret_ledger) < 0)
		return error_set(err, -EUCLEAN,
			"the ledger in '%s' is damaged: values can be read, nothing can be "
			"changed; "
			"restore a backup",
			db_path(vault->db));
	return 0;
}

int ledger_save(const struct vault *vault, const struct ledger *ledger, struct mayfly_error *err)
{
	unsigned char sealed[LEDGER_BYTES + SEAL_OVERHEAD];
	AUTO_STATEMENT *write = db_statement(vault->db, LEDGER_WRITE);

	ledger_seal(vault->keys, ledger, sealed);
	bind_bytes(write, 1, sealed, sizeof sealed);
	return db_run(vault->db, write, "write the ledger", err);
}
