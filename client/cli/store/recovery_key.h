/* Where the recovery key goes: to the terminal, once, or into a file that only its owner reads.
 * It never stands in JSON and in no message. */
#pragma once

#include "client/cli/cli.h"

struct recovery_key {
	int memory;	  /* the broker writes it here */
	int file;	  /* -1: it is printed */
	const char *path; /* of the file */
};

#define RECOVERY_KEY_EMPTY ((struct recovery_key){ .memory = -1, .file = -1 })

/* Prepares the way by option --recovery-key-to: the file is made (0600, refused if it exists)
 * before the broker makes a key that could not be kept. With --json the option is required. */
int recovery_key_prepare(struct cli *cli, struct recovery_key *ret_key, struct mayfly_error *err);

/* Hands over what the broker wrote. If the file cannot be written the key is printed: it exists
 * nowhere else. */
int recovery_key_hand_over(struct cli *cli, struct recovery_key *key, struct mayfly_error *err);

/* The call has failed: removes the file. Unless the broker had written a key before the connection
 * broke: then that is handed over, because the store may be under it. */
void recovery_key_abandon(struct cli *cli, struct recovery_key *key);
void recovery_key_done(struct recovery_key *key);
