#include "daemon/broker/config/file_text.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>

static int check_status(int fd, const char *path, struct stat *ret_status, struct mayfly_error *err)
{
	if (fstat(fd, ret_status) != 0)
		return error_errno(err, -errno, "look at '%s'", path);
	if (!S_ISREG(ret_status->st_mode))
		return error_set(err, -EISDIR, "read '%s': it is no regular file", path);
	if (ret_status->st_mode & S_IWOTH)
		return error_set(err, -EPERM,
			"read '%s': every user may write to it; run `chmod o-w` on it", path);
	if ((uintmax_t)ret_status->st_size > FILE_TEXT_MAX_BYTES)
		return error_set(err, -EFBIG, "read '%s': %ju bytes are more than the limit of %zu",
			path, (uintmax_t)ret_status->st_size, FILE_TEXT_MAX_BYTES);
	return 0;
}

int file_text_read(int directory_fd, const char *path, char **ret_text, size_t *ret_length,
	struct mayfly_error *err)
{
	/* O_NONBLOCK: the open of a pipe without a writer would wait for one. */
	AUTO_FD fd = openat(directory_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	AUTO_FREE char *text = NULL;
	struct stat status;
	size_t size, length = 0;
	int r;

	if (fd < 0)
		return error_errno(err, -errno, "open '%s'", path);
	r = check_status(fd, path, &status, err);
	if (r < 0)
		return r;
	size = (size_t)status.st_size;
	text = malloc(size + 1);
	if (!text)
		return error_errno(err, -ENOMEM, "read '%s'", path);
	while (length < size) {
		const ssize_t n = read(fd, text + length, size - length);

		if (n < 0)
			return error_errno(err, -errno, "read '%s'", path);
		if (n == 0)
			break;
		length += (size_t)n;
	}
	text[length] = '\0';
	*ret_text = ptr_take(&text);
	*ret_length = length;
	return 0;
}
