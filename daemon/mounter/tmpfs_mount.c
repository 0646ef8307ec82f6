#include "daemon/mounter/tmpfs_mount.h"

#include "daemon/mounter/arena.h"
#include "daemon/mounter/delivery_files.h"
#include "daemon/mounter/kernel/kernel_calls.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MARK_NAME "trusted.mayfly"

#define TMPFS_ATTRIBUTES (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

/* More than the header line of /proc/swaps means that something can be swapped out. */
static bool swap_is_active(int proc)
{
	AUTO_FD swaps = open_proc(proc, "swaps", O_RDONLY);
	char text[512];
	const ssize_t length = swaps < 0 ? -1 : read(swaps, text, sizeof text - 1);
	const char *end;

	if (length < 0)
		return true;
	text[length] = '\0';
	end = strchr(text, '\n');
	return end && end[1] != '\0';
}

static int configure(
	const struct mounter *mounter, int context, uint64_t size_bytes, uint32_t inodes)
{
	char size[24], count[24];
	int r;

	(void)snprintf(size, sizeof size, "%llu", (unsigned long long)size_bytes);
	(void)snprintf(count, sizeof count, "%u", inodes);
	r = fs_set_string(context, "size", size);
	if (r >= 0)
		r = fs_set_string(context, "nr_inodes", count);
	if (r >= 0)
		r = fs_set_string(context, "mode", "0755");
	if (r >= 0 && mounter->has.noswap)
		r = fs_set_flag(context, "noswap");
	else if (r >= 0 && swap_is_active(mounter->proc))
		r = -EOPNOTSUPP;
	return r < 0 ? r : fs_create(context);
}

/* A kernel that keeps no extended attributes on a tmpfs lets none be found again in a container. */
static int set_mark(int own, const char *name)
{
	AUTO_FD root = open_in_root(own, ".", O_RDONLY | O_DIRECTORY);

	if (root < 0)
		return root;
	return fsetxattr(root, MARK_NAME, name, strlen(name), XATTR_CREATE) == 0 ||
			       errno == EOPNOTSUPP
		       ? 0
		       : -errno;
}

bool tmpfs_is_delivery(int directory, const char *name)
{
	char found[DELIVERY_HEX_SIZE];
	struct statfs status;

	return fstatfs(directory, &status) == 0 && status.f_type == TMPFS_MAGIC &&
	       fgetxattr(directory, MARK_NAME, found, sizeof found) == (ssize_t)strlen(name) &&
	       memcmp(found, name, strlen(name)) == 0;
}

static int view_make(int own, const char *name)
{
	AUTO_FD view = -1;

	if (mkdirat(own, DELIVERY_VIEW, 0755) != 0)
		return -errno;
	view = open_beneath(own, DELIVERY_VIEW, O_PATH | O_DIRECTORY, 0);
	return view < 0 ? view : set_mark(view, name);
}

int tmpfs_make(const struct mounter *mounter, const char *name, uint64_t size_bytes,
	uint32_t inodes, bool has_view)
{
	AUTO_FD context = fs_open("tmpfs");
	AUTO_FD own = -1;
	int r = context;

	if (r >= 0)
		r = configure(mounter, context, size_bytes, inodes);
	if (r < 0)
		return r;
	own = fs_mount(context, TMPFS_ATTRIBUTES);
	if (own < 0)
		return own;
	r = set_mark(own, name);
	if (r == 0 && has_view)
		r = view_make(own, name);
	if (r == 0)
		r = arena_attach(mounter, name, own);
	return r < 0 ? r : fd_take(&own);
}

int tmpfs_clone_read_only(int own)
{
	AUTO_FD clone = mount_clone(own);
	int r = clone;

	if (r >= 0)
		r = mount_set_read_only(clone, true);
	return r < 0 ? r : fd_take(&clone);
}

/* The volumes directory as only we see it: its attached mount, and all copies of that, are
 * read-only. Safe because the clone is in no mount table. */
static int volumes_writable(int volumes)
{
	AUTO_FD clone = mount_clone(volumes);
	const int r = clone < 0 ? clone : mount_set_read_only(clone, false);

	return r < 0 ? r : fd_take(&clone);
}

int host_path_remove(int volumes, const char *name)
{
	AUTO_FD writable = volumes_writable(volumes);

	if (writable < 0)
		return writable;
	return unlinkat(writable, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : -errno;
}

int host_path_attach(int clone, int volumes, const char *name)
{
	AUTO_FD writable = volumes_writable(volumes);
	AUTO_FD place = -1;

	/* Safe because NAME is 64 hex digits below a directory that only root can enter, and is
	 * opened without following anything: a link that somebody planted there is refused. */
	if (writable < 0)
		return writable;
	if (mkdirat(writable, name, 0700) != 0 && errno != EEXIST)
		return -errno;
	place = open_beneath(volumes, name, O_PATH | O_DIRECTORY, 0);
	return place < 0 ? place : mount_attach(clone, place);
}

int host_path_detach(int volumes, const char *name)
{
	/* umount2 knows no directory descriptor: the working directory stands in for it. */
	if (fchdir(volumes) != 0)
		return -errno;
	if (umount2(name, MNT_DETACH | UMOUNT_NOFOLLOW) != 0 && errno != EINVAL && errno != ENOENT)
		return -errno;
	return 0;
}

static int mount_volumes_on(int place)
{
	AUTO_FD context = fs_open("tmpfs");
	AUTO_FD mount = -1;
	int r = context;

	if (r >= 0)
		r = fs_set_string(context, "mode", "0700");
	if (r >= 0)
		r = fs_create(context);
	if (r >= 0)
		r = mount = fs_mount(context, TMPFS_ATTRIBUTES | MOUNT_ATTR_RDONLY);
	return r < 0 ? r : mount_attach(mount, place);
}

/* Opens PATH, an absolute one, component by component, and makes what is missing. */
static int open_making(const char *path)
{
	AUTO_FD directory = open_absolute("/", O_PATH | O_DIRECTORY);
	char component[256];

	while (directory >= 0 && *(path += strspn(path, "/"))) {
		const size_t length = strcspn(path, "/");
		int next;

		if (length >= sizeof component)
			return -ENAMETOOLONG;
		memcpy(component, path, length);
		component[length] = '\0';
		path += length;
		if (mkdirat(directory, component, 0755) != 0 && errno != EEXIST)
			return -errno;
		next = open_in_root(directory, component, O_PATH | O_DIRECTORY);
		(void)close(directory);
		directory = next;
	}
	return fd_take(&directory);
}

int volumes_open_here(const char *path)
{
	AUTO_FD volumes = open_making(path);
	struct statfs status;
	struct mount_facts facts;
	int r;

	if (volumes < 0)
		return volumes;
	r = mount_facts_get(volumes, &facts);
	if (r < 0)
		return r;
	if (fstatfs(volumes, &status) != 0)
		return -errno;
	if (!facts.is_mount_root || status.f_type != TMPFS_MAGIC) {
		r = mount_volumes_on(volumes);
		if (r < 0)
			return r;
		(void)close(fd_take(&volumes));
		volumes = open_making(path);
	}
	return fd_take(&volumes);
}
