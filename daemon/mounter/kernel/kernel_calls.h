/* System calls that Debian 12's C library has no wrapper or no number for, and openat2 with the
 * flags that this process always uses. Thin: they return what the kernel returns, as 0/descriptor
 * or -errno. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* Opens PATH below DIRECTORY: no symbolic link, no magic link, nothing above DIRECTORY, no other
 * mount. For everything inside our own tmpfs and below the volumes directory. */
int open_beneath(int directory, const char *path, int flags, mode_t mode);

/* Opens PATH as if DIRECTORY were "/": mounts may be crossed (a container's target is one),
 * symbolic and magic links may not. For paths in a container. */
int open_in_root(int directory, const char *path, int flags);

/* Opens the single component NAME in DIRECTORY without leaving its mount: -EXDEV where another
 * mount is on it. */
int open_component(int directory, const char *name);

/* Opens an absolute PATH of our own constants, from the root that the process has now. */
int open_absolute(const char *path, int flags);

/* Opens the parent of DIRECTORY, on the other side of its mount if it is a mount's root. O_PATH. */
int open_parent(int directory);

/* Opens PATH below the host's /proc. */
int open_proc(int proc, const char *path, int flags);

/* Opens a magic link below the host's /proc: a namespace, for reading. */
int open_proc_link(int proc, const char *path);

int fs_open(const char *type);
int fs_set_string(int context, const char *key, const char *value);
int fs_set_flag(int context, const char *key);
int fs_create(int context);
int fs_mount(int context, unsigned attributes);
/* Makes the superblock behind MOUNT read-only or writable. */
int superblock_set_read_only(int mount, bool is_read_only);
bool superblock_is_read_only(int mount);
int mount_clone(int mount);
int mount_set_read_only(int mount, bool is_read_only);
/* Attaches the detached MOUNT onto TARGET, an open directory. */
int mount_attach(int mount, int target);

struct mount_facts {
	uint64_t mount_id; /* unique where the kernel has it, else the reusable one */
	bool is_unique;
	bool is_mount_root;
	dev_t device;
	mode_t mode;
};

/* Of what DIRECTORY (O_PATH is enough) refers to. Does not block on our own tmpfs. */
int mount_facts_get(int directory, struct mount_facts *ret_facts);

/* The id that /proc/PID/mountinfo calls the mount behind DIRECTORY by. */
int mount_id_reusable(int directory, uint64_t *ret_id);

/* Finds, in the calling process's mount namespace, the mount of the file system DEVICE whose place
 * is exactly PATH (without a leading "/"), without walking there. kernel 6.8. Returns 0; -ENOENT;
 * -ENOSYS. */
int mount_find(dev_t device, const char *path, uint64_t *ret_mount_id);

/* pidfd_send_signal(2). */
int pidfd_signal(int pidfd, int signal);

/* Where the mount with the unique id MOUNT_ID is, in the calling process's mount namespace and below
 * its root: an absolute path in POINT. kernel 6.8. Returns 0; -ENOENT when it is in no such place;
 * -ENOSYS. */
int mount_point_get(uint64_t mount_id, char *point, size_t size);

/* What getdents64(2) writes. */
struct directory_entry {
	uint64_t inode;
	int64_t offset;
	uint16_t length;
	uint8_t type; /* DT_DIR, DT_REG, ... */
	char name[];
};

/* Calls VISIT for every entry of DIRECTORY but "." and ".."; stops at the first negative result and
 * returns it. Entries that VISIT removes are fine: tmpfs keeps the others' order. */
int directory_for_each(int directory,
	int (*visit)(int directory, const struct directory_entry *entry, void *data), void *data);
