#include "daemon/engine/facts/engine_root.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* The kernel gives up with EAGAIN when somebody renames directories during the walk. */
#define RACES_MAX 16

static int open_below(int root, const char *path, uint64_t flags, uint64_t resolve)
{
	const struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve,
	};
	int races = 0;

	for (;;) {
		const int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof how);

		if (fd >= 0)
			return fd;
		if (errno != EINTR && (errno != EAGAIN || ++races > RACES_MAX))
			return -errno;
	}
}

static uint64_t scope_flags(enum root_scope scope)
{
	return scope == ROOT_ONE_MOUNT ? RESOLVE_NO_XDEV : 0;
}

int root_open_path(int root, const char *path, enum root_scope scope)
{
	return open_below(root, path, O_PATH, scope_flags(scope));
}

int root_open_unfollowed(int root, const char *path, enum root_scope scope)
{
	return open_below(
		root, path, O_PATH | O_NOFOLLOW, RESOLVE_NO_SYMLINKS | scope_flags(scope));
}

int root_open_directory(int root, const char *path)
{
	return open_below(root, path, O_RDONLY | O_DIRECTORY, 0);
}

int root_stat(int root, const char *path, struct stat *ret_status)
{
	AUTO_FD fd = root_open_path(root, path, ROOT_ALL_MOUNTS);

	if (fd < 0)
		return fd;
	return fstat(fd, ret_status) == 0 ? 0 : -errno;
}

int root_cgroup_version(int root)
{
	AUTO_FD fd = root_open_path(root, "/sys/fs/cgroup", ROOT_ALL_MOUNTS);
	struct statfs status;

	if (fd < 0 || fstatfs(fd, &status) != 0)
		return 0;
	return status.f_type == CGROUP2_SUPER_MAGIC ? 2 : 1;
}

static int64_t nanoseconds(const struct timespec *time)
{
	return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

struct file_mark file_mark_of(const struct stat *status)
{
	return (struct file_mark){
		.device = status->st_dev,
		.inode = status->st_ino,
		.size = (uint64_t)status->st_size,
		.modified_ns = nanoseconds(&status->st_mtim),
		.changed_ns = nanoseconds(&status->st_ctim),
	};
}

bool file_mark_equal(const struct file_mark *a, const struct file_mark *b)
{
	return a->device == b->device && a->inode == b->inode && a->size == b->size &&
	       a->modified_ns == b->modified_ns && a->changed_ns == b->changed_ns;
}

int root_mark(int root, const char *path, struct file_mark *ret_mark)
{
	struct stat status;
	const int r = root_stat(root, path, &status);

	if (r == 0)
		*ret_mark = file_mark_of(&status);
	return r;
}

/* Safe because the inode is already held and known to be a regular file: the second open cannot
 * reach a device, a FIFO or another file that was put in its place. */
static int reopen_for_reading(int held)
{
	char name[sizeof "/proc/self/fd/" + 12];
	int fd;

	(void)snprintf(name, sizeof name, "/proc/self/fd/%d", held);
	fd = open(name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int read_whole(int fd, size_t size, struct file_bytes *ret_file, struct mayfly_error *err)
{
	AUTO_FREE char *bytes = malloc(size + 1);
	size_t length = 0;

	if (!bytes)
		return error_errno(err, -ENOMEM, "read %zu bytes", size);
	while (length < size) {
		const ssize_t count = read(fd, bytes + length, size - length);

		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0)
			return error_errno(err, -errno, "read");
		if (count == 0)
			break;
		length += (size_t)count;
	}
	bytes[length] = '\0';
	ret_file->bytes = ptr_take(&bytes);
	ret_file->length = length;
	return 0;
}

int root_read_file(int root, const char *path, enum root_scope scope, size_t limit,
	struct file_bytes *ret_file, struct mayfly_error *err)
{
	AUTO_FD held = root_open_path(root, path, scope);
	AUTO_FD fd = -1;
	struct stat status;
	int r;

	if (held < 0)
		return error_errno(err, held, "open");
	if (fstat(held, &status) != 0)
		return error_errno(err, -errno, "stat");
	if (!S_ISREG(status.st_mode))
		return error_set(err, -EINVAL, "it is not a regular file");
	if ((uint64_t)status.st_size > limit)
		return error_set(err, -EFBIG, "it has %jd bytes, at most %zu are read",
			(intmax_t)status.st_size, limit);
	fd = reopen_for_reading(held);
	if (fd < 0)
		return error_errno(err, fd, "open for reading");
	r = read_whole(fd, (size_t)status.st_size, ret_file, err);
	if (r == 0)
		ret_file->mark = file_mark_of(&status);
	return r;
}

void file_bytes_done(struct file_bytes *file)
{
	free(file->bytes);
	*file = (struct file_bytes){ 0 };
}
