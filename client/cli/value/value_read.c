#include "client/cli/terminal/prompt.h"
#include "client/cli/value/value.h"
#include "proto/cleanup.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Reads FD to its end into VALUE, which has room for one byte more than can be valid. */
static int read_all(int fd, struct secret *value, size_t *ret_length, struct mayfly_error *err)
{
	size_t length = 0;

	while (length < value->length) {
		const ssize_t got = read(fd, value->bytes + length, value->length - length);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_errno(err, -errno, "read");
		if (got == 0)
			break;
		length += (size_t)got;
	}
	*ret_length = length;
	return 0;
}

static int open_file(const char *path, int *ret_fd, struct mayfly_error *err)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat status;

	if (fd < 0)
		return error_errno(err, -errno, "open '%s'", path);
	if (fstat(fd, &status) != 0)
		return error_errno(err, -errno, "look at '%s'", path);
	if (S_ISDIR(status.st_mode))
		return error_set(err, -EISDIR, "'%s' is a directory", path);
	*ret_fd = fd_take(&fd);
	return 0;
}

/* A final newline, with its carriage return, is read beyond the limit: it may not count. */
#define NEWLINE_ROOM 2

static int read_stream(struct cli *cli, const struct value_request *request,
	struct secret *ret_value, struct mayfly_error *err)
{
	const bool from_stdin = !request->from_file || strcmp(request->from_file, "-") == 0;
	AUTO_SECRET value = { 0 };
	AUTO_FD fd = -1;
	struct arena *arena;
	size_t length = 0;
	int r = cli_arena(cli, &arena, err);

	if (r == 0 && !from_stdin)
		r = open_file(request->from_file, &fd, err);
	if (r == 0)
		r = secret_new(arena, request->max_bytes + NEWLINE_ROOM + 1, &value, err);
	if (r < 0)
		return r;
	r = read_all(from_stdin ? STDIN_FILENO : fd, &value, &length, err);
	if (r < 0)
		return error_within(err, "%s", from_stdin ? "standard input" : request->from_file);
	secret_shorten(&value, length);
	*ret_value = secret_take(&value);
	return 0;
}

static int read_typed(struct cli *cli, const struct value_request *request,
	struct secret *ret_value, struct mayfly_error *err)
{
	if (request->ask_twice)
		return prompt_hidden_twice(cli, request->prompt, ret_value, err);
	return prompt_hidden(cli, request->prompt, ret_value, err);
}

static int check_length(const struct value_request *request, const struct secret *value,
	size_t read_bytes, struct mayfly_error *err)
{
	if (value->length > request->max_bytes)
		return error_set(err, -EFBIG, "the %s is longer than the limit of %zu bytes",
			request->what, request->max_bytes);
	if (value->length > 0)
		return 0;
	return error_set(err, -EINVAL, "the %s is empty%s\na %s has at least one byte",
		request->what, read_bytes > 0 ? " but for a newline" : "", request->what);
}

int value_read(struct cli *cli, const struct value_request *request, struct secret *ret_value,
	enum newline_outcome *ret_newline, struct mayfly_error *err)
{
	const bool is_typed = prompt_is_possible() &&
			      (!request->from_file || strcmp(request->from_file, "-") == 0);
	enum newline_outcome newline = NEWLINE_NONE;
	AUTO_SECRET value = { 0 };
	size_t length, read_bytes;
	int r = is_typed ? read_typed(cli, request, &value, err)
			 : read_stream(cli, request, &value, err);

	if (r < 0)
		return r;
	read_bytes = value.length;
	if (!is_typed) {
		newline = newline_rule(value.bytes, value.length, request->exact, &length);
		secret_shorten(&value, length);
	}
	r = check_length(request, &value, read_bytes, err);
	if (r < 0)
		return r;
	if (ret_newline)
		*ret_newline = newline;
	*ret_value = secret_take(&value);
	return 0;
}
