/* The files of one generation, by the directory that `..data` leads to. */
#include "client/lib/value_file.h"
#include "client/lib/wire/cleanup.h"
#include "client/lib/wire/failure.h"
#include "include/mayfly/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DATA_LINK "..data"

struct mayfly_generation {
	int target;    /* the delivery's directory */
	int directory; /* of this generation; the target itself without one */
	bool is_atomic;
};

/* Opens NAME below DIRECTORY, without right to read it: a descriptor to open more by. */
static int open_directory(int directory, const char *name)
{
	const int fd = openat(directory, name, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static enum mayfly_status fail_open(int error, const char *path, struct mayfly_failure *failure)
{
	const enum mayfly_status status = error == -ENOENT || error == -ENOTDIR ? MAYFLY_NO_FILE
					  : error == -EMFILE || error == -ENFILE || error == -ENOMEM
						  ? MAYFLY_FAILED
						  : MAYFLY_NOT_READABLE;

	return failure_errno(failure, status, -error, "open '%s'", path);
}

static enum mayfly_status open_parts(
	struct mayfly_generation *generation, const char *path, struct mayfly_failure *failure)
{
	generation->target = open_directory(AT_FDCWD, path);
	if (generation->target < 0)
		return fail_open(generation->target, path, failure);
	generation->directory = open_directory(generation->target, DATA_LINK);
	generation->is_atomic = generation->directory != -ENOENT;
	if (!generation->is_atomic)
		generation->directory = open_directory(generation->target, ".");
	return generation->directory < 0 ? fail_open(generation->directory, path, failure)
					 : MAYFLY_OK;
}

enum mayfly_status mayfly_generation_open(const char *directory,
	struct mayfly_generation **ret_generation, struct mayfly_failure *failure)
{
	struct mayfly_generation *generation;
	enum mayfly_status status;

	if (!directory || !directory[0])
		return failure_set(failure, MAYFLY_INVALID_ARGUMENT, "a directory has a path");
	generation = calloc(1, sizeof *generation);
	if (!generation)
		return failure_no_memory(failure);
	generation->target = generation->directory = -1;
	status = open_parts(generation, directory, failure);
	if (status != MAYFLY_OK) {
		mayfly_generation_close(generation);
		return status;
	}
	*ret_generation = generation;
	return MAYFLY_OK;
}

bool mayfly_generation_is_atomic(const struct mayfly_generation *generation)
{
	return generation->is_atomic;
}

/* True for "a", "keys/api": nothing that leads out of the directory. */
static bool is_inside(const char *name)
{
	if (!name || !name[0] || strlen(name) >= MAYFLY_FILE_PATH_SIZE)
		return false;
	for (;; name++) {
		const size_t part = strcspn(name, "/");

		if (part == 0 || (part == 1 && name[0] == '.') ||
			(part == 2 && memcmp(name, "..", 2) == 0))
			return false;
		name += part;
		if (!*name)
			return true;
	}
}

/* True if the delivery has another generation by now, or none at all. */
static bool is_replaced(const struct mayfly_generation *generation)
{
	struct stat own, present;

	return generation->is_atomic && fstat(generation->directory, &own) == 0 &&
	       (fstatat(generation->target, DATA_LINK, &present, 0) != 0 ||
		       own.st_ino != present.st_ino || own.st_dev != present.st_dev);
}

enum mayfly_status mayfly_generation_read(const struct mayfly_generation *generation,
	const char *name, unsigned flags, struct mayfly_value **ret_value,
	struct mayfly_failure *failure)
{
	enum mayfly_status status;

	if (!is_inside(name))
		return failure_set(failure, MAYFLY_INVALID_ARGUMENT,
			"a file's name is a relative path below %d bytes, without \".\" and \"..\"",
			MAYFLY_FILE_PATH_SIZE);
	/* Inside a generation everything is a file or a directory; beside one there are links to
	 * it. */
	status = value_file_read(generation->directory, name,
		generation->is_atomic ? O_NOFOLLOW : 0, name, flags, ret_value, failure);
	/* Taking a generation away begins with its files' owners. */
	if ((status == MAYFLY_NO_FILE || status == MAYFLY_NOT_READABLE) && is_replaced(generation))
		return failure_set(
			failure, MAYFLY_ENDED, "read '%s': its generation has been replaced", name);
	return status;
}

void mayfly_generation_close(struct mayfly_generation *generation)
{
	if (!generation)
		return;
	fd_close_p(&generation->target);
	fd_close_p(&generation->directory);
	free(generation);
}
