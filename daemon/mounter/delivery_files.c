#include "daemon/mounter/delivery_files.h"

#include "daemon/mounter/file_wipe.h"
#include "daemon/mounter/kernel/kernel_calls.h"
#include "proto/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

/* What lies in a tmpfs, beside the files that readers see. Nothing that a container could hold open is
 * removed: the kernel does not let a file system become read-only while somebody holds a removed file
 * or directory, were it only by O_PATH. So former generations are emptied; their directories are used
 * again, their files are not, and wait until inodes become rare.
 *
 *   ..data       link to the present generation, ..a or ..b in turn (atomic layout)
 *   ..data_next  link to the other one
 *   ..view       what readers see (plain layout): the root of every mount that leaves the arena
 *   ..<number>   a generation that is being made
 *   ..old<n>     a former generation that may still be read
 *   ..older<n>   one that is emptied by the next cleaning
 *   ..spare<n>   an emptied one: its directory is the next one's
 *   ..dead       emptied files, and what has no place in the generation that was made of a spare one */
#define DATA_LINK     "..data"
#define DATA_NEXT     "..data_next"
#define GENERATION_A  "..a"
#define GENERATION_B  "..b"
#define OLD	      "..old"
#define OLDER	      "..older"
#define SPARE	      "..spare"
#define SPARES	      8
#define DEAD	      "..dead"
#define DESCRIPTION   ".mayfly.json"
#define OWN_NAME_SIZE 24

static void generation_name(char name[OWN_NAME_SIZE], uint32_t generation)
{
	(void)snprintf(name, OWN_NAME_SIZE, "..%u", generation);
}

static bool is_own_name(const char *name)
{
	return name[0] == '.' && name[1] == '.';
}

/* Opens the directory NAME below DIRECTORY, made with mode 0755 if it is not there. */
static int directory_open_making(int directory, const char *name)
{
	if (mkdirat(directory, name, 0755) != 0 && errno != EEXIST)
		return -errno;
	return open_beneath(directory, name, O_PATH | O_DIRECTORY, 0);
}

int delivery_view_open(int own)
{
	const int view = open_beneath(own, DELIVERY_VIEW, O_PATH | O_DIRECTORY, 0);

	return view == -ENOENT ? open_beneath(own, ".", O_PATH | O_DIRECTORY, 0) : view;
}

/* --- making --- */

/* Takes NAME out of DIRECTORY: into ..dead, under its inode's number. */
static int put_aside(int own, int directory, const char *name)
{
	AUTO_FD dead = directory_open_making(own, DEAD);
	char place[OWN_NAME_SIZE];
	struct stat status;

	if (dead < 0)
		return dead;
	if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
		return -errno;
	(void)snprintf(place, sizeof place, "%llu", (unsigned long long)status.st_ino);
	return renameat2(directory, name, dead, place, RENAME_NOREPLACE) == 0 ? 0 : -errno;
}

struct sifting {
	int own;
	bool has_content; /* something stays */
};

static int sift_directory(int directory, const char *name, struct sifting *sifting);

/* Puts aside what a spare generation has and the one that is made of it does not. */
static int sift(int directory, const struct directory_entry *entry, void *data)
{
	struct sifting *sifting = data;

	if (entry->type == DT_DIR)
		return sift_directory(directory, entry->name, sifting);
	if (is_emptied(directory, entry->name))
		return put_aside(sifting->own, directory, entry->name);
	sifting->has_content = true;
	return 0;
}

static int sift_directory(int directory, const char *name, struct sifting *sifting)
{
	struct sifting inner = { .own = sifting->own };
	AUTO_FD opened = open_beneath(directory, name, O_PATH | O_DIRECTORY, 0);
	int r = opened < 0 ? opened : directory_for_each(opened, sift, &inner);

	if (r < 0)
		return r;
	sifting->has_content |= inner.has_content;
	return inner.has_content ? 0 : put_aside(sifting->own, directory, name);
}

/* Puts the emptied file or directory NAME aside; -EEXIST when it has content. */
static int make_way(int own, int directory, const char *name)
{
	struct sifting sifting = { .own = own };
	int r;

	if (is_emptied(directory, name))
		return put_aside(own, directory, name);
	r = sift_directory(directory, name, &sifting);
	if (r == -ENOTDIR)
		return -EEXIST;
	return r == 0 && sifting.has_content ? -EEXIST : r;
}

/* Opens the directory of GENERATION, made of an emptied one if there is one. */
static int staging_open(int own, uint32_t generation)
{
	char name[OWN_NAME_SIZE], spare[OWN_NAME_SIZE];
	const int there = (generation_name(name, generation),
		open_beneath(own, name, O_PATH | O_DIRECTORY, 0));

	if (there != -ENOENT)
		return there;
	for (unsigned i = 0; i < SPARES; i++) {
		(void)snprintf(spare, sizeof spare, SPARE "%u", i);
		if (renameat2(own, spare, own, name, RENAME_NOREPLACE) == 0)
			break;
	}
	return directory_open_making(own, name);
}

/* Opens the directory that will hold PATH below DIRECTORY; *RET_LEAF is where the last part begins.
 * An emptied file of a spare generation that stands in the way is put aside. */
static int parent_open_making(int own, int directory, const char *path, const char **ret_leaf)
{
	AUTO_FD parent = open_beneath(directory, ".", O_PATH | O_DIRECTORY, 0);
	char part[MAYFLY_FILE_PATH_SIZE];
	const char *slash;

	while (parent >= 0 && (slash = strchr(path, '/'))) {
		int next;

		memcpy(part, path, (size_t)(slash - path));
		part[slash - path] = '\0';
		next = directory_open_making(parent, part);
		if (next == -ENOTDIR && is_emptied(parent, part) &&
			put_aside(own, parent, part) == 0)
			next = directory_open_making(parent, part);
		(void)close(parent);
		parent = next;
		path = slash + 1;
	}
	*ret_leaf = path;
	return fd_take(&parent);
}

/* Opens LEAF, a new file, for writing. Never one that was emptied: whoever has held that open since would
 * read what it is filled with, long after he was allowed to. */
static int file_open_making(int own, int parent, const char *leaf)
{
	int file = open_beneath(parent, leaf, O_WRONLY | O_CREAT | O_EXCL, 0600);
	int r;

	if (file != -EEXIST)
		return file;
	r = make_way(own, parent, leaf);
	return r < 0 ? r : open_beneath(parent, leaf, O_WRONLY | O_CREAT | O_EXCL, 0600);
}

int delivery_file_make(int own, const struct mounter_request *request)
{
	const char *leaf;
	AUTO_FD staging = staging_open(own, request->generation);
	AUTO_FD parent = -1;
	AUTO_FD file = -1;

	if (staging < 0)
		return staging;
	parent = parent_open_making(own, staging, request->name, &leaf);
	if (parent < 0)
		return parent;
	file = file_open_making(own, parent, leaf);
	if (file < 0)
		return file;
	if (fallocate(file, 0, 0, (off_t)request->size_bytes) != 0)
		return -errno;
	/* The mode first: without CAP_FOWNER only an owner may set it. */
	if (fchmod(file, request->mode) != 0 || fchown(file, request->uid, request->gid) != 0)
		return -errno;
	return fd_take(&file);
}

/* --- putting in place --- */

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

/* The name of the generation that ..data leads to; "" before the first. */
static int present_name(int own, char name[OWN_NAME_SIZE])
{
	const ssize_t length = readlinkat(own, DATA_LINK, name, OWN_NAME_SIZE - 1);

	if (length < 0 && errno != ENOENT)
		return -errno;
	name[length < 0 ? 0 : length] = '\0';
	return 0;
}

/* Its number may come again: whoever had given it died before saying so. */
static int retire(int own, const char *name, uint32_t generation)
{
	char old[OWN_NAME_SIZE];

	for (unsigned i = 0; i < SPARES; i++) {
		(void)snprintf(old, sizeof old, OLD "%u_%u", generation, i);
		if (renameat2(own, name, own, old, RENAME_NOREPLACE) == 0 || errno == ENOENT)
			return 0;
		if (errno != EEXIST)
			break;
	}
	return -errno;
}

/* Gives the generation STAGING the name that is not in use, and leads ..data there in one rename. */
static int commit_atomic(int own, const char *staging, uint32_t generation)
{
	char present[OWN_NAME_SIZE];
	const char *next;
	int r = present_name(own, present);

	if (r < 0)
		return r;
	next = strcmp(present, GENERATION_A) == 0 ? GENERATION_B : GENERATION_A;
	r = retire(own, next, generation);
	if (r < 0)
		return r;
	if (renameat2(own, staging, own, next, RENAME_NOREPLACE) != 0)
		return -errno;
	if (present[0] == '\0')
		return symlinkat(next, own, DATA_LINK) == 0 ? 0 : -errno;
	/* It leads to NEXT already when it is there: both links were made so, and change places. */
	if (symlinkat(next, own, DATA_NEXT) != 0 && errno != EEXIST)
		return -errno;
	return renameat2(own, DATA_NEXT, own, DATA_LINK, RENAME_EXCHANGE) == 0 ? 0 : -errno;
}

struct moving {
	int own;
	int other; /* the directory on the other side */
};

/* Moves one entry of a generation to the same place among what readers see. What stood there comes back
 * in exchange: at no moment is the name without a file. */
static int entry_move(int from, const struct directory_entry *entry, void *data)
{
	const struct moving *moving = data;
	AUTO_FD inner_from = -1;
	AUTO_FD inner_to = -1;
	struct moving inner = { .own = moving->own };

	if (is_own_name(entry->name))
		return 0;
	if (entry->type != DT_DIR) {
		if (renameat2(from, entry->name, moving->other, entry->name, RENAME_EXCHANGE) == 0)
			return 0;
		if (errno != ENOENT)
			return -errno;
		return renameat2(from, entry->name, moving->other, entry->name, 0) == 0 ? 0
											: -errno;
	}
	inner_from = open_beneath(from, entry->name, O_PATH | O_DIRECTORY, 0);
	inner_to = directory_open_making(moving->other, entry->name);
	if (inner_from < 0 || inner_to < 0)
		return inner_from < 0 ? inner_from : inner_to;
	inner.other = inner_to;
	return directory_for_each(inner_from, entry_move, &inner);
}

/* Puts aside what readers see and the generation to come does not have. */
static int absent_move(int view, const struct directory_entry *entry, void *data)
{
	const struct moving *moving = data;
	AUTO_FD inner_view = -1;
	AUTO_FD inner_staging = -1;
	struct moving inner = { .own = moving->own };
	struct stat status;

	if (is_own_name(entry->name))
		return 0;
	if (fstatat(moving->other, entry->name, &status, AT_SYMLINK_NOFOLLOW) != 0 ||
		S_ISDIR(status.st_mode) != (entry->type == DT_DIR))
		return put_aside(moving->own, view, entry->name);
	if (entry->type != DT_DIR)
		return 0;
	inner_staging = open_beneath(moving->other, entry->name, O_PATH | O_DIRECTORY, 0);
	inner_view = open_beneath(view, entry->name, O_PATH | O_DIRECTORY, 0);
	if (inner_view < 0 || inner_staging < 0)
		return inner_view < 0 ? inner_view : inner_staging;
	inner.other = inner_staging;
	return directory_for_each(inner_view, absent_move, &inner);
}

static int commit_plain(int own, int staging)
{
	AUTO_FD view = delivery_view_open(own);
	struct moving from_view = { .own = own, .other = staging };
	struct moving to_view = { .own = own, .other = view };
	int r = view < 0 ? view : directory_for_each(view, absent_move, &from_view);

	return r < 0 ? r : directory_for_each(staging, entry_move, &to_view);
}

int delivery_commit(int own, uint32_t generation, bool is_plain, bool keep_previous)
{
	char name[OWN_NAME_SIZE];
	struct sifting sifting = { .own = own };
	AUTO_FD staging = -1;
	int r;

	generation_name(name, generation);
	staging = open_beneath(own, name, O_PATH | O_DIRECTORY, 0);
	r = staging < 0 ? staging : directory_for_each(staging, sift, &sifting);
	if (r == 0 && is_plain)
		r = commit_plain(own, staging);
	if (r == 0 && is_plain)
		r = retire(own, name, generation);
	if (r == 0 && !is_plain)
		r = directory_for_each(staging, link_make, &own);
	if (r == 0 && !is_plain)
		r = commit_atomic(own, name, generation);
	return r < 0 || keep_previous ? r : delivery_clean(own, false);
}

/* --- emptying --- */

struct cleaning {
	char present[OWN_NAME_SIZE]; /* the generation that stays; "" in the plain layout */
	int staying;		     /* its directory, -1 */
	bool keeps_younger;
};

static bool begins_with(const char *name, const char *start)
{
	return strncmp(name, start, strlen(start)) == 0;
}

/* Gives NAME the first free name that begins with START, if there is one. */
static void rename_free(int own, const char *name, const char *start, unsigned count)
{
	char free_name[OWN_NAME_SIZE];

	for (unsigned i = 0; i < count; i++) {
		(void)snprintf(free_name, sizeof free_name, "%s%u", start, i);
		if (renameat2(own, name, own, free_name, RENAME_NOREPLACE) == 0 || errno != EEXIST)
			return;
	}
}

/* A generation that has been readable, and is not the present one. */
static bool is_former(const struct cleaning *cleaning, const char *name)
{
	return strcmp(name, cleaning->present) != 0 &&
	       (strcmp(name, GENERATION_A) == 0 || strcmp(name, GENERATION_B) == 0 ||
		       (begins_with(name, OLD) && !begins_with(name, OLDER)));
}

static int directory_clean(int own, const char *name, const struct cleaning *cleaning)
{
	int r;

	if (!is_own_name(name) || strcmp(name, cleaning->present) == 0 ||
		strcmp(name, DELIVERY_VIEW) == 0 || begins_with(name, SPARE) ||
		(cleaning->keeps_younger && is_former(cleaning, name)))
		return 0;
	r = tree_empty(own, name);
	if (r < 0 || strcmp(name, DEAD) == 0)
		return r;
	rename_free(own, name, SPARE, SPARES);
	return 0;
}

/* Empties older generations, and removes links that lead nowhere in the one that stays. */
static int entry_clean(int own, const struct directory_entry *entry, void *data)
{
	const struct cleaning *cleaning = data;
	struct stat status;

	if (entry->type == DT_DIR)
		return directory_clean(own, entry->name, cleaning);
	if (entry->type != DT_LNK || is_own_name(entry->name) || cleaning->staying < 0 ||
		fstatat(cleaning->staying, entry->name, &status, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	return unlinkat(own, entry->name, 0) == 0 ? 0 : -errno;
}

static int entry_grow_older(int own, const struct directory_entry *entry, void *data)
{
	if (entry->type == DT_DIR && is_former(data, entry->name))
		rename_free(own, entry->name, OLDER, UINT16_MAX);
	return 0;
}

static bool is_short_of_inodes(int own)
{
	struct statfs status;

	return fstatfs(own, &status) == 0 && status.f_ffree < status.f_files / 2;
}

/* Removes what nobody has open. Directories stay, and what somebody has: should it be by O_PATH, which
 * cannot be seen, the delivery may end for lack of a seal. Nothing but a hostile holder does that. */
static int entry_bury(int dead, const struct directory_entry *entry, void *data)
{
	(void)data;
	if (entry->type == DT_REG && is_unopened(dead, entry->name))
		(void)unlinkat(dead, entry->name, 0);
	return 0;
}

static int bury_dead(int own)
{
	AUTO_FD dead = open_beneath(own, DEAD, O_PATH | O_DIRECTORY, 0);

	return dead < 0 ? 0 : directory_for_each(dead, entry_bury, NULL);
}

int delivery_clean(int own, bool keep_younger)
{
	struct cleaning cleaning = { .staying = -1, .keeps_younger = keep_younger };
	int r = present_name(own, cleaning.present);

	if (r == 0 && cleaning.present[0])
		r = cleaning.staying = open_beneath(own, cleaning.present, O_PATH | O_DIRECTORY, 0);
	if (r >= 0)
		r = directory_for_each(own, entry_clean, &cleaning);
	if (r >= 0 && keep_younger)
		r = directory_for_each(own, entry_grow_older, &cleaning);
	if (r >= 0 && is_short_of_inodes(own))
		r = bury_dead(own);
	fd_close_p(&cleaning.staying);
	return r < 0 ? r : 0;
}

/* Where readers find the files of the present generation. */
static int present_open(int own)
{
	char present[OWN_NAME_SIZE];
	const int r = present_name(own, present);

	if (r < 0)
		return r;
	return present[0] ? open_beneath(own, present, O_PATH | O_DIRECTORY, 0)
			  : delivery_view_open(own);
}

static int parent_open(int directory, const char *path, const char **ret_leaf)
{
	const char *slash = strrchr(path, '/');
	char parent[MAYFLY_FILE_PATH_SIZE] = ".";

	*ret_leaf = slash ? slash + 1 : path;
	if (slash)
		(void)snprintf(parent, sizeof parent, "%.*s", (int)(slash - path), path);
	return open_beneath(directory, parent, O_PATH | O_DIRECTORY, 0);
}

int delivery_take(int own, const char *path)
{
	const char *leaf = path;
	AUTO_FD present = present_open(own);
	AUTO_FD parent = present < 0 ? present : parent_open(present, path, &leaf);
	int r = parent < 0 ? parent : file_empty(parent, leaf);

	if (r == 0)
		r = put_aside(own, parent, leaf);
	return r < 0 && r != -ENOENT ? r : delivery_clean(own, false);
}

static int entry_wipe_own(int own, const struct directory_entry *entry, void *data)
{
	AUTO_FD view = -1;

	if (strcmp(entry->name, DELIVERY_VIEW) != 0)
		return entry_wipe(own, entry, data);
	/* The root of the container's mount stays: it is an empty directory, not a dead one. */
	view = open_beneath(own, DELIVERY_VIEW, O_PATH | O_DIRECTORY, 0);
	return view < 0 ? view : directory_for_each(view, entry_wipe, NULL);
}

int delivery_wipe(int own)
{
	return directory_for_each(own, entry_wipe_own, NULL);
}
