/* The one rule by which a path becomes a descriptor: it is resolved below a root, which is itself a
 * descriptor, and no symbolic link and no ".." leads out of it. A root is the engine's (the host's
 * "/", or what the broker sent for an engine in another mount namespace) or a container's.
 * Never opens anything but regular files and directories for reading: opening a device or a FIFO
 * that an image brings along would already act on the host. */
#pragma once

#include "proto/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

/* Which file this was, and in which state. Two equal marks: nothing to read again. */
struct file_mark {
	uint64_t device, inode, size;
	int64_t modified_ns, changed_ns;
};

struct file_bytes {
	char *bytes; /* owned, ends in a NUL that LENGTH does not count */
	size_t length;
	struct file_mark mark;
};

enum root_scope {
	ROOT_ALL_MOUNTS, /* the engine's directory may lie on several file systems */
	ROOT_ONE_MOUNT,	 /* a container's root is one mount; whatever is mounted below is not it */
};

/* Opens PATH below ROOT with O_PATH; what it names may be of any kind. A symbolic link at the end
 * is followed. Returns a descriptor that the caller owns, or a negative errno. Does not block on
 * what it opens. Source: openat2(2), RESOLVE_IN_ROOT, kernel 5.6. */
int root_open_path(int root, const char *path, enum root_scope scope);

/* As root_open_path(), but a symbolic link at the end is opened itself and one before the end is
 * -ELOOP: for a path whose parts are known to be none. */
int root_open_unfollowed(int root, const char *path, enum root_scope scope);

/* Opens the directory PATH below ROOT for reading. Returns a descriptor or a negative errno. */
int root_open_directory(int root, const char *path);

/* What is at PATH below ROOT. Returns 0 or a negative errno. */
int root_stat(int root, const char *path, struct stat *ret_status);

struct file_mark file_mark_of(const struct stat *status);
bool file_mark_equal(const struct file_mark *a, const struct file_mark *b);

/* The version of the cgroup tree below ROOT, by the rule that engines and runtimes go by: 2 when
 * /sys/fs/cgroup itself is of version 2, else 1; 0 when it cannot be told. */
int root_cgroup_version(int root);

/* The mark of the file at PATH below ROOT. Returns 0 or a negative errno. */
int root_mark(int root, const char *path, struct file_mark *ret_mark);

/* Reads the regular file PATH below ROOT, at most LIMIT bytes, into *RET_FILE, whose bytes the
 * caller frees. Returns 0; -EFBIG when it is larger; -EINVAL when it is no regular file; another
 * negative errno. Sets ERR without naming PATH. */
int root_read_file(int root, const char *path, enum root_scope scope, size_t limit,
	struct file_bytes *ret_file, struct mayfly_error *err);

void file_bytes_done(struct file_bytes *file);
