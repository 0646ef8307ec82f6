#include "daemon/mounter/delivery_files.h"

#include "daemon/mounter/kernel/kernel_calls.h"
#include "proto/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#define DATA_LINK   "..data"
#define DESCRIPTION ".mayfly.json"

static void generation_name(char name[16], uint32_t generation)
{
	(void)snprintf(name, 16, "..%u", generation);
}

/* Opens the directory NAME below DIRECTORY, made with mode 0755 if it is not there. */
static int directory_open_making(int directory, const char *name)
{
	if (mkdirat(directory, name, 0755) != 0 && errno != EEXIST)
		return -errno;
	return open_beneath(directory, name, O_PATH | O_DIRECTORY, 0);
}

/* Opens the directory that will hold PATH below DIRECTORY; *RET_LEAF is where the last part begins.
 */
static int parent_open_making(int directory, const char *path, const char **ret_leaf)
{
	AUTO_FD parent = open_beneath(directory, ".", O_PATH | O_DIRECTORY, 0);
	char part[MAYFLY_FILE_PATH_SIZE];
	const char *slash;

	while (parent >= 0 && (slash = strchr(path, '/'))) {
		int next;

		memcpy(part, path, (size_t)(slash - path));
		part[slash - path] = '\0';
		next = directory_open_making(parent, part);
		(void)close(parent);
		parent = next;
		path = slash + 1;
	}
	*ret_leaf = path;
	return fd_take(&parent);
}

int delivery_file_make(int own, const struct mounter_request *request)
{
	char generation[16];
	const char *leaf;
	AUTO_FD staging = -1;
	AUTO_FD parent = -1;
	AUTO_FD file = -1;

	generation_name(generation, request->generation);
	staging = directory_open_making(own, generation);
	if (staging < 0)
		return staging;
	parent = parent_open_making(staging, request->name, &leaf);
	if (parent < 0)
		return parent;
	file = open_beneath(parent, leaf, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (file < 0)
		return file;
	if (fallocate(file, 0, 0, (off_t)request->size_bytes) != 0)
		return -errno;
	/* The mode first: without CAP_FOWNER only an owner may set it. */
	if (fchmod(file, request->mode) != 0 || fchown(file, request->uid, request->gid) != 0)
		return -errno;
	return fd_take(&file);
}

static int file_wipe(int directory, const char *name)
{
	static const char zeros[65536];
	AUTO_FD file = -1;
	off_t left;

	/* uid 0 without CAP_DAC_OVERRIDE must own a file to open it. */
	if (fchownat(directory, name, 0, 0, AT_SYMLINK_NOFOLLOW) != 0 ||
		fchmodat(directory, name, 0600, 0) != 0)
		return -errno;
	file = open_beneath(directory, name, O_WRONLY, 0);
	if (file < 0)
		return file;
	left = lseek(file, 0, SEEK_END);
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

static int entry_wipe(int directory, const struct directory_entry *entry, void *data);

static int tree_wipe(int directory, const char *name)
{
	AUTO_FD inner = open_beneath(directory, name, O_PATH | O_DIRECTORY, 0);
	const int r = inner < 0 ? inner : directory_for_each(inner, entry_wipe, NULL);

	if (r < 0)
		return r;
	return unlinkat(directory, name, AT_REMOVEDIR) == 0 ? 0 : -errno;
}

static int entry_wipe(int directory, const struct directory_entry *entry, void *data)
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

int delivery_wipe(int own)
{
	return directory_for_each(own, entry_wipe, NULL);
}

/* Overwrites and truncates, and removes nothing: the kernel does not let a file system become
 * read-only while somebody holds a removed file, were it only by O_PATH. */
static int entry_empty(int directory, const struct directory_entry *entry, void *data)
{
	AUTO_FD inner = -1;

	if (entry->type == DT_REG)
		return file_wipe(directory, entry->name);
	if (entry->type != DT_DIR)
		return 0;
	inner = open_beneath(directory, entry->name, O_PATH | O_DIRECTORY, 0);
	return inner < 0 ? inner : directory_for_each(inner, entry_empty, data);
}

static int link_make(int staging, const struct directory_entry *entry, void *data)
{
	const int *own = data;
	char target[sizeof DATA_LINK + 1 + 256];

	(void)staging;
	if (strcmp(entry->name, DESCRIPTION) == 0)
		return 0;
	(void)snprintf(target, sizeof target, DATA_LINK "/%s", entry->name);
	if (symlinkat(target, *own, entry->name) != 0 && errno != EEXIST)
		return -errno;
	return 0;
}

struct cleaning {
	int staging;	     /* the generation that stays */
	const char *staying; /* its name */
	bool makes_room;     /* removes what would only be emptied */
};

/* Every generation leaves its names behind: after many, there is no inode for the next one. */
static bool is_short_of_inodes(int own)
{
	struct statfs status;

	return fstatfs(own, &status) == 0 && status.f_ffree < status.f_files / 2;
}

/* Removes links that lead nowhere in the generation that stays, and empties other generations. */
static int stale_remove(int own, const struct directory_entry *entry, void *data)
{
	const struct cleaning *cleaning = data;
	struct stat status;

	if (entry->type == DT_DIR && strcmp(entry->name, cleaning->staying) == 0)
		return 0;
	if (entry->type == DT_DIR)
		return cleaning->makes_room ? entry_wipe(own, entry, NULL)
					    : entry_empty(own, entry, NULL);
	/* Those of older generations too. */
	if (strncmp(entry->name, DATA_LINK, sizeof DATA_LINK - 1) == 0 &&
		(!cleaning->makes_room || strcmp(entry->name, DATA_LINK) == 0))
		return 0;
	if (fstatat(cleaning->staging, entry->name, &status, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	return unlinkat(own, entry->name, 0) == 0 ? 0 : -errno;
}

static int clean(int own, int staging, const char *name)
{
	const struct cleaning cleaning = {
		.staging = staging, .staying = name, .makes_room = is_short_of_inodes(own)
	};

	return directory_for_each(own, stale_remove, (void *)(uintptr_t)&cleaning);
}

static int commit_atomic(int own, int staging, const char *name, bool keep_previous)
{
	char link[sizeof DATA_LINK + 16];

	(void)snprintf(link, sizeof link, DATA_LINK "%s", name);
	if (symlinkat(name, own, link) != 0 && errno != EEXIST)
		return -errno;
	/* In exchange: the link of before stays too, under the other name. */
	if (renameat2(own, link, own, DATA_LINK, RENAME_EXCHANGE) != 0 &&
		(errno != ENOENT || renameat2(own, link, own, DATA_LINK, 0) != 0))
		return -errno;
	return keep_previous ? 0 : clean(own, staging, name);
}

struct moving {
	int to; /* the directory that readers see */
};

/* Moves one entry of a generation to the same place among what readers see. What stood there comes
 * back in exchange, to be wiped with the rest of the generation's directory: at no moment is the
 * name without a file. */
static int entry_move(int from, const struct directory_entry *entry, void *data)
{
	const struct moving *moving = data;
	AUTO_FD inner_from = -1;
	AUTO_FD inner_to = -1;
	struct moving inner;

	if (entry->type != DT_DIR) {
		if (renameat2(from, entry->name, moving->to, entry->name, RENAME_EXCHANGE) == 0)
			return 0;
		if (errno != ENOENT)
			return -errno;
		return renameat2(from, entry->name, moving->to, entry->name, 0) == 0 ? 0 : -errno;
	}
	inner_from = open_beneath(from, entry->name, O_PATH | O_DIRECTORY, 0);
	inner_to = directory_open_making(moving->to, entry->name);
	if (inner_from < 0 || inner_to < 0)
		return inner_from < 0 ? inner_from : inner_to;
	inner.to = inner_to;
	return directory_for_each(inner_from, entry_move, &inner);
}

/* Removes what readers see and the generation to come does not have; its own directory stays. */
static int absent_remove(int to, const struct directory_entry *entry, void *data)
{
	const struct cleaning *cleaning = data;
	AUTO_FD inner_to = -1;
	AUTO_FD inner_staging = -1;
	struct cleaning inner = { .staying = "" };
	struct stat status;

	if (strcmp(entry->name, cleaning->staying) == 0)
		return 0;
	if (fstatat(cleaning->staging, entry->name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
		S_ISDIR(status.st_mode) != (entry->type == DT_DIR))
		return entry_wipe(to, entry, NULL);
	if (entry->type != DT_DIR)
		return 0;
	inner_staging = open_beneath(cleaning->staging, entry->name, O_PATH | O_DIRECTORY, 0);
	inner_to = open_beneath(to, entry->name, O_PATH | O_DIRECTORY, 0);
	if (inner_staging < 0 || inner_to < 0)
		return inner_staging < 0 ? inner_staging : inner_to;
	inner.staging = inner_staging;
	return directory_for_each(inner_to, absent_remove, &inner);
}

static int commit_plain(int own, int staging, const char *name)
{
	struct cleaning cleaning = { .staging = staging, .staying = name };
	struct moving moving = { .to = own };
	int r = directory_for_each(own, absent_remove, &cleaning);

	if (r >= 0)
		r = directory_for_each(staging, entry_move, &moving);
	return r < 0 ? r : tree_wipe(own, name);
}

int delivery_commit(int own, uint32_t generation, bool is_plain, bool keep_previous)
{
	char name[16];
	AUTO_FD staging = -1;
	int r;

	generation_name(name, generation);
	staging = open_beneath(own, name, O_PATH | O_DIRECTORY, 0);
	if (staging < 0)
		return staging;
	if (is_plain)
		return commit_plain(own, staging, name);
	r = directory_for_each(staging, link_make, &own);
	return r < 0 ? r : commit_atomic(own, staging, name, keep_previous);
}

int delivery_clean(int own, uint32_t generation)
{
	char name[16];
	AUTO_FD staging = -1;

	generation_name(name, generation);
	staging = open_beneath(own, name, O_PATH | O_DIRECTORY, 0);
	return staging < 0 ? staging : clean(own, staging, name);
}
