#include "daemon/broker/audit/audit_lines.h"

#include "daemon/broker/audit/audit_chain.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int lines_open(struct lines_reader *ret_reader, int fd, int64_t offset, int64_t end,
	struct mayfly_error *err)
{
	struct lines_reader reader = { .fd = fd, .end = end };

	reader.buffer = malloc(AUDIT_LINE_MAX_BYTES);
	if (!reader.buffer) {
		lines_done(&reader);
		return error_errno(err, -ENOMEM, "read audit records");
	}
	lines_move(&reader, offset);
	*ret_reader = reader;
	return 0;
}

void lines_move(struct lines_reader *reader, int64_t offset)
{
	reader->start = offset;
	reader->offset = offset;
	reader->filled = 0;
	reader->used = 0;
	reader->number = 0;
}

/* Reads more behind what is in the buffer, as much as there is and fits. */
static int fill(struct lines_reader *reader, struct mayfly_error *err)
{
	const int64_t from = reader->start + (int64_t)reader->filled;
	size_t wanted = AUDIT_LINE_MAX_BYTES - reader->filled;
	ssize_t n;

	if ((int64_t)wanted > reader->end - from)
		wanted = (size_t)(reader->end - from);
	n = pread(reader->fd, reader->buffer + reader->filled, wanted, from);
	if (n < 0)
		return error_errno(err, -errno, "read audit records");
	if (n == 0)
		return error_set(err, -EBADMSG,
			"read audit records: the file ends at byte %jd, %jd were written",
			(intmax_t)from, (intmax_t)reader->end);
	reader->filled += (size_t)n;
	return 0;
}

/* Moves the line that is begun to the buffer's start, so that fill() has room. */
static void drop_used(struct lines_reader *reader)
{
	memmove(reader->buffer, reader->buffer + reader->used, reader->filled - reader->used);
	reader->start += (int64_t)reader->used;
	reader->filled -= reader->used;
	reader->used = 0;
}

static enum lines_found found(struct lines_reader *reader, enum lines_found what, size_t length,
	const char **ret_text, size_t *ret_length)
{
	reader->offset = reader->start + (int64_t)reader->used;
	reader->number++;
	*ret_text = reader->buffer + reader->used;
	*ret_length = length;
	reader->used += length + (what == LINES_WHOLE ? 1 : 0);
	return what;
}

int lines_next(struct lines_reader *reader, const char **ret_text, size_t *ret_length,
	struct mayfly_error *err)
{
	size_t searched = 0;

	for (;;) {
		const char *const line = reader->buffer + reader->used;
		const size_t length = reader->filled - reader->used;
		const char *const newline = memchr(line + searched, '\n', length - searched);
		int r;

		if (newline)
			return found(reader, LINES_WHOLE, (size_t)(newline - line), ret_text,
				ret_length);
		if (reader->start + (int64_t)reader->filled >= reader->end)
			return length == 0 ? LINES_END
					   : (int)found(reader, LINES_BROKEN, length, ret_text,
						     ret_length);
		if (length == AUDIT_LINE_MAX_BYTES)
			return found(reader, LINES_BROKEN, length, ret_text, ret_length);
		searched = length;
		drop_used(reader);
		r = fill(reader, err);
		if (r < 0)
			return r;
	}
}

void lines_done(struct lines_reader *reader)
{
	free(reader->buffer);
	fd_close_p(&reader->fd);
	*reader = (struct lines_reader)LINES_EMPTY;
}
