/* The bytes of a sealed record: what it is bound to, its encryption, its padded length.
 * Pure functions on bytes; does no I/O and keeps nothing.
 *
 * Glossary
 *   bound data  what a record belongs to (store, set, name, number, ...): authenticated with it and
 *               not stored, so that a record that was moved does not open. Every field has its
 *               length in front: two different lists of fields never give the same bytes
 *   sealed      nonce (24 random bytes), ciphertext, tag: XChaCha20-Poly1305 */
#pragma once

#include "include/mayfly/limits.h"
#include "proto/secret.h"

#include <stddef.h>
#include <stdint.h>

#define KEY_BYTES     32
#define NONCE_BYTES   24
#define SEAL_OVERHEAD 40 /* nonce in front, tag behind */
#define BOUND_MAX     768

struct bound {
	size_t length;
	unsigned char bytes[BOUND_MAX];
};

/* Starts BOUND for a record of TYPE, a literal that no other kind of record uses. */
void bound_begin(struct bound *bound, const char *type);
void bound_bytes(struct bound *bound, const void *bytes, size_t length);
void bound_text(struct bound *bound, const char *text);
void bound_number(struct bound *bound, uint64_t number);

/* The length that a record of LENGTH bytes is filled up to, so that the file shows only its class:
 * 64, 256, 1024, then multiples of 4096. */
size_t padded_length(size_t length);

/* Encrypts LENGTH bytes of PLAIN to SEALED, which has room for LENGTH + SEAL_OVERHEAD. */
void record_seal(const unsigned char *key, const struct bound *bound, const unsigned char *plain,
	size_t length, unsigned char *ret_sealed);

/* Decrypts SEALED to RET_PLAIN, which has room for SEALED_LENGTH - SEAL_OVERHEAD bytes of the
 * arena. 0, or -EBADMSG: damaged, moved, or another key; RET_PLAIN holds nothing of it then. */
int record_open(const unsigned char *key, const struct bound *bound, const unsigned char *sealed,
	size_t sealed_length, unsigned char *ret_plain);

/* Keyed BLAKE2b of MESSAGE, LENGTH (16 to 64) bytes long. What it leaves on the stack is wiped. */
void keyed_hash(const unsigned char *key, const struct bound *message, unsigned char *ret_hash,
	size_t length);

/* Numbers in records: little endian. */
static inline void number_write(unsigned char *bytes, size_t width, uint64_t number)
{
	for (size_t i = 0; i < width; i++)
		bytes[i] = (unsigned char)(number >> (8 * i));
}

static inline uint64_t number_read(const unsigned char *bytes, size_t width)
{
	uint64_t number = 0;

	for (size_t i = 0; i < width; i++)
		number |= (uint64_t)bytes[i] << (8 * i);
	return number;
}
