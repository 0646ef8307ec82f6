/* One file of ROOT/etc/mayfly that the command line edits: read whole, replaced atomically, put
 * back if the broker refuses what came of it. A lock on its directory keeps two edits apart.
 * Knows nothing of what the file says. */
#pragma once

#include "proto/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct edited_file {
	int directory;	/* locked until edited_file_done() */
	char *name;	/* in the directory */
	char *path;	/* for people */
	char *old_text; /* NULL: there was no file; ends in a NUL */
	size_t old_length;
	mode_t mode; /* of the old file, else 0644 */
	uid_t uid;
	gid_t gid;
};

#define EDITED_FILE_EMPTY ((struct edited_file){ .directory = -1 })

/* No file of ours comes near it. */
#define EDITED_FILE_MAX_BYTES ((size_t)4 * 1024 * 1024)

/* Opens ROOT/FOLDER ("etc/mayfly/policy.d", made with mode 0755 if MAKE), locks it and reads NAME
 * in it. A file that is not there is no error. Waits 10 s at most for another edit to end.
 * Returns 0; -ENOENT without MAKE if the folder is not there; -ELOOP for a symbolic link; -EACCES
 * with the advice to become root; another negative errno. */
int edited_file_open(const char *root, const char *folder, const char *name, bool make,
	struct edited_file *ret_file, struct mayfly_error *err);

/* Replaces the file by TEXT: a new file, synced, renamed over the old one. */
int edited_file_write(
	struct edited_file *file, const char *text, size_t length, struct mayfly_error *err);

/* Removes the file. */
int edited_file_remove(struct edited_file *file, struct mayfly_error *err);

/* Puts the old text back, or removes the file if there was none. */
int edited_file_restore(struct edited_file *file, struct mayfly_error *err);

void edited_file_done(struct edited_file *file);

/* Reads the open file FD of at most EDITED_FILE_MAX_BYTES; *RET_TEXT ends in a NUL and is freed by
 * the caller. PATH is for the error. */
int file_read_all(
	int fd, const char *path, char **ret_text, size_t *ret_length, struct mayfly_error *err);
