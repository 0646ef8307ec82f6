#include "daemon/broker/audit/audit_file.h"

#include "daemon/broker/audit/audit_view.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

int audit_file_open(struct audit_file *ret_file, int directory, struct mayfly_error *err)
{
	AUTO_FD fd = openat(directory, AUDIT_FILE, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat status = { .st_mode = S_IFREG };

	if ((fd < 0 && errno != ENOENT) || (fd >= 0 && fstat(fd, &status) != 0))
		return error_errno(err, -errno, "open '%s'", AUDIT_FILE);
	if (!S_ISREG(status.st_mode))
		return error_set(err, -EBADMSG, "open '%s': it is no file", AUDIT_FILE);
	*ret_file = (struct audit_file){
		.directory = directory,
		.size = status.st_size,
		.fd = fd_take(&fd),
	};
	return 0;
}

void audit_file_done(struct audit_file *file)
{
	fd_close_p(&file->fd);
	*file = (struct audit_file){ .directory = -1, .fd = -1 };
}

/* Durable before anything else is written there: else a power cut could mix the rest of the failed
 * write with what came after it, and no one could tell it from a changed record. */
static int cut_rest(struct audit_file *file)
{
	if (ftruncate(file->fd, file->size) != 0 || fdatasync(file->fd) != 0)
		return -errno;
	file->has_rest = false;
	return 0;
}

/* The name that a segment keeps must be durable before its old name is used again. Nobody else
 * writes here, so looking first is as good as RENAME_NOREPLACE, which some file systems (ZFS before
 * 2.2) do not have. */
static int retire(struct audit_file *file, struct mayfly_error *err)
{
	char name[AUDIT_NAME_SIZE];
	struct stat status;

	/* Fits: 20 digits and 12 other characters. */
	(void)snprintf(name, sizeof name, AUDIT_SEGMENT_FORMAT, (uintmax_t)file->first_seq);
	if (fstatat(file->directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0)
		return error_errno(err, -EEXIST, "rename '%s' to '%s'", AUDIT_FILE, name);
	if (errno != ENOENT || renameat(file->directory, AUDIT_FILE, file->directory, name) != 0)
		return error_errno(err, -errno, "rename '%s' to '%s'", AUDIT_FILE, name);
	fd_close_p(&file->fd);
	file->size = 0;
	return 0;
}

/* Makes `audit.jsonl`, or takes the empty one that an earlier call could not finish. */
static int make(struct audit_file *file, struct mayfly_error *err)
{
	AUTO_FD fd = -1;
	struct stat status;

	if (fsync(file->directory) != 0)
		return error_errno(err, -errno, "make the audit directory durable");
	fd = openat(file->directory, AUDIT_FILE,
		O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (fd < 0 || fstat(fd, &status) != 0)
		return error_errno(err, -errno, "create '%s'", AUDIT_FILE);
	if (!S_ISREG(status.st_mode) || status.st_size != 0)
		return error_set(err, -EBADMSG, "create '%s': somebody else did", AUDIT_FILE);
	if (fsync(file->directory) != 0)
		return error_errno(err, -errno, "create '%s' on the disk", AUDIT_FILE);
	file->fd = fd_take(&fd);
	return 0;
}

int audit_file_check(const struct audit_file *file, struct mayfly_error *err)
{
	struct stat ours, named;

	if (fstat(file->fd, &ours) != 0)
		return error_errno(err, -errno, "look at '%s'", AUDIT_FILE);
	if (fstatat(file->directory, AUDIT_FILE, &named, AT_SYMLINK_NOFOLLOW) != 0) {
		if (errno == ENOENT)
			return error_set(
				err, -EBADMSG, "look at '%s': somebody moved it away", AUDIT_FILE);
		return error_errno(err, -errno, "look at '%s'", AUDIT_FILE);
	}
	if (named.st_dev != ours.st_dev || named.st_ino != ours.st_ino)
		return error_set(err, -EBADMSG,
			"look at '%s': somebody put another file in its place", AUDIT_FILE);
	if (ours.st_size != file->size)
		return error_set(err, -EBADMSG,
			"look at '%s': it has %jd bytes, %jd were written: somebody changed it",
			AUDIT_FILE, (intmax_t)ours.st_size, (intmax_t)file->size);
	return 0;
}

int audit_file_prepare(struct audit_file *file, uint64_t seq, size_t length, int64_t max_bytes,
	struct mayfly_error *err)
{
	int r = 0;

	if (file->has_rest) {
		r = cut_rest(file);
		if (r < 0)
			return error_errno(err, r, "cut a failed write off '%s'", AUDIT_FILE);
	}
	if (file->fd >= 0)
		r = audit_file_check(file, err);
	if (r == 0 && file->size > 0 && file->size + (int64_t)length > max_bytes)
		r = retire(file, err);
	if (r == 0 && file->fd < 0)
		r = make(file, err);
	if (r == 0 && file->size == 0)
		file->first_seq = seq;
	return r;
}

static int write_bytes(int fd, const char *bytes, size_t length, int64_t offset)
{
	while (length > 0) {
		const ssize_t n = pwrite(fd, bytes, length, offset);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		bytes += n;
		length -= (size_t)n;
		offset += n;
	}
	return 0;
}

int audit_file_append(
	struct audit_file *file, const char *bytes, size_t length, struct mayfly_error *err)
{
	int r = write_bytes(file->fd, bytes, length, file->size);

	if (r == 0 && fdatasync(file->fd) != 0)
		r = -errno;
	if (r < 0) {
		file->has_rest = true;
		/* Tried at once for those who look at the file; the next append needs it. */
		(void)cut_rest(file);
		return error_errno(err, r, "write %zu bytes to '%s'", length, AUDIT_FILE);
	}
	file->size += (int64_t)length;
	return 0;
}
