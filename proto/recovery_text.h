/* The recovery key as people write it down: 13 groups of 5 characters, "7M2KQ-...".
 * Each group is 4 characters of the key (base32 without I, L, O, U) and a check character over them
 * and the group's place, so that a slip is found and located: any one wrong character, two
 * neighbours exchanged, two groups exchanged. Keeps everything in the arena. */
#pragma once

#include "proto/error.h"
#include "proto/secret.h"

#define RECOVERY_KEY_BYTES 32

/* KEY has RECOVERY_KEY_BYTES. *RET_TEXT, without end and newline, is the caller's. -ENOMEM. */
int recovery_text_write(
	const struct secret *key, struct secret *ret_text, struct mayfly_error *err);

/* Reads TEXT as typed: spaces, dashes, newlines and case do not matter; O is 0, I and L are 1.
 * *RET_KEY is the caller's. -EINVAL with the group in ERR, never its characters; -ENOMEM. */
int recovery_text_read(const struct secret *text, struct secret *ret_key, struct mayfly_error *err);
