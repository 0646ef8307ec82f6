#include "daemon/mounter/arena.h"

#include "daemon/mounter/deliveries.h"
#include "daemon/mounter/guard_marks.h"
#include "daemon/mounter/kernel/kernel_calls.h"
#include "daemon/mounter/tmpfs_mount.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>

/* Safe because the copy of the host's mounts is private before it is touched, and is let go as a
 * whole: the arena neither sees a file of the host nor keeps one of its file systems busy. */
static int make_namespace(struct mayfly_error *err)
{
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return error_errno(err, -errno, "make a mount namespace");
	/* pivot_root wants a mount; any directory of the copy can carry it. */
	if (mount("mayfly-arena", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		    "mode=0700") != 0 ||
		chdir("/proc") != 0)
		return error_errno(err, -errno, "mount the arena");
	if (syscall(SYS_pivot_root, ".", ".") != 0 || umount2(".", MNT_DETACH) != 0 ||
		chdir("/") != 0)
		return error_errno(err, -errno, "let go of the host's file systems");
	return 0;
}

static bool is_mount_namespace(int fd)
{
	return ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNS;
}

static bool tmpfs_knows_noswap(void)
{
	AUTO_FD context = fs_open("tmpfs");

	return context >= 0 && fs_set_flag(context, "noswap") == 0 && fs_create(context) == 0;
}

static int find_abilities(struct mounter *mounter, struct mayfly_error *err)
{
	struct mount_facts facts = { 0 };
	const int r = mount_facts_get(mounter->arena, &facts);

	if (r < 0)
		return error_errno(err, r, "look at the arena");
	mounter->has = (struct kernel_abilities){
		.open_guard = mounter->groups_count >= 2 &&
			      guard_probe(mounter->groups[0], mounter->arena) == 0,
		.noswap = tmpfs_knows_noswap(),
		.unique_mount_id = facts.is_unique,
	};
	return 0;
}

int arena_enter(struct mounter *mounter, int namespace, bool *ret_is_new, struct mayfly_error *err)
{
	const bool is_new = !is_mount_namespace(namespace);

	mounter->host_namespace = open_proc_link(mounter->proc, "self/ns/mnt");
	if (mounter->host_namespace < 0)
		return error_errno(err, mounter->host_namespace, "open the host's mount namespace");
	if (is_new) {
		const int r = make_namespace(err);
		if (r < 0)
			return r;
	} else if (setns(namespace, CLONE_NEWNS) != 0) {
		return error_errno(err, -errno, "enter the arena of the mounter before");
	}
	mounter->arena_namespace = open_proc_link(mounter->proc, "self/ns/mnt");
	mounter->arena = open_absolute("/", O_PATH | O_DIRECTORY);
	if (mounter->arena_namespace < 0 || mounter->arena < 0)
		return error_errno(err, -EIO, "open the arena");
	*ret_is_new = is_new;
	return find_abilities(mounter, err);
}

int arena_open(const struct mounter *mounter, const char *name)
{
	AUTO_FD own = open_in_root(mounter->arena, name, O_PATH | O_DIRECTORY);
	struct mount_facts facts;
	int r = own < 0 ? own : mount_facts_get(own, &facts);

	if (r < 0)
		return r;
	return facts.is_mount_root ? fd_take(&own) : -ENOENT;
}

int arena_attach(const struct mounter *mounter, const char *name, int own)
{
	AUTO_FD place = -1;

	if (mkdirat(mounter->arena, name, 0700) != 0 && errno != EEXIST)
		return -errno;
	place = open_beneath(mounter->arena, name, O_PATH | O_DIRECTORY, 0);
	return place < 0 ? place : mount_attach(own, place);
}

void arena_remove(const struct mounter *mounter, const char *name)
{
	if (host_path_detach(mounter->arena, name) == 0)
		/* An empty directory of ours; what stays is used again. */
		(void)unlinkat(mounter->arena, name, AT_REMOVEDIR);
}

struct strays {
	const struct mounter *mounter;
	char (*names)[DELIVERY_HEX_SIZE];
	int count, max;
};

static int note_stray(int directory, const struct directory_entry *entry, void *data)
{
	struct strays *strays = data;
	uint8_t id[DELIVERY_ID_BYTES];

	(void)directory;
	if (strays->count == strays->max || strlen(entry->name) != DELIVERY_HEX_SIZE - 1)
		return 0;
	for (size_t i = 0; i < DELIVERY_ID_BYTES; i++) {
		const char digits[3] = { entry->name[2 * i], entry->name[2 * i + 1], '\0' };

		id[i] = (uint8_t)strtoul(digits, NULL, 16);
	}
	if (!delivery_find(strays->mounter, id))
		memcpy(strays->names[strays->count++], entry->name, DELIVERY_HEX_SIZE);
	return 0;
}

int arena_strays(const struct mounter *mounter, char (*names)[DELIVERY_HEX_SIZE], int max)
{
	struct strays strays = { .mounter = mounter, .names = names, .max = max };
	const int r = directory_for_each(mounter->arena, note_stray, &strays);

	return r < 0 ? r : strays.count;
}

int host_namespace_enter(const struct mounter *mounter)
{
	return setns(mounter->host_namespace, CLONE_NEWNS) == 0 ? 0 : -errno;
}

void host_namespace_leave(const struct mounter *mounter)
{
	/* Nothing may go on in the wrong namespace. The supervisor starts another mounter in the
	 * arena. */
	if (setns(mounter->arena_namespace, CLONE_NEWNS) != 0)
		abort();
}
