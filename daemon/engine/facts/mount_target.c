#include "daemon/engine/facts/mount_target.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

struct walk {
	int root;
	enum root_scope scope;
	char done[PATH_MAX]; /* resolved, without a leading "/", free of links */
	size_t done_length;
	char left[PATH_MAX]; /* not yet looked at */
	unsigned links, parts;
};

/* Takes the first part of what is left, without the slashes around it. Returns its length. */
static size_t take_part(struct walk *walk, char part[NAME_MAX + 1])
{
	const size_t slashes = strspn(walk->left, "/");
	const size_t length = strcspn(walk->left + slashes, "/");
	const char *rest = walk->left + slashes + length;

	if (length <= NAME_MAX) {
		memcpy(part, walk->left + slashes, length);
		part[length] = '\0';
	}
	memmove(walk->left, rest, strlen(rest) + 1);
	return length;
}

static void go_up(struct walk *walk)
{
	const char *slash = memrchr(walk->done, '/', walk->done_length);

	walk->done_length = slash ? (size_t)(slash - walk->done) : 0;
	walk->done[walk->done_length] = '\0';
}

static int append(struct walk *walk, const char *part, size_t length)
{
	const size_t slash = walk->done_length > 0 ? 1 : 0;

	if (walk->done_length + slash + length >= sizeof walk->done)
		return -ENAMETOOLONG;
	if (slash)
		walk->done[walk->done_length++] = '/';
	memcpy(walk->done + walk->done_length, part, length + 1);
	walk->done_length += length;
	return 0;
}

/* Puts the text of the link LINK before what is left. */
static int follow(struct walk *walk, int link)
{
	char text[PATH_MAX];
	const ssize_t length = readlinkat(link, "", text, sizeof text);
	const size_t left = strlen(walk->left) + 1;

	if (length < 0)
		return -errno;
	if (++walk->links > MOUNT_TARGET_LINKS_MAX)
		return -ELOOP;
	if ((size_t)length + 1 + left > sizeof walk->left)
		return -ENAMETOOLONG;
	memmove(walk->left + length + 1, walk->left, left);
	memcpy(walk->left, text, (size_t)length);
	walk->left[length] = '/';
	go_up(walk);
	if (text[0] == '/') {
		walk->done_length = 0;
		walk->done[0] = '\0';
	}
	return 0;
}

static bool is_missing(int error)
{
	/* EACCES: root without capabilities may not search a directory that another user closed. */
	return error == -ENOENT || error == -ENOTDIR || error == -EACCES;
}

static int enter(struct walk *walk, const char *part, size_t length)
{
	AUTO_FD fd = -1;
	struct stat status;
	const int r = append(walk, part, length);

	if (r < 0 || walk->root < 0)
		return r;
	fd = root_open_unfollowed(walk->root, walk->done, walk->scope);
	if (fd < 0)
		return is_missing(fd) ? 0 : fd;
	if (fstat(fd, &status) != 0)
		return -errno;
	return S_ISLNK(status.st_mode) ? follow(walk, fd) : 0;
}

static int step(struct walk *walk)
{
	char part[NAME_MAX + 1];
	const size_t length = take_part(walk, part);

	if (length > NAME_MAX || ++walk->parts > MOUNT_TARGET_PARTS_MAX)
		return -ENAMETOOLONG;
	if (length == 0 || strcmp(part, ".") == 0)
		return 0;
	if (strcmp(part, "..") == 0) {
		go_up(walk);
		return 0;
	}
	return enter(walk, part, length);
}

int mount_target_resolve(int root, enum root_scope scope, const char *path, char *buffer,
	size_t size, struct mayfly_error *err)
{
	struct walk walk = { .root = root, .scope = scope };
	int r = 0;

	if (strlen(path) >= sizeof walk.left)
		return error_errno(err, -ENAMETOOLONG, "resolve a mount's target");
	memcpy(walk.left, path, strlen(path) + 1);
	while (walk.left[0] != '\0' && r == 0)
		r = step(&walk);
	if (r == 0 && walk.done_length >= size)
		r = -ENAMETOOLONG;
	if (r < 0)
		return error_errno(err, r, "resolve a mount's target");
	memcpy(buffer, walk.done, walk.done_length + 1);
	return 0;
}
