/* The key that backups are encrypted to: an X25519 key pair that follows from the recovery key.
 * The public half is no secret: it stands in scripts and on command lines. Who has only it can
 * make backups, and read none.
 *
 * Its text is "mayfly-backup-" and 48 characters (base64url) of the key and 4 bytes of its hash, so
 * that a slip is found. */
#pragma once

#include "proto/error.h"
#include "proto/secret.h"

#define BACKUP_KEY_BYTES     32
#define BACKUP_KEY_TEXT_SIZE 63 /* with its end */

/* The pair of RECOVERY_KEY (RECOVERY_KEY_BYTES). *RET_SECRET, in RECOVERY_KEY's arena, is the
 * caller's. -ENOMEM. */
int backup_key_derive(const struct secret *recovery_key, unsigned char ret_public[BACKUP_KEY_BYTES],
	struct secret *ret_secret, struct mayfly_error *err);

void backup_key_write(
	const unsigned char public_key[BACKUP_KEY_BYTES], char ret_text[BACKUP_KEY_TEXT_SIZE]);

/* -EINVAL for what is no such text; ERR does not repeat it: it may be a recovery key. */
int backup_key_read(
	const char *text, unsigned char ret_public[BACKUP_KEY_BYTES], struct mayfly_error *err);
