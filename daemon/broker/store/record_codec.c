#include "daemon/broker/store/record_codec.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

#define RECORD_FORMAT 1
#define TAG_BYTES     crypto_aead_xchacha20poly1305_ietf_ABYTES

static_assert(NONCE_BYTES == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "192 bits");
static_assert(NONCE_BYTES + TAG_BYTES == SEAL_OVERHEAD, "a sealed record is nonce, text and tag");
static_assert(KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "keys have 256 bits");
static_assert(KEY_BYTES == crypto_generichash_KEYBYTES, "keys have 256 bits");

void bound_bytes(struct bound *bound, const void *bytes, size_t length)
{
	assert(length <= BOUND_MAX - sizeof(uint32_t) - bound->length);
	number_write(bound->bytes + bound->length, sizeof(uint32_t), length);
	bound->length += sizeof(uint32_t);
	memcpy(bound->bytes + bound->length, bytes, length);
	bound->length += length;
}

void bound_text(struct bound *bound, const char *text)
{
	bound_bytes(bound, text, strlen(text));
}

void bound_number(struct bound *bound, uint64_t number)
{
	unsigned char bytes[sizeof number];

	number_write(bytes, sizeof bytes, number);
	bound_bytes(bound, bytes, sizeof bytes);
}

void bound_begin(struct bound *bound, const char *type)
{
	bound->length = 0;
	bound_text(bound, "mayfly-store");
	bound_number(bound, RECORD_FORMAT);
	bound_text(bound, type);
}

size_t padded_length(size_t length)
{
	if (length <= 64)
		return 64;
	if (length <= 256)
		return 256;
	if (length <= 1024)
		return 1024;
	return (length + 4095) / 4096 * 4096;
}

void record_seal(const unsigned char *key, const struct bound *bound, const unsigned char *plain,
	size_t length, unsigned char *ret_sealed)
{
	/* Random nonces of 192 bits do not repeat, whatever a restored copy of the file does. */
	randombytes_buf(ret_sealed, NONCE_BYTES);
	/* It has no way to fail at these lengths. */
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(ret_sealed + NONCE_BYTES, NULL, plain,
		length, bound->bytes, bound->length, NULL, ret_sealed, key);
}

int record_open(const unsigned char *key, const struct bound *bound, const unsigned char *sealed,
	size_t sealed_length, unsigned char *ret_plain)
{
	if (!sealed || sealed_length < SEAL_OVERHEAD)
		return -EBADMSG;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(ret_plain, NULL, NULL, sealed + NONCE_BYTES,
		    sealed_length - NONCE_BYTES, bound->bytes, bound->length, sealed, key) != 0)
		return -EBADMSG;
	return 0;
}

void keyed_hash(const unsigned char *key, const struct bound *message, unsigned char *ret_hash,
	size_t length)
{
	/* It has no way to fail at these lengths. */
	(void)crypto_generichash(ret_hash, length, message->bytes, message->length, key, KEY_BYTES);
	/* libsodium leaves the state, which begins with the key, on the stack below us. */
	sodium_stackzero(2048);
}
