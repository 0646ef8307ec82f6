#include "daemon/engine/facts/container_state.h"

#include "daemon/engine/facts/engine_root.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

/* A dozen controllers with a long path each. */
#define CGROUP_FILE_SIZE 16384

/* "<64 hex digits>" */
#define MOUNT_ID_MAX_BYTES 128

bool container_process_lives(pid_t pid, const char *id)
{
	char name[64], text[CGROUP_FILE_SIZE];
	AUTO_FD fd = -1;
	ssize_t length;

	(void)snprintf(name, sizeof name, "/proc/%d/cgroup", (int)pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	length = read(fd, text, sizeof text);
	return length > 0 && memmem(text, (size_t)length, id, CONTAINER_ID_LENGTH) != NULL;
}

bool container_runs(const struct container_record *record, const char *id)
{
	return record->claims_running && container_process_lives(record->pid, id);
}

static bool is_layer_driver(const char *driver)
{
	return strcmp(driver, "overlay2") == 0 || strcmp(driver, "overlay") == 0 ||
	       strcmp(driver, "fuse-overlayfs") == 0;
}

/* containerd's snapshotters: the engine mounts by the container's own id. */
static bool is_snapshotter(const char *driver)
{
	return strcmp(driver, "overlayfs") == 0;
}

static int read_mount_id(const struct engine_place *place, const char *id, const char *driver,
	char mount_id[MOUNT_ID_MAX_BYTES + 1])
{
	MAYFLY_CLEANUP(file_bytes_done) struct file_bytes file = { 0 };
	char path[ENGINE_PATH_SIZE + 192];
	int r;

	(void)snprintf(path, sizeof path, "%s/image/%s/layerdb/mounts/%s/mount-id",
		place->data_root, driver, id);
	r = root_read_file(place->root, path, ROOT_ALL_MOUNTS, MOUNT_ID_MAX_BYTES, &file, NULL);
	if (r < 0)
		return r;
	/* It becomes a part of a path. */
	if (file.length == 0 || strspn(file.bytes, "0123456789abcdef") != file.length)
		return -EBADMSG;
	memcpy(mount_id, file.bytes, file.length + 1);
	return 0;
}

int container_root_path(const struct engine_place *place, const char *id, const char *driver,
	char *path, size_t size)
{
	char mount_id[MOUNT_ID_MAX_BYTES + 1];
	int length, r;

	if (is_snapshotter(driver)) {
		length = snprintf(path, size, "%s/rootfs/%s/%s", place->data_root, driver, id);
		return (size_t)length < size ? 0 : -ENAMETOOLONG;
	}
	if (!is_layer_driver(driver))
		return -ENOTSUP;
	r = read_mount_id(place, id, driver, mount_id);
	if (r < 0)
		return r;
	length = snprintf(path, size, "%s/%s/%s/merged", place->data_root, driver, mount_id);
	return (size_t)length < size ? 0 : -ENAMETOOLONG;
}

int container_root_open(const struct engine_place *place, const char *path)
{
	AUTO_FD fd = root_open_path(place->root, path, ROOT_ALL_MOUNTS);
	struct statfs status;

	if (fd < 0)
		return fd == -ENOENT ? -ENODATA : fd;
	if (fstatfs(fd, &status) != 0)
		return -errno;
	/* An engine cannot keep its layers on an overlay, so one that is seen here is the mount. */
	if ((uint32_t)status.f_type != OVERLAYFS_SUPER_MAGIC &&
		(uint32_t)status.f_type != FUSE_SUPER_MAGIC)
		return -ENODATA;
	return fd_take(&fd);
}
