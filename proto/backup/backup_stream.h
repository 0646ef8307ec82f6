/* The encrypted stream that a backup file is; what is in it is backup_record.h's business.
 * Nothing of it is on a disk in clear, and nothing is given out that was not authenticated.
 *
 *   "mayfly backup 1\n" (16) | public key (32) | sealed stream key (80) | stream's nonce (24)
 *   pieces: 65,536 bytes of content and 17 of its own each, the last one shorter or as long
 *
 * The stream key is made for the file, and sealed to the public key (crypto_box_seal). The pieces
 * are crypto_secretstream (XChaCha20-Poly1305), each bound to the 152 bytes in front; only the last
 * one is marked as the last. So a changed, exchanged, doubled or missing piece, a cut tail, and
 * bytes behind the end are found. Not found out: who made it. Everyone who has the public key can.
 *
 * Keys, state and content lie in the arena: two pieces, whatever the file's length. Blocks. */
#pragma once

#include "proto/backup/backup_key.h"
#include "proto/error.h"
#include "proto/secret.h"

#define BACKUP_HEADER_BYTES 152
#define BACKUP_PIECE_BYTES  65536
#define BACKUP_PIECE_MORE   17

struct backup_writer;

/* Writes to FD, an empty regular file that stays the caller's, as is its fsync. */
int backup_writer_new(struct arena *arena, int fd, const unsigned char *public_key,
	struct backup_writer **ret_writer, struct mayfly_error *err);
int backup_writer_put(
	struct backup_writer *writer, const void *bytes, size_t length, struct mayfly_error *err);
/* The last piece; without it the file is no backup. */
int backup_writer_end(struct backup_writer *writer, struct mayfly_error *err);
void backup_writer_free(struct backup_writer *writer);

static inline void backup_writer_free_p(struct backup_writer **writer)
{
	backup_writer_free(*writer);
	*writer = NULL;
}

struct backup_reader;

/* Reads FD, a regular file, from its start; RECOVERY_KEY has RECOVERY_KEY_BYTES. -EINVAL for what
 * is no backup or one of another format; -EKEYREJECTED when it was made for another key; -EBADMSG
 * when it is damaged. */
int backup_reader_new(struct arena *arena, int fd, const struct secret *recovery_key,
	struct backup_reader **ret_reader, struct mayfly_error *err);
/* Exactly LENGTH bytes. -EBADMSG: damaged, cut off, or at its end. */
int backup_reader_get(
	struct backup_reader *reader, void *ret_bytes, size_t length, struct mayfly_error *err);
/* 0 when everything was read and the file ends there; else -EBADMSG. */
int backup_reader_end(struct backup_reader *reader, struct mayfly_error *err);
void backup_reader_free(struct backup_reader *reader);

static inline void backup_reader_free_p(struct backup_reader **reader)
{
	backup_reader_free(*reader);
	*reader = NULL;
}
