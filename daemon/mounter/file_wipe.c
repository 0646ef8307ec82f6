#include "daemon/mounter/file_wipe.h"

#include "proto/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int overwrite(int file)
{
	static const char zeros[65536];
	const off_t left = lseek(file, 0, SEEK_END);

	for (off_t at = 0; at < left;) {
		const size_t wanted =
			left - at < (off_t)sizeof zeros ? (size_t)(left - at) : sizeof zeros;
		const ssize_t written = pwrite(file, zeros, wanted, at);

		if (written <= 0)
			return written < 0 ? -errno : -EIO;
		at += written;
	}
	return ftruncate(file, 0) == 0 ? 0 : -errno;
}

/* Opens NAME for writing. uid 0 without CAP_DAC_OVERRIDE must own a file to open it. */
static int open_as_owner(int directory, const char *name)
{
	if (fchownat(directory, name, 0, 0, AT_SYMLINK_NOFOLLOW) != 0 ||
		fchmodat(directory, name, 0600, 0) != 0)
		return -errno;
	return open_beneath(directory, name, O_WRONLY, 0);
}

static int file_wipe(int directory, const char *name)
{
	AUTO_FD file = open_as_owner(directory, name);

	return file < 0 ? file : overwrite(file);
}

static int tree_wipe(int directory, const char *name)
{
	AUTO_FD inner = open_beneath(directory, name, O_PATH | O_DIRECTORY, 0);
	const int r = inner < 0 ? inner : directory_for_each(inner, entry_wipe, NULL);

	if (r < 0)
		return r;
	return unlinkat(directory, name, AT_REMOVEDIR) == 0 ? 0 : -errno;
}

int entry_wipe(int directory, const struct directory_entry *entry, void *data)
{
	(void)data;
	if (entry->type == DT_DIR)
		return tree_wipe(directory, entry->name);
	if (entry->type == DT_REG) {
		const int r = file_wipe(directory, entry->name);
		if (r < 0)
			return r;
	}
	return unlinkat(directory, entry->name, 0) == 0 ? 0 : -errno;
}

bool is_emptied(int directory, const char *name)
{
	struct stat status;

	return fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(status.st_mode) && status.st_size == 0;
}

int file_empty(int directory, const char *name)
{
	return is_emptied(directory, name) ? 0 : file_wipe(directory, name);
}

static int entry_empty(int directory, const struct directory_entry *entry, void *data)
{
	(void)data;
	if (entry->type == DT_REG)
		return is_emptied(directory, entry->name) ? 0 : file_wipe(directory, entry->name);
	return entry->type == DT_DIR ? tree_empty(directory, entry->name) : 0;
}

int tree_empty(int directory, const char *name)
{
	AUTO_FD inner = open_beneath(directory, name, O_PATH | O_DIRECTORY, 0);

	return inner < 0 ? inner : directory_for_each(inner, entry_empty, NULL);
}

bool is_unopened(int directory, const char *name)
{
	AUTO_FD file = open_beneath(directory, name, O_WRONLY, 0);

	/* Closing gives it back. */
	return file >= 0 && fcntl(file, F_SETLEASE, F_WRLCK) == 0;
}
