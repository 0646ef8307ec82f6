#include "client/cli/files/edited_file.h"

#include "client/cli/terminal/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

static int refuse(const char *what, const char *path, int code, struct mayfly_error *err)
{
	if ((code == -EACCES || code == -EPERM) && strstr(path, "etc/mayfly"))
		return error_set(err, code,
			"%s '%s': %s\nfiles below /etc/mayfly are root's: run it as root", what,
			path, strerror(-code));
	if (code == -ELOOP)
		return error_set(err, code,
			"%s '%s': it is a symbolic link\nedit the file that it points to", what,
			path);
	return error_errno(err, code, "%s '%s'", what, path);
}

int file_read_all(
	int fd, const char *path, char **ret_text, size_t *ret_length, struct mayfly_error *err)
{
	AUTO_FREE char *text = NULL;
	size_t length = 0;
	struct stat status;

	if (fstat(fd, &status) != 0)
		return error_errno(err, -errno, "look at '%s'", path);
	if (!S_ISREG(status.st_mode) || (size_t)status.st_size > EDITED_FILE_MAX_BYTES)
		return error_set(err, -EFBIG, "'%s' is no file of at most %zu MiB", path,
			EDITED_FILE_MAX_BYTES / 1024 / 1024);
	text = malloc((size_t)status.st_size + 1);
	if (!text)
		return error_errno(err, -ENOMEM, "read '%s'", path);
	while (length < (size_t)status.st_size) {
		const ssize_t got = read(fd, text + length, (size_t)status.st_size - length);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_errno(err, -errno, "read '%s'", path);
		if (got == 0)
			break;
		length += (size_t)got;
	}
	text[length] = '\0';
	*ret_text = ptr_take(&text);
	*ret_length = length;
	return 0;
}

/* Opens FOLDER below DIRECTORY, one component after the other, making what is missing. */
static int open_folder(
	int directory, const char *folder, bool make, int *ret_fd, struct mayfly_error *err)
{
	AUTO_FREE char *parts = text_copy(folder);
	AUTO_FD at = fcntl(directory, F_DUPFD_CLOEXEC, 3);
	char *rest = NULL;

	for (char *part = strtok_r(parts, "/", &rest); at >= 0 && part;
		part = strtok_r(NULL, "/", &rest)) {
		int next;

		if (make && mkdirat(at, part, 0755) != 0 && errno != EEXIST)
			return refuse("make", folder, -errno, err);
		next = openat(at, part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (next < 0)
			return refuse("open", folder, -errno, err);
		(void)close(at); /* Only a directory was looked up through it. */
		at = next;
	}
	if (at < 0)
		return error_errno(err, -errno, "open '%s'", folder);
	*ret_fd = fd_take(&at);
	return 0;
}

static int lock(int directory, const char *folder, struct mayfly_error *err)
{
	const struct timespec pause = { .tv_nsec = 100 * 1000 * 1000 };

	for (unsigned tries = 0; tries < 100; tries++) {
		if (flock(directory, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK)
			return refuse("lock", folder, -errno, err);
		/* Woken early it only asks earlier. */
		(void)nanosleep(&pause, NULL);
	}
	return error_set(err, -EBUSY,
		"another mayfly has been changing files in %s for 10 s\nend that one, then try "
		"again",
		folder);
}

static int read_old(struct edited_file *file, struct mayfly_error *err)
{
	AUTO_FD fd = openat(file->directory, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat status;

	file->mode = 0644;
	file->uid = geteuid();
	file->gid = getegid();
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return refuse("open", file->path, -errno, err);
	if (fstat(fd, &status) != 0)
		return error_errno(err, -errno, "look at '%s'", file->path);
	file->mode = status.st_mode & 07777;
	file->uid = status.st_uid;
	file->gid = status.st_gid;
	return file_read_all(fd, file->path, &file->old_text, &file->old_length, err);
}

int edited_file_open(const char *root, const char *folder, const char *name, bool make,
	struct edited_file *ret_file, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(edited_file_done) struct edited_file file = EDITED_FILE_EMPTY;
	AUTO_FD top = open(root[0] ? root : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (top < 0)
		return error_errno(err, -errno, "open '%s'", root);
	file.name = text_copy(name);
	file.path = text_format("%s/%s/%s", root, folder, name);
	r = open_folder(top, folder, make, &file.directory, err);
	if (r < 0)
		return r;
	r = lock(file.directory, folder, err);
	if (r == 0)
		r = read_old(&file, err);
	if (r < 0)
		return r;
	*ret_file = file;
	file = EDITED_FILE_EMPTY;
	return 0;
}

static int write_all(int fd, const char *text, size_t length)
{
	while (length > 0) {
		const ssize_t n = write(fd, text, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		length -= (size_t)n;
	}
	return 0;
}

/* Fills the new file; it has the old one's owner and mode before it takes its place. */
static int fill(const struct edited_file *file, int fd, const char *text, size_t length)
{
	int r = write_all(fd, text, length);

	if (r < 0)
		return r;
	if (fchown(fd, file->uid, file->gid) != 0 || fchmod(fd, file->mode) != 0 || fsync(fd) != 0)
		return -errno;
	return 0;
}

int edited_file_write(
	struct edited_file *file, const char *text, size_t length, struct mayfly_error *err)
{
	/* The broker reads *.json only, so a remnant of a crash is no policy. */
	AUTO_FREE char *draft = text_format(".%s.new", file->name);
	AUTO_FD fd = -1;
	int r = 0;

	/* A remnant of an edit that was killed; the lock says that nobody writes it. */
	(void)unlinkat(file->directory, draft, 0);
	fd = openat(
		file->directory, draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return refuse("write", file->path, -errno, err);
	r = fill(file, fd, text, length);
	if (r == 0 && renameat(file->directory, draft, file->directory, file->name) != 0)
		r = -errno;
	if (r < 0) {
		/* The draft is of no use; the old file stands. */
		(void)unlinkat(file->directory, draft, 0);
		return refuse("write", file->path, r, err);
	}
	if (fsync(file->directory) != 0)
		return refuse("sync the folder of", file->path, -errno, err);
	return 0;
}

int edited_file_remove(struct edited_file *file, struct mayfly_error *err)
{
	if (unlinkat(file->directory, file->name, 0) != 0 && errno != ENOENT)
		return refuse("remove", file->path, -errno, err);
	if (fsync(file->directory) != 0)
		return refuse("sync the folder of", file->path, -errno, err);
	return 0;
}

int edited_file_restore(struct edited_file *file, struct mayfly_error *err)
{
	if (!file->old_text)
		return edited_file_remove(file, err);
	return edited_file_write(file, file->old_text, file->old_length, err);
}

void edited_file_done(struct edited_file *file)
{
	fd_close_p(&file->directory); /* and with it the lock */
	free(file->name);
	free(file->path);
	free(file->old_text);
	*file = EDITED_FILE_EMPTY;
}
