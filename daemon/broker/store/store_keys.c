#include "daemon/broker/store/store_keys.h"

#include "proto/recovery_text.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

static_assert(SALT_BYTES == crypto_pwhash_SALTBYTES, "a salt is what Argon2id takes");
static_assert(HOST_KEY_BYTES == KEY_BYTES && RECOVERY_KEY_BYTES == KEY_BYTES, "256 bits each");

/* Weak so that the tests' programs, which make many slots, may link another one. The bounds below
 * hold for it all the same. */
__attribute__((weak)) struct slot_cost slot_cost_of_new(void)
{
	return (struct slot_cost){ 3, 256 * 1024 };
}

static void derive(const struct store_keys *keys, const char *purpose, unsigned char *ret_key)
{
	struct bound message;

	bound_begin(&message, "key");
	bound_text(&message, purpose);
	bound_bytes(&message, keys->identity.uuid, sizeof keys->identity.uuid);
	bound_number(&message, (uint64_t)keys->identity.generation);
	keyed_hash(keys->root, &message, ret_key, KEY_BYTES);
}

void store_keys_derive(struct store_keys *keys)
{
	derive(keys, "head", keys->head);
	derive(keys, "token", keys->token);
	derive(keys, "ledger", keys->ledger);
	derive(keys, "element", keys->element);
	derive(keys, "slot", keys->slot);
	derive(keys, "audit", keys->audit);
}

struct slot_row slot_row_make(enum slot_kind kind, int64_t created_unix_s)
{
	struct slot_row row = { .kind = kind, .created_unix_s = created_unix_s };

	if (kind == SLOT_PASSPHRASE)
		row.cost = slot_cost_of_new();
	randombytes_buf(row.salt, sizeof row.salt);
	return row;
}

static int copy_key(struct arena *arena, const struct secret *key, struct secret *ret_key,
	struct mayfly_error *err)
{
	const int r = secret_new(arena, key->length, ret_key, err);

	if (r == 0)
		memcpy(ret_key->bytes, key->bytes, key->length);
	return r;
}

int slot_key_read(struct arena *arena, enum slot_kind kind, const struct secret *key,
	struct secret *ret_key, struct mayfly_error *err)
{
	switch (kind) {
	case SLOT_HOST_KEY:
		if (key->length != HOST_KEY_BYTES)
			return error_set(err, -EINVAL, "a host key has %d bytes, this one %zu",
				HOST_KEY_BYTES, key->length);
		return copy_key(arena, key, ret_key, err);
	case SLOT_PASSPHRASE:
		if (key->length < 1 || key->length > MAYFLY_PASSPHRASE_MAX_BYTES)
			return error_set(err, -EINVAL,
				"a passphrase has 1 to %d bytes, this one %zu",
				MAYFLY_PASSPHRASE_MAX_BYTES, key->length);
		return copy_key(arena, key, ret_key, err);
	case SLOT_RECOVERY:
		return recovery_text_read(key, ret_key, err);
	case SLOT_INVALID:
		break;
	}
	return error_set(err, -EINVAL, "kind %d is no kind of key", (int)kind);
}

static int passphrase_derive(const struct slot_row *row, const struct secret *passphrase,
	struct secret *slot_key, struct mayfly_error *err)
{
	const struct slot_cost *cost = &row->cost;

	/* Before anything is allocated: the row may have been made by someone else. */
	if (cost->passes < COST_PASSES_MIN || cost->passes > COST_PASSES_MAX ||
		cost->memory_kib < COST_MEMORY_KIB_MIN || cost->memory_kib > COST_MEMORY_KIB_MAX)
		return error_set(err, -EKEYREJECTED,
			"slot %lld asks for %u passes over %u KiB, which is out of bounds",
			(long long)row->id, cost->passes, cost->memory_kib);
	if (crypto_pwhash(slot_key->bytes, slot_key->length, (const char *)passphrase->bytes,
		    passphrase->length, row->salt, cost->passes, (size_t)cost->memory_kib * 1024,
		    crypto_pwhash_ALG_ARGON2ID13) != 0)
		return error_errno(err, -ENOMEM, "take %u MiB of memory to check a passphrase",
			cost->memory_kib / 1024);
	return 0;
}

int slot_key_derive(const struct store_identity *identity, const struct slot_row *row,
	const struct secret *key, struct secret *ret_slot_key, struct mayfly_error *err)
{
	AUTO_SECRET slot_key = { 0 };
	struct bound message;
	int r;

	r = secret_new(key->arena, KEY_BYTES, &slot_key, err);
	if (r < 0)
		return r;
	if (row->kind == SLOT_PASSPHRASE) {
		r = passphrase_derive(row, key, &slot_key, err);
		if (r < 0)
			return r;
	} else {
		bound_begin(&message, "slot key");
		bound_bytes(&message, identity->uuid, sizeof identity->uuid);
		bound_number(&message, row->kind);
		bound_bytes(&message, row->salt, sizeof row->salt);
		keyed_hash(key->bytes, &message, slot_key.bytes, KEY_BYTES);
	}
	*ret_slot_key = secret_take(&slot_key);
	return 0;
}

static void bind_slot(
	struct bound *bound, const struct store_identity *identity, const struct slot_row *row)
{
	bound_begin(bound, "slot");
	bound_bytes(bound, identity->uuid, sizeof identity->uuid);
	bound_number(bound, (uint64_t)identity->generation);
	bound_number(bound, (uint64_t)row->id);
	bound_number(bound, row->kind);
	bound_number(bound, (uint64_t)row->created_unix_s);
	bound_number(bound, row->cost.passes);
	bound_number(bound, row->cost.memory_kib);
	bound_bytes(bound, row->salt, sizeof row->salt);
}

static void commit_to(const struct store_identity *identity, const struct secret *slot_key,
	const struct slot_row *row, unsigned char *ret_commitment)
{
	struct bound message;

	bind_slot(&message, identity, row);
	bound_text(&message, "commitment");
	bound_bytes(&message, row->sealed_root, NONCE_BYTES);
	keyed_hash(slot_key->bytes, &message, ret_commitment, KEY_BYTES);
}

void slot_seal(const struct store_keys *keys, const struct secret *slot_key, struct slot_row *row)
{
	struct bound bound;

	bind_slot(&bound, &keys->identity, row);
	record_seal(slot_key->bytes, &bound, keys->root, KEY_BYTES, row->sealed_root);
	commit_to(&keys->identity, slot_key, row, row->commitment);
}

int slot_open(const struct store_identity *identity, const struct secret *slot_key,
	const struct slot_row *row, unsigned char *ret_root)
{
	unsigned char commitment[KEY_BYTES];
	struct bound bound;

	commit_to(identity, slot_key, row, commitment);
	if (sodium_memcmp(commitment, row->commitment, sizeof commitment) != 0)
		return -EKEYREJECTED;
	bind_slot(&bound, identity, row);
	return record_open(
		slot_key->bytes, &bound, row->sealed_root, sizeof row->sealed_root, ret_root);
}

void slot_digest(
	const struct store_keys *keys, const struct slot_row *row, unsigned char *ret_digest)
{
	struct bound message;

	bind_slot(&message, &keys->identity, row);
	bound_bytes(&message, row->commitment, sizeof row->commitment);
	bound_bytes(&message, row->sealed_root, sizeof row->sealed_root);
	keyed_hash(keys->slot, &message, ret_digest, SLOT_DIGEST_BYTES);
}
