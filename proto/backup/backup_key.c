#include "proto/backup/backup_key.h"

#include "proto/recovery_text.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>

#define PREFIX	    "mayfly-backup-"
#define CHECK_BYTES 4
#define CONTEXT	    "mayfly backup key 1"

static_assert(
	sizeof PREFIX - 1 + (BACKUP_KEY_BYTES + CHECK_BYTES) / 3 * 4 + 1 == BACKUP_KEY_TEXT_SIZE,
	"36 bytes are 48 characters");
static_assert(BACKUP_KEY_BYTES == crypto_box_PUBLICKEYBYTES, "X25519");
static_assert(RECOVERY_KEY_BYTES == crypto_generichash_KEYBYTES, "BLAKE2b");

int backup_key_derive(const struct secret *recovery_key, unsigned char ret_public[BACKUP_KEY_BYTES],
	struct secret *ret_secret, struct mayfly_error *err)
{
	AUTO_SECRET seed = { 0 };
	int r;

	assert(recovery_key->length == RECOVERY_KEY_BYTES);
	r = secret_new(recovery_key->arena, crypto_box_SEEDBYTES, &seed, err);
	if (r == 0)
		r = secret_new(recovery_key->arena, crypto_box_SECRETKEYBYTES, ret_secret, err);
	if (r < 0)
		return r;
	/* Neither fails for lengths that are right. */
	(void)crypto_generichash(seed.bytes, seed.length, (const unsigned char *)CONTEXT,
		sizeof CONTEXT - 1, recovery_key->bytes, recovery_key->length);
	(void)crypto_box_seed_keypair(ret_public, ret_secret->bytes, seed.bytes);
	return 0;
}

static void check_of(const unsigned char *public_key, unsigned char ret_check[CHECK_BYTES])
{
	unsigned char hash[crypto_generichash_BYTES];

	(void)crypto_generichash(hash, sizeof hash, public_key, BACKUP_KEY_BYTES, NULL, 0);
	memcpy(ret_check, hash, CHECK_BYTES);
}

void backup_key_write(
	const unsigned char public_key[BACKUP_KEY_BYTES], char ret_text[BACKUP_KEY_TEXT_SIZE])
{
	unsigned char bytes[BACKUP_KEY_BYTES + CHECK_BYTES];
	const size_t prefix = sizeof PREFIX - 1;

	memcpy(bytes, public_key, BACKUP_KEY_BYTES);
	check_of(public_key, bytes + BACKUP_KEY_BYTES);
	memcpy(ret_text, PREFIX, prefix);
	(void)sodium_bin2base64(ret_text + prefix, BACKUP_KEY_TEXT_SIZE - prefix, bytes,
		sizeof bytes, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

int backup_key_read(
	const char *text, unsigned char ret_public[BACKUP_KEY_BYTES], struct mayfly_error *err)
{
	unsigned char bytes[BACKUP_KEY_BYTES + CHECK_BYTES], check[CHECK_BYTES];
	const size_t prefix = sizeof PREFIX - 1;
	size_t length = 0;

	if (strncmp(text, PREFIX, prefix) != 0)
		return error_set(err, -EINVAL,
			"a backup's key begins with " PREFIX
			"; `mayfly key backup` prints the one of your recovery key");
	if (strlen(text) != BACKUP_KEY_TEXT_SIZE - 1 ||
		sodium_base642bin(bytes, sizeof bytes, text + prefix, strlen(text) - prefix, NULL,
			&length, NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
		length != sizeof bytes)
		return error_set(err, -EINVAL, "the backup's key is cut or mistyped");
	check_of(bytes, check);
	if (memcmp(check, bytes + BACKUP_KEY_BYTES, CHECK_BYTES) != 0)
		return error_set(err, -EINVAL, "the backup's key is mistyped");
	memcpy(ret_public, bytes, BACKUP_KEY_BYTES);
	return 0;
}
