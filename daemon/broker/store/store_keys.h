/* From what people hold (host key, passphrase, recovery key) to the root key, and from the root key
 * to the keys that records are sealed with. Does no I/O; passphrases take about a second and
 * 256 MiB, everything else microseconds. Every key stays in the arena.
 *
 * Glossary
 *   slot key   what a slot wraps the root key with; made from what people hold and the slot's salt
 *   cost       passes and memory of Argon2id; bound to the slot, so that nobody lowers them */
#pragma once

#include "daemon/broker/store/record_codec.h"
#include "daemon/broker/store/store.h"

#define STORE_UUID_BYTES  16
#define SALT_BYTES	  16
#define SLOT_DIGEST_BYTES 16
#define SEALED_KEY_BYTES  (KEY_BYTES + SEAL_OVERHEAD)
#define STORE_SLOTS_MAX	  8

/* What a passphrase may cost: the second choice of RFC 9106 at least, and no more than a crafted
 * file may ask of this host. */
#define COST_PASSES_MIN	    3
#define COST_PASSES_MAX	    8
#define COST_MEMORY_KIB_MIN ((uint32_t)64 * 1024)
#define COST_MEMORY_KIB_MAX ((uint32_t)512 * 1024)

struct slot_cost {
	uint32_t passes;
	uint32_t memory_kib;
};

/* The cost of slots that are made: 3 passes over 256 MiB. */
struct slot_cost slot_cost_of_new(void);

/* Which store, and which of its root keys: part of what every record is bound to. */
struct store_identity {
	unsigned char uuid[STORE_UUID_BYTES];
	int64_t generation; /* of the root key, from 1 */
};

/* Lies in the arena. */
struct store_keys {
	struct store_identity identity;
	unsigned char root[KEY_BYTES];
	unsigned char head[KEY_BYTES];	  /* seals what a secret is called and its versions' keys */
	unsigned char token[KEY_BYTES];	  /* hashes SET/NAME */
	unsigned char ledger[KEY_BYTES];  /* seals the ledger */
	unsigned char element[KEY_BYTES]; /* hashes records for the ledger's sum */
	unsigned char slot[KEY_BYTES];	  /* hashes slots for the ledger */
	unsigned char audit[KEY_BYTES];	  /* seals the audit chain's first key */
};

/* Derives everything from KEYS' identity and root key. */
void store_keys_derive(struct store_keys *keys);

/* A row of table `slot`. Nothing of it is secret. */
struct slot_row {
	int64_t id;
	enum slot_kind kind;
	int64_t created_unix_s;
	struct slot_cost cost; /* 0 for what is no passphrase */
	unsigned char salt[SALT_BYTES];
	/* XChaCha20-Poly1305 opens under keys of the attacker's choice. This says which one it was
	 * sealed with, so that one crafted slot cannot test many passphrases. */
	unsigned char commitment[KEY_BYTES];
	unsigned char sealed_root[SEALED_KEY_BYTES];
};

/* A slot of KIND with a fresh salt; its id and what is sealed come later. */
struct slot_row slot_row_make(enum slot_kind kind, int64_t created_unix_s);

/* Checks KEY for KIND and brings it into the form that slot_key_derive() takes: a recovery text
 * becomes its key. *RET_KEY is the caller's. -EINVAL, -ENOMEM. */
int slot_key_read(struct arena *arena, enum slot_kind kind, const struct secret *key,
	struct secret *ret_key, struct mayfly_error *err);

/* ROW's slot key. *RET_SLOT_KEY is the caller's. -EKEYREJECTED when the row asks for a cost that is
 * out of bounds (nothing was allocated for it), -ENOMEM. */
int slot_key_derive(const struct store_identity *identity, const struct slot_row *row,
	const struct secret *key, struct secret *ret_slot_key, struct mayfly_error *err);

/* Wraps KEYS' root key into ROW, whose id is set. */
void slot_seal(const struct store_keys *keys, const struct secret *slot_key, struct slot_row *row);

/* 0 with the root key in RET_ROOT (KEY_BYTES of the arena), -EKEYREJECTED, or -EBADMSG when the key
 * is right and the record is not. */
int slot_open(const struct store_identity *identity, const struct secret *slot_key,
	const struct slot_row *row, unsigned char *ret_root);

/* SLOT_DIGEST_BYTES over the whole row. */
void slot_digest(
	const struct store_keys *keys, const struct slot_row *row, unsigned char *ret_digest);
