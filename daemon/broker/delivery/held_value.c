#include "daemon/broker/delivery/held_value.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>

_Static_assert(HELD_NONCE_BYTES == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");

int value_keeper_init(struct value_keeper *keeper, struct arena *arena, struct mayfly_error *err)
{
	const int r =
		secret_new(arena, crypto_aead_xchacha20poly1305_ietf_KEYBYTES, &keeper->key, err);

	if (r < 0)
		return r;
	keeper->arena = arena;
	randombytes_buf(keeper->key.bytes, keeper->key.length);
	return 0;
}

void value_keeper_done(struct value_keeper *keeper)
{
	secret_done(&keeper->key);
}

int held_value_seal(const struct value_keeper *keeper, const struct secret *value,
	struct held_value *ret_held, struct mayfly_error *err)
{
	struct held_value held = { .length = value->length };

	held.sealed = malloc(value->length + crypto_aead_xchacha20poly1305_ietf_ABYTES);
	if (!held.sealed)
		return error_errno(err, -ENOMEM, "hold a value of %zu bytes", value->length);
	randombytes_buf(held.nonce, sizeof held.nonce);
	/* Cannot fail for these lengths. */
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(held.sealed, NULL, value->bytes,
		value->length, NULL, 0, NULL, held.nonce, keeper->key.bytes);
	*ret_held = held;
	return 0;
}

int held_value_open(const struct value_keeper *keeper, const struct held_value *held,
	struct secret *ret_value, struct mayfly_error *err)
{
	AUTO_SECRET value = { 0 };
	const int r = secret_new(keeper->arena, held->length, &value, err);

	if (r < 0)
		return r;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(value.bytes, NULL, NULL, held->sealed,
		    held->length + crypto_aead_xchacha20poly1305_ietf_ABYTES, NULL, 0, held->nonce,
		    keeper->key.bytes) != 0)
		return error_set(err, -EBADMSG, "a held value was changed in memory");
	*ret_value = secret_take(&value);
	return 0;
}

void held_value_done(struct held_value *held)
{
	free(held->sealed);
	*held = (struct held_value){ 0 };
}
