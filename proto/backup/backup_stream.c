#include "proto/backup/backup_stream.h"

#include "proto/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>

#define MAGIC	      "mayfly backup 1\n"
#define MAGIC_BYTES   16
#define VERSION_PLACE 14
#define PUBLIC_PLACE  MAGIC_BYTES
#define SEALED_PLACE  (PUBLIC_PLACE + BACKUP_KEY_BYTES)
#define NONCE_PLACE   (SEALED_PLACE + STREAM_KEY_BYTES + crypto_box_SEALBYTES)

#define STREAM_KEY_BYTES crypto_secretstream_xchacha20poly1305_KEYBYTES
#define PIECE_SEALED	 (BACKUP_PIECE_BYTES + BACKUP_PIECE_MORE)

static_assert(BACKUP_PIECE_MORE == crypto_secretstream_xchacha20poly1305_ABYTES, "its own bytes");
static_assert(
	NONCE_PLACE + crypto_secretstream_xchacha20poly1305_HEADERBYTES == BACKUP_HEADER_BYTES,
	"what is in front");

/* Lies in the arena. */
struct stream {
	crypto_secretstream_xchacha20poly1305_state state;
	unsigned char key[STREAM_KEY_BYTES];
	unsigned char header[BACKUP_HEADER_BYTES];
	unsigned char piece[BACKUP_PIECE_BYTES];
	unsigned char sealed[PIECE_SEALED];
};

struct backup_writer {
	int fd;
	off_t place;
	size_t filled; /* of the piece */
	struct secret memory;
};

struct backup_reader {
	int fd;
	off_t place;
	size_t length, taken; /* of the piece */
	bool is_last;
	struct secret memory;
};

static struct stream *stream_of(const struct secret *memory)
{
	return (struct stream *)(void *)memory->bytes;
}

static int require_regular(int fd, struct mayfly_error *err)
{
	struct stat status;

	if (fstat(fd, &status) != 0)
		return error_errno(err, -errno, "look at it");
	/* A pipe could make its reader wait for ever, and cannot be read twice. */
	if (!S_ISREG(status.st_mode))
		return error_set(err, -EINVAL, "a backup is a regular file, this is none");
	return 0;
}

static int write_all(struct backup_writer *writer, const unsigned char *bytes, size_t length,
	struct mayfly_error *err)
{
	size_t done = 0;

	while (done < length) {
		const ssize_t n = pwrite(writer->fd, bytes + done, length - done, writer->place);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_errno(err, n < 0 ? -errno : -EIO, "write the backup");
		done += (size_t)n;
		writer->place += n;
	}
	return 0;
}

static int write_header(
	struct backup_writer *writer, const unsigned char *public_key, struct mayfly_error *err)
{
	struct stream *stream = stream_of(&writer->memory);

	memcpy(stream->header, MAGIC, MAGIC_BYTES);
	memcpy(stream->header + PUBLIC_PLACE, public_key, BACKUP_KEY_BYTES);
	crypto_secretstream_xchacha20poly1305_keygen(stream->key);
	if (crypto_box_seal(
		    stream->header + SEALED_PLACE, stream->key, STREAM_KEY_BYTES, public_key) != 0)
		return error_set(err, -EINVAL, "nothing can be encrypted to this key");
	/* Does not fail. */
	(void)crypto_secretstream_xchacha20poly1305_init_push(
		&stream->state, stream->header + NONCE_PLACE, stream->key);
	return write_all(writer, stream->header, BACKUP_HEADER_BYTES, err);
}

int backup_writer_new(struct arena *arena, int fd, const unsigned char *public_key,
	struct backup_writer **ret_writer, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(backup_writer_free_p) struct backup_writer *writer = NULL;
	int r = require_regular(fd, err);

	if (r < 0)
		return r;
	writer = calloc(1, sizeof *writer);
	if (!writer || sodium_init() < 0)
		return error_errno(err, -ENOMEM, "begin a backup");
	writer->fd = fd;
	r = secret_new(arena, sizeof(struct stream), &writer->memory, err);
	if (r == 0)
		r = write_header(writer, public_key, err);
	if (r == 0)
		*ret_writer = ptr_take(&writer);
	return r;
}

static int write_piece(struct backup_writer *writer, unsigned char tag, struct mayfly_error *err)
{
	struct stream *stream = stream_of(&writer->memory);

	/* Does not fail for pieces of this length. */
	(void)crypto_secretstream_xchacha20poly1305_push(&stream->state, stream->sealed, NULL,
		stream->piece, writer->filled, stream->header, BACKUP_HEADER_BYTES, tag);
	return write_all(writer, stream->sealed, writer->filled + BACKUP_PIECE_MORE, err);
}

int backup_writer_put(
	struct backup_writer *writer, const void *bytes, size_t length, struct mayfly_error *err)
{
	struct stream *stream = stream_of(&writer->memory);
	const unsigned char *from = bytes;

	while (length > 0) {
		const size_t room = BACKUP_PIECE_BYTES - writer->filled;
		const size_t part = length < room ? length : room;

		/* A full piece waits until it is known that it is not the last. */
		if (room == 0) {
			const int r = write_piece(writer, 0, err);

			if (r < 0)
				return r;
			writer->filled = 0;
			continue;
		}
		memcpy(stream->piece + writer->filled, from, part);
		writer->filled += part;
		from += part;
		length -= part;
	}
	return 0;
}

int backup_writer_end(struct backup_writer *writer, struct mayfly_error *err)
{
	return write_piece(writer, crypto_secretstream_xchacha20poly1305_TAG_FINAL, err);
}

void backup_writer_free(struct backup_writer *writer)
{
	if (writer)
		secret_done(&writer->memory);
	free(writer);
}

/* Up to LENGTH bytes, fewer only at the end of the file. */
static int read_all(struct backup_reader *reader, unsigned char *bytes, size_t length,
	size_t *ret_length, struct mayfly_error *err)
{
	size_t done = 0;

	while (done < length) {
		const ssize_t n = pread(reader->fd, bytes + done, length - done, reader->place);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_errno(err, -errno, "read the backup");
		if (n == 0)
			break;
		done += (size_t)n;
		reader->place += n;
	}
	*ret_length = done;
	return 0;
}

static int check_magic(const unsigned char *header, size_t length, struct mayfly_error *err)
{
	char version[2];

	if (length >= MAGIC_BYTES && memcmp(header, MAGIC, MAGIC_BYTES) == 0)
		return length == BACKUP_HEADER_BYTES
			       ? 0
			       : error_set(err, -EBADMSG, "the backup is cut off");
	if (length >= MAGIC_BYTES && memcmp(header, MAGIC, VERSION_PLACE) == 0)
		return error_set(err, -EINVAL,
			"this is a backup of format '%s' or a damaged one; this Mayfly reads "
			"format 1",
			error_quote(
				version, sizeof version, (const char *)header + VERSION_PLACE, 1));
	return error_set(err, -EINVAL, "this is no backup of Mayfly");
}

/* The stream's key, with the pair that follows from RECOVERY_KEY. */
static int open_key(
	struct stream *stream, const struct secret *recovery_key, struct mayfly_error *err)
{
	unsigned char public_key[BACKUP_KEY_BYTES];
	char shown[BACKUP_KEY_TEXT_SIZE];
	AUTO_SECRET secret_key = { 0 };
	int r = backup_key_derive(recovery_key, public_key, &secret_key, err);

	if (r < 0)
		return r;
	if (memcmp(public_key, stream->header + PUBLIC_PLACE, BACKUP_KEY_BYTES) != 0) {
		backup_key_write(stream->header + PUBLIC_PLACE, shown);
		return error_set(err, -EKEYREJECTED,
			"that is not the recovery key of this backup, which was made for %s",
			shown);
	}
	if (crypto_box_seal_open(stream->key, stream->header + SEALED_PLACE,
		    STREAM_KEY_BYTES + crypto_box_SEALBYTES, public_key, secret_key.bytes) != 0)
		return error_set(err, -EBADMSG, "the backup is damaged: its key does not open");
	return 0;
}

static int read_header(
	struct backup_reader *reader, const struct secret *recovery_key, struct mayfly_error *err)
{
	struct stream *stream = stream_of(&reader->memory);
	size_t length;
	int r = read_all(reader, stream->header, BACKUP_HEADER_BYTES, &length, err);

	if (r == 0)
		r = check_magic(stream->header, length, err);
	if (r == 0)
		r = open_key(stream, recovery_key, err);
	if (r == 0 && crypto_secretstream_xchacha20poly1305_init_pull(
			      &stream->state, stream->header + NONCE_PLACE, stream->key) != 0)
		r = error_set(err, -EBADMSG, "the backup is damaged");
	return r;
}

int backup_reader_new(struct arena *arena, int fd, const struct secret *recovery_key,
	struct backup_reader **ret_reader, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(backup_reader_free_p) struct backup_reader *reader = NULL;
	int r = require_regular(fd, err);

	if (r < 0)
		return r;
	reader = calloc(1, sizeof *reader);
	if (!reader || sodium_init() < 0)
		return error_errno(err, -ENOMEM, "read a backup");
	reader->fd = fd;
	r = secret_new(arena, sizeof(struct stream), &reader->memory, err);
	if (r == 0)
		r = read_header(reader, recovery_key, err);
	if (r == 0)
		*ret_reader = ptr_take(&reader);
	return r;
}

static int read_piece(struct backup_reader *reader, struct mayfly_error *err)
{
	struct stream *stream = stream_of(&reader->memory);
	size_t length;
	unsigned char tag;
	int r = read_all(reader, stream->sealed, PIECE_SEALED, &length, err);

	if (r < 0)
		return r;
	if (length == 0)
		return error_set(err, -EBADMSG, "the backup is cut off");
	if (length < BACKUP_PIECE_MORE ||
		crypto_secretstream_xchacha20poly1305_pull(&stream->state, stream->piece, NULL,
			&tag, stream->sealed, length, stream->header, BACKUP_HEADER_BYTES) != 0)
		return error_set(err, -EBADMSG, "the backup is damaged%s",
			length < PIECE_SEALED ? " or cut off" : "");
	reader->is_last = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL;
	if (!reader->is_last && length < PIECE_SEALED)
		return error_set(err, -EBADMSG, "the backup is cut off");
	reader->length = length - BACKUP_PIECE_MORE;
	reader->taken = 0;
	return 0;
}

int backup_reader_get(
	struct backup_reader *reader, void *ret_bytes, size_t length, struct mayfly_error *err)
{
	const struct stream *stream = stream_of(&reader->memory);
	unsigned char *to = ret_bytes;

	while (length > 0) {
		const size_t left = reader->length - reader->taken;
		const size_t part = length < left ? length : left;

		if (left == 0 && reader->is_last)
			return error_set(err, -EBADMSG, "the backup ends too early");
		if (left == 0) {
			const int r = read_piece(reader, err);

			if (r < 0)
				return r;
			continue;
		}
		memcpy(to, stream->piece + reader->taken, part);
		reader->taken += part;
		to += part;
		length -= part;
	}
	return 0;
}

int backup_reader_end(struct backup_reader *reader, struct mayfly_error *err)
{
	unsigned char more;
	size_t length;
	int r;

	if (!reader->is_last || reader->taken < reader->length)
		return error_set(err, -EBADMSG, "the backup does not end where it should");
	r = read_all(reader, &more, 1, &length, err);
	if (r == 0 && length > 0)
		r = error_set(err, -EBADMSG, "there are bytes behind the backup's end");
	return r;
}

void backup_reader_free(struct backup_reader *reader)
{
	if (reader)
		secret_done(&reader->memory);
	free(reader);
}
