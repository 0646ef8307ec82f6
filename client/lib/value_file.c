#include "client/lib/value_file.h"

#include "client/lib/locked_memory.h"
#include "client/lib/wire/cleanup.h"
#include "client/lib/wire/deadline.h"
#include "client/lib/wire/failure.h"
#include "include/mayfly/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A path may lead to the next generation by the time it is opened again. */
#define TRIES	    3
/* The broker overwrites a file with zeros some microseconds before it truncates and removes it. */
#define EMPTYING_MS 20

struct mayfly_value {
	struct locked_memory memory;
	size_t length;
};

/* A file being read. */
struct reading {
	int directory;
	const char *name, *shown;
	int open_flags;
	unsigned flags;
};

static enum mayfly_status fail_open(
	const struct reading *reading, int error, struct mayfly_failure *failure)
{
	struct stat status;

	if (error == ENOENT || error == ENOTDIR)
		return failure_errno(failure, MAYFLY_NO_FILE, error, "read '%s'", reading->shown);
	if (error == EPERM)
		return failure_errno(failure, MAYFLY_NOT_READABLE, error,
			"read '%s': Mayfly does not release it to this process", reading->shown);
	if (error == EACCES &&
		fstatat(reading->directory, reading->name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
		S_ISREG(status.st_mode))
		return failure_errno(failure, MAYFLY_NOT_READABLE, error,
			"read '%s': it is uid %u's with mode %04o, this process is uid %u's",
			reading->shown, status.st_uid, status.st_mode & 07777, geteuid());
	if (error == EMFILE || error == ENFILE || error == ENOMEM)
		return failure_errno(failure, MAYFLY_FAILED, error, "read '%s'", reading->shown);
	return failure_errno(failure, MAYFLY_NOT_READABLE, error, "read '%s'", reading->shown);
}

/* Opens the file and looks at it. The caller owns *RET_FD. */
static enum mayfly_status open_file(const struct reading *reading, int *ret_fd,
	struct stat *ret_status, struct mayfly_failure *failure)
{
	AUTO_FD fd = -1;

	do
		/* Nonblocking for what is no file: opening a pipe would wait for its writer. */
		fd = openat(reading->directory, reading->name,
			O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | reading->open_flags);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return fail_open(reading, errno, failure);
	if (fstat(fd, ret_status) != 0)
		return failure_errno(failure, MAYFLY_FAILED, errno, "look at '%s'", reading->shown);
	if (!S_ISREG(ret_status->st_mode))
		return failure_set(
			failure, MAYFLY_NOT_READABLE, "read '%s': it is no file", reading->shown);
	if (ret_status->st_size > MAYFLY_DELIVERY_MAX_BYTES)
		return failure_set(failure, MAYFLY_NOT_READABLE,
			"read '%s': it has %lld bytes, at most %d can be", reading->shown,
			(long long)ret_status->st_size, MAYFLY_DELIVERY_MAX_BYTES);
	*ret_fd = fd_take(&fd);
	return MAYFLY_OK;
}

static enum mayfly_status make_room(const struct reading *reading, size_t length,
	struct mayfly_value *value, struct mayfly_failure *failure)
{
	int lock_error;
	/* One more for the NUL behind it. */
	const int r = locked_memory_map(length + 1, &value->memory, &lock_error);

	if (r < 0)
		return failure_errno(
			failure, MAYFLY_NO_MEMORY, -r, "memory for '%s'", reading->shown);
	if (value->memory.is_locked || reading->flags & MAYFLY_ALLOW_UNLOCKED)
		return MAYFLY_OK;
	(void)failure_errno(failure, MAYFLY_NOT_LOCKED, lock_error, "lock %zu KiB for '%s'",
		value->memory.size / 1024, reading->shown);
	failure_advise(failure, "ulimits: { memlock: -1 } lets a container lock more memory");
	return MAYFLY_NOT_LOCKED;
}

/* Reads what is there, at most ROOM bytes. The number of bytes, or a negative errno. */
static ssize_t read_bytes(int fd, unsigned char *bytes, size_t room)
{
	size_t length = 0;

	while (length < room) {
		const ssize_t got = read(fd, bytes + length, room - length);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		length += (size_t)got;
	}
	return (ssize_t)length;
}

static bool is_same_moment(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* True if the file is as it was at BEFORE: emptying one changes its owner, its content and its
 * size, in this order. */
static bool is_unchanged(int fd, const struct stat *before)
{
	struct stat now;

	return fstat(fd, &now) == 0 && now.st_size == before->st_size &&
	       is_same_moment(now.st_mtim, before->st_mtim) &&
	       is_same_moment(now.st_ctim, before->st_ctim);
}

static bool is_all_zero(const unsigned char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

/* False if the value is a moment's view of a file that is being emptied: a password of zeros would
 * lock an account. */
static bool is_whole(int fd, const struct stat *before, const struct mayfly_value *value)
{
	const struct deadline never = deadline_in(-1);

	if (!is_unchanged(fd, before))
		return false;
	if (!is_all_zero(value->memory.bytes, value->length))
		return true;
	deadline_sleep(&never, EMPTYING_MS);
	return is_unchanged(fd, before);
}

static enum mayfly_status fill(const struct reading *reading, int fd, const struct stat *before,
	struct mayfly_value *value, struct mayfly_failure *failure)
{
	const size_t length = (size_t)before->st_size;
	ssize_t got;

	got = read_bytes(fd, value->memory.bytes, length);
	if (got < 0)
		return failure_errno(
			failure, MAYFLY_FAILED, (int)-got, "read '%s'", reading->shown);
	value->length = (size_t)got;
	if (value->length != length || !is_whole(fd, before, value))
		return failure_set(failure, MAYFLY_ENDED, "read '%s': it was emptied meanwhile",
			reading->shown);
	return MAYFLY_OK;
}

static enum mayfly_status read_once(const struct reading *reading, struct mayfly_value **ret_value,
	struct mayfly_failure *failure)
{
	AUTO_FD fd = -1;
	struct stat before;
	struct mayfly_value *value;
	enum mayfly_status status = open_file(reading, &fd, &before, failure);

	if (status != MAYFLY_OK)
		return status;
	if (before.st_size == 0)
		return failure_set(failure, MAYFLY_ENDED,
			"read '%s': it is empty: its delivery has ended", reading->shown);
	value = calloc(1, sizeof *value);
	if (!value)
		return failure_no_memory(failure);
	status = make_room(reading, (size_t)before.st_size, value, failure);
	if (status == MAYFLY_OK)
		status = fill(reading, fd, &before, value, failure);
	if (status != MAYFLY_OK) {
		mayfly_value_free(value);
		return status;
	}
	*ret_value = value;
	return MAYFLY_OK;
}

enum mayfly_status value_file_read(int directory, const char *name, int open_flags,
	const char *shown, unsigned flags, struct mayfly_value **ret_value,
	struct mayfly_failure *failure)
{
	const struct reading reading = { directory, name, shown, open_flags, flags };
	enum mayfly_status status = MAYFLY_ENDED;
	struct mayfly_failure why;

	if (flags & ~MAYFLY_ALLOW_UNLOCKED)
		return failure_set(failure, MAYFLY_INVALID_ARGUMENT, "flags %#x are not known",
			flags & ~MAYFLY_ALLOW_UNLOCKED);
	for (int i = 0; i < TRIES && status == MAYFLY_ENDED; i++)
		status = read_once(&reading, ret_value, &why);
	return status == MAYFLY_OK ? MAYFLY_OK : failure_pass(failure, &why);
}

enum mayfly_status mayfly_value_read(const char *path, unsigned flags,
	struct mayfly_value **ret_value, struct mayfly_failure *failure)
{
	if (!path || !path[0])
		return failure_set(failure, MAYFLY_INVALID_ARGUMENT, "a file has a path");
	return value_file_read(AT_FDCWD, path, 0, path, flags, ret_value, failure);
}

const void *mayfly_value_bytes(const struct mayfly_value *value)
{
	return value->memory.bytes;
}

size_t mayfly_value_length(const struct mayfly_value *value)
{
	return value->length;
}

bool mayfly_value_is_locked(const struct mayfly_value *value)
{
	return value->memory.is_locked;
}

void mayfly_value_free(struct mayfly_value *value)
{
	if (!value)
		return;
	locked_memory_done(&value->memory);
	free(value);
}
