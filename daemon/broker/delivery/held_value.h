/* A value between Mount and release: fetched already, so that what is missing fails the start, and
 * still no clear text: sealed under a key that exists in the arena only as long as this process.
 * Any thread. */
#pragma once

#include "proto/error.h"
#include "proto/secret.h"

#include <stddef.h>

#define HELD_NONCE_BYTES 24

struct value_keeper {
	struct arena *arena; /* borrowed */
	struct secret key;
};

struct held_value {
	unsigned char *sealed; /* NULL: the empty value */
	size_t length;	       /* of the value */
	unsigned char nonce[HELD_NONCE_BYTES];
};

int value_keeper_init(struct value_keeper *keeper, struct arena *arena, struct mayfly_error *err);
void value_keeper_done(struct value_keeper *keeper);

/* Seals VALUE (which stays the caller's) into *RET_HELD, owned by the caller until
 * held_value_done(). */
int held_value_seal(const struct value_keeper *keeper, const struct secret *value,
	struct held_value *ret_held, struct mayfly_error *err);

/* *RET_VALUE is the caller's. -EBADMSG when the sealed bytes were changed in memory. */
int held_value_open(const struct value_keeper *keeper, const struct held_value *held,
	struct secret *ret_value, struct mayfly_error *err);

void held_value_done(struct held_value *held);
