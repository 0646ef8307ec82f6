#include "daemon/mounter/kernel/kernel_calls.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Newer than the headers of Debian 12. */
#define MASK_MNT_ID_UNIQUE 0x4000U
#define CALL_STATMOUNT	   457
#define CALL_LISTMOUNT	   458
#define LIST_ROOT	   UINT64_MAX
#define MOUNT_SB_BASIC	   0x1U
#define MOUNT_MNT_POINT	   0x10U

/* <linux/mount.h> of 6.8: struct mnt_id_req and the beginning of struct statmount. */
struct mount_id_request {
	uint32_t size;
	uint32_t spare;
	uint64_t mount_id;
	uint64_t param;
};

struct mount_status {
	uint32_t size;
	uint32_t mount_options;
	uint64_t mask;
	uint32_t device_major;
	uint32_t device_minor;
	uint64_t magic;
	uint32_t superblock_flags;
	uint32_t type_offset;
	uint64_t mount_id;
	uint64_t parent_id;
	uint32_t mount_id_old;
	uint32_t parent_id_old;
	uint64_t attributes;
	uint64_t propagation;
	uint64_t peer_group;
	uint64_t master;
	uint64_t propagate_from;
	uint32_t root_offset;
	uint32_t point_offset;
	uint64_t spare[50];
	char strings[4096];
};

static int result(long r)
{
	return r < 0 ? -errno : (int)r;
}

static int open_resolved(int directory, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	const struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC), .mode = mode, .resolve = resolve
	};

	return result(syscall(SYS_openat2, directory, path, &how, sizeof how));
}

int open_beneath(int directory, const char *path, int flags, mode_t mode)
{
	return open_resolved(directory, path, flags | O_NOFOLLOW, mode,
		RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
}

int open_in_root(int directory, const char *path, int flags)
{
	return open_resolved(directory, path, flags, 0,
		RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
}

int open_component(int directory, const char *name)
{
	return open_beneath(directory, name, O_PATH | O_DIRECTORY, 0);
}

int open_absolute(const char *path, int flags)
{
	return open_resolved(AT_FDCWD, path, flags, 0, RESOLVE_NO_MAGICLINKS);
}

int open_parent(int directory)
{
	return open_resolved(directory, "..", O_PATH | O_DIRECTORY, 0, RESOLVE_NO_MAGICLINKS);
}

int open_proc(int proc, const char *path, int flags)
{
	return open_resolved(proc, path, flags, 0, RESOLVE_BENEATH);
}

int open_proc_link(int proc, const char *path)
{
	return open_resolved(proc, path, O_RDONLY, 0, 0);
}

int fs_open(const char *type)
{
	return result(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
}

int fs_set_string(int context, const char *key, const char *value)
{
	return result(syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, key, value, 0));
}

int fs_set_flag(int context, const char *key)
{
	return result(syscall(SYS_fsconfig, context, FSCONFIG_SET_FLAG, key, NULL, 0));
}

int fs_create(int context)
{
	return result(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
}

int fs_mount(int context, unsigned attributes)
{
	return result(syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes));
}

int superblock_set_read_only(int mount, bool is_read_only)
{
	AUTO_FD context =
		result(syscall(SYS_fspick, mount, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH));
	int r = context;

	if (r >= 0)
		r = fs_set_flag(context, is_read_only ? "ro" : "rw");
	if (r >= 0)
		r = result(syscall(SYS_fsconfig, context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0));
	return r;
}

bool superblock_is_read_only(int mount)
{
	struct statfs status;

	/* The mount that is asked through is writable itself. */
	return fstatfs(mount, &status) == 0 && (status.f_flags & ST_RDONLY);
}

int mount_clone(int mount)
{
	return result(syscall(
		SYS_open_tree, mount, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH));
}

int mount_set_read_only(int mount, bool is_read_only)
{
	const struct mount_attr attributes = {
		.attr_set = is_read_only ? MOUNT_ATTR_RDONLY : 0,
		.attr_clr = is_read_only ? 0 : MOUNT_ATTR_RDONLY,
	};

	return result(syscall(
		SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attributes, sizeof attributes));
}

int mount_attach(int mount, int target)
{
	return result(syscall(SYS_move_mount, mount, "", target, "",
		MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

int mount_facts_get(int directory, struct mount_facts *ret_facts)
{
	struct statx status = { 0 };

	if (statx(directory, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
		    STATX_BASIC_STATS | STATX_MNT_ID | MASK_MNT_ID_UNIQUE, &status) != 0)
		return -errno;
	*ret_facts = (struct mount_facts){
		.mount_id = status.stx_mnt_id,
		.is_unique = (status.stx_mask & MASK_MNT_ID_UNIQUE) != 0,
		.is_mount_root = (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0,
		.device = makedev(status.stx_dev_major, status.stx_dev_minor),
		.mode = status.stx_mode,
	};
	return 0;
}

int mount_id_reusable(int directory, uint64_t *ret_id)
{
	struct statx status = { 0 };

	if (statx(directory, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &status) != 0)
		return -errno;
	*ret_id = status.stx_mnt_id;
	return status.stx_mask & STATX_MNT_ID ? 0 : -ENOSYS;
}

static bool is_mount_of(uint64_t mount_id, dev_t device, const char *path)
{
	const struct mount_id_request request = { .size = sizeof request,
		.mount_id = mount_id,
		.param = MOUNT_SB_BASIC | MOUNT_MNT_POINT };
	struct mount_status status = { 0 };
	const char *point;

	/* The last byte stays zero, whatever the kernel writes. */
	if (syscall(CALL_STATMOUNT, &request, &status, sizeof status - 1, 0) != 0)
		return false;
	if (makedev(status.device_major, status.device_minor) != device ||
		!(status.mask & MOUNT_MNT_POINT) || status.point_offset >= sizeof status.strings)
		return false;
	point = status.strings + status.point_offset;
	return point[0] == '/' && strcmp(point + 1, path) == 0;
}

int mount_find(dev_t device, const char *path, uint64_t *ret_mount_id)
{
	uint64_t ids[256], last = 0;

	for (;;) {
		const struct mount_id_request request = {
			.size = sizeof request, .mount_id = LIST_ROOT, .param = last
		};
		const int count = result(syscall(CALL_LISTMOUNT, &request, ids, 256, 0));

		if (count < 0)
			return count;
		if (count == 0)
			return -ENOENT;
		for (int i = 0; i < count; i++)
			if (is_mount_of(ids[i], device, path)) {
				*ret_mount_id = ids[i];
				return 0;
			}
		last = ids[count - 1];
	}
}

int mount_point_get(uint64_t mount_id, char *point, size_t size)
{
	const struct mount_id_request request = {
		.size = sizeof request, .mount_id = mount_id, .param = MOUNT_MNT_POINT
	};
	struct mount_status status = { 0 };
	const char *found;

	if (syscall(CALL_STATMOUNT, &request, &status, sizeof status - 1, 0) != 0)
		return -errno;
	if (!(status.mask & MOUNT_MNT_POINT) || status.point_offset >= sizeof status.strings)
		return -ENOENT;
	found = status.strings + status.point_offset;
	if (found[0] != '/' || strlen(found) >= size)
		return -ENOENT;
	memcpy(point, found, strlen(found) + 1);
	return 0;
}

int directory_for_each(int directory,
	int (*visit)(int directory, const struct directory_entry *entry, void *data), void *data)
{
	char buffer[2048] __attribute__((aligned(8)));
	AUTO_FD listing = open_in_root(directory, ".", O_RDONLY | O_DIRECTORY);

	if (listing < 0)
		return listing;
	for (;;) {
		const long length = syscall(SYS_getdents64, listing, buffer, sizeof buffer);

		if (length <= 0)
			return length < 0 ? -errno : 0;
		for (long at = 0; at < length;) {
			/* The kernel aligns each entry. */
			const struct directory_entry *entry =
				__builtin_assume_aligned(buffer + at, 8);
			int r = 0;

			if (strcmp(entry->name, ".") != 0 && strcmp(entry->name, "..") != 0)
				r = visit(directory, entry, data);
			if (r < 0)
				return r;
			at += entry->length;
		}
	}
}

int pidfd_signal(int pidfd, int signal)
{
	return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}
