#include "daemon/supervisor/host_files.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define HOST_KEY_BYTES 32
#define PATH_SIZE      (PATH_MAX + 64)

static const struct {
	const char *path;
	mode_t mode;
} directories[] = {
	{ "", 0755 },
	{ "/etc", 0755 },
	{ "/etc/mayfly", 0755 },
	{ "/etc/mayfly/policy.d", 0755 },
	{ "/var", 0755 },
	{ "/var/lib", 0755 },
	{ "/var/lib/mayfly", 0700 },
	{ "/run", 0755 },
	{ "/run/mayfly", 0755 },
	{ "/run/mayfly/container", 0755 }, /* bound into containers */
	{ "/run/mayfly-volumes", 0700 },
};

/* The lock is a file of root's in the directory; the directory itself is the broker's to lock. */
static int state_directory_lock(
	struct supervisor *supervisor, int directory, const char *path, struct mayfly_error *err)
{
	AUTO_FD lock =
		openat(directory, "mayflyd.lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (lock < 0)
		return error_errno(err, -errno, "open %s/mayflyd.lock", path);
	if (flock(lock, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK
			       ? error_set(
					 err, -EWOULDBLOCK, "%s is in use by another mayflyd", path)
			       : error_errno(err, -errno, "lock %s/mayflyd.lock", path);
	supervisor->state_lock = fd_take(&lock);
	return 0;
}

static int state_directory_take(struct supervisor *supervisor, struct mayfly_error *err)
{
	const struct launch_plan *plan = &supervisor->plan;
	char path[PATH_SIZE];
	AUTO_FD fd = -1;

	(void)snprintf(path, sizeof path, "%s/var/lib/mayfly", supervisor->root);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_errno(err, -errno, "open %s", path);
	if (fchown(fd, plan->uid, plan->gid) != 0 || fchmod(fd, 0700) != 0)
		return error_errno(err, -errno, "give %s to uid %u", path, plan->uid);
	return state_directory_lock(supervisor, fd, path, err);
}

int host_directories_make(struct supervisor *supervisor, struct mayfly_error *err)
{
	char path[PATH_SIZE];

	for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
		(void)snprintf(path, sizeof path, "%s%s", supervisor->root, directories[i].path);
		if (path[0] == '\0' || (mkdir(path, 0700) != 0 && errno == EEXIST))
			continue;
		/* Only what was made here gets a mode; what was there keeps its owner's choice. */
		if (chmod(path, directories[i].mode) != 0)
			return error_errno(err, -errno, "make %s", path);
	}
	return state_directory_take(supervisor, err);
}

/* True when PATH is the root of a mount: its parent is on another device. */
static bool is_mounted(const char *path)
{
	AUTO_FD inner = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat inside, above;

	return inner >= 0 && fstat(inner, &inside) == 0 && fstatat(inner, "..", &above, 0) == 0 &&
	       inside.st_dev != above.st_dev;
}

/* Whoever could write to the directory above may have planted a link there: nothing of ours is
 * mounted where it leads. Returns -1 with errno. */
static int volumes_mount_at(const char *path)
{
	AUTO_FD place = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	AUTO_FD mounted = -1;
	char name[32];

	(void)snprintf(name, sizeof name, "/proc/self/fd/%d", place);
	if (place < 0 || mount("mayfly-volumes", name, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
				 "mode=0700,size=4m") != 0)
		return -1;
	mounted = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	(void)snprintf(name, sizeof name, "/proc/self/fd/%d", mounted);
	/* Private: an armed delivery must not travel to mount namespaces that follow the host's. */
	if (mount(NULL, name, NULL, MS_PRIVATE, NULL) != 0)
		return -1;
	/* Read-only, and so are the copies that containers have (`-v /run:/x`): one of them could
	 * put a directory of its own in the place of a delivery. The mounter has its own way in. */
	return mount(NULL, name, NULL,
		MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

int host_volumes_mount(struct supervisor *supervisor, struct mayfly_error *err)
{
	char path[PATH_SIZE];

	(void)snprintf(path, sizeof path, "%s/run/mayfly-volumes", supervisor->root);
	/* What is left there is of processes that are all dead, and has lost its guard. It goes as
	 * a whole; what containers have of it stays theirs. */
	while (is_mounted(path))
		if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) != 0)
			return error_errno(err, -errno, "take the old mount off %s", path);
	if (volumes_mount_at(path) < 0)
		return error_errno(err, -errno, "mount a tmpfs on %s", path);
	supervisor->volumes = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return supervisor->volumes < 0 ? error_errno(err, -errno, "open %s", path) : 0;
}

void host_volumes_unmount(const struct supervisor *supervisor)
{
	char path[PATH_SIZE];

	if (supervisor->volumes < 0)
		return;
	(void)close(supervisor->volumes);
	(void)snprintf(path, sizeof path, "%s/run/mayfly-volumes", supervisor->root);
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		(void)rmdir(path);
}

static int open_key(const char *path, struct mayfly_error *err)
{
	AUTO_FD fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat status;

	if (fd < 0 && errno == ELOOP)
		return error_set(
			err, -ELOOP, "%s is a symbolic link; put the key itself there", path);
	if (fd < 0)
		return error_errno(err, -errno, "open %s", path);
	if (fstat(fd, &status) != 0)
		return error_errno(err, -errno, "look at %s", path);
	if (!S_ISREG(status.st_mode) || status.st_uid != 0 || (status.st_mode & 077) != 0)
		return error_set(err, -EPERM,
			"%s must be a regular file of root that nobody else can read (chmod 0400)",
			path);
	if (status.st_size != HOST_KEY_BYTES)
		return error_set(err, -EINVAL, "%s has %jd bytes, a host key has %d", path,
			(intmax_t)status.st_size, HOST_KEY_BYTES);
	return fd_take(&fd);
}

int host_key_open(struct supervisor *supervisor, struct mayfly_error *err)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	char path[PATH_SIZE];
	int fd = -ENOENT;

	if (credentials) {
		(void)snprintf(path, sizeof path, "%s/host.key", credentials);
		fd = open_key(path, err);
	}
	if (fd == -ENOENT) {
		(void)snprintf(path, sizeof path, "%s/etc/mayfly/host.key", supervisor->root);
		fd = open_key(path, err);
	}
	supervisor->host_key = fd >= 0 ? fd : -1;
	return fd >= 0 || fd == -ENOENT ? 0 : fd;
}

int host_key_make(struct supervisor *supervisor)
{
	unsigned char key[HOST_KEY_BYTES];
	char path[PATH_SIZE];
	AUTO_FD directory = -1;
	AUTO_FD fd = -1;
	struct mayfly_error err;
	int r = 0;

	if (supervisor->host_key >= 0)
		return 0;
	(void)snprintf(path, sizeof path, "%s/etc/mayfly", supervisor->root);
	directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(
		directory, "host.key", O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0400);
	if (fd < 0)
		return -errno;
	if (getrandom(key, sizeof key, 0) != sizeof key ||
		write(fd, key, sizeof key) != sizeof key || fsync(fd) != 0 || fsync(directory) != 0)
		r = -errno;
	explicit_bzero(key, sizeof key);
	if (r < 0)
		(void)unlinkat(directory, "host.key", 0);
	return r < 0 ? r : host_key_open(supervisor, &err);
}
