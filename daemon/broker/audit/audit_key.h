/* The files that hold a key of the chain: `audit.key` (the present epoch's) and `first.key` (the
 * first one, until `init` has sealed it in the store).
 *
 * A key file has 128 bytes: "mayfly audit key" (16 bytes), epoch and anchor seq (8 bytes each,
 * little endian), anchor mac (32), key (32), BLAKE2b-256 of these 96 bytes (32).
 *
 * Glossary
 *   anchor  the record that the epoch's first record follows. It is durable before the key file is
 *           written, and the key file before the epoch's first record: whatever a power cut leaves
 *           over, key file and records can be matched again. A cut between the two leaves an epoch
 *           without records. */
#pragma once

#include "daemon/broker/audit/audit_chain.h"
#include "proto/error.h"
#include "proto/secret.h"

#define AUDIT_KEY_FILE	 "audit.key"
#define AUDIT_FIRST_FILE "first.key"

struct audit_key {
	uint64_t epoch;
	struct audit_head anchor;
	struct secret key;
};

void audit_key_done(struct audit_key *key);

/* Moves ownership out of KEY, which becomes empty. */
struct audit_key audit_key_take(struct audit_key *key);

/* A random key of epoch 0, before any record. */
int audit_key_make(struct arena *arena, struct audit_key *ret_key, struct mayfly_error *err);

int audit_key_copy(
	const struct audit_key *key, struct audit_key *ret_key, struct mayfly_error *err);

/* The key of the epoch behind KEY's, whose records follow HEAD. */
int audit_key_next(const struct audit_key *key, const struct audit_head *head,
	struct audit_key *ret_key, struct mayfly_error *err);

/* Reads NAME in DIRECTORY. Blocks.
 * Returns 0; -ENOENT; -EBADMSG when it is cut short or damaged. */
int audit_key_load(int directory, const char *name, struct arena *arena, struct audit_key *ret_key,
	struct mayfly_error *err);

/* Puts KEY in NAME's place and makes that durable, then overwrites the bytes of the file that was
 * there (best effort: a file system that copies on write, or flash memory, keeps them). Blocks.
 * After a failure NAME may be either key; the same call again puts that right. */
int audit_key_store(
	const struct audit_key *key, int directory, const char *name, struct mayfly_error *err);

/* Overwrites and removes NAME, durably. Nothing to do is fine. Blocks. */
int audit_key_erase(int directory, const char *name, struct mayfly_error *err);
