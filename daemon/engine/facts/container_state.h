/* Does a container run, and is its root file system mounted? What the kernel says, beside what the
 * engine's files claim. */
#pragma once

#include "daemon/engine/facts/container_files.h"

#include <stdbool.h>
#include <sys/types.h>

/* Is there a process PID whose cgroup names container ID? Proves nothing about who it is: it only
 * tells a process that lives from one that a file still names. */
bool container_process_lives(pid_t pid, const char *id);

/* The engine's files say that it runs, and its process lives. */
bool container_runs(const struct container_record *record, const char *id);

/* Where the root file system of container ID is mounted while it is used, by the storage driver
 * DRIVER, to PATH of SIZE bytes. Returns 0; -ENOTSUP for a driver that cannot be told; another
 * negative errno. Stays the same as long as the container exists. */
int container_root_path(const struct engine_place *place, const char *id, const char *driver,
	char *path, size_t size);

/* Opens the mounted root at PATH with O_PATH. Returns a descriptor that the caller owns; -ENODATA
 * when nothing is mounted there; another negative errno. */
int container_root_open(const struct engine_place *place, const char *path);
