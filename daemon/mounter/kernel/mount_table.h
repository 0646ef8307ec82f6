/* What the kernel says of the mounts of a process (/proc/PID/mountinfo, through the host's /proc):
 * only for refusing, never for finding who somebody is. A table that is too large to be read is
 * judged as the worst. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A container has some dozens of mounts; this is room for two thousand. */
#define MOUNT_TABLE_MAX_BYTES (256 * 1024)

struct mount_table_facts {
	/* A cgroup file system can be written to: whoever can do that puts itself into any cgroup
	 * below. */
	bool has_writable_cgroup;
	bool root_is_read_only;
};

/* Of PID's mount namespace. */
struct mount_table_facts mount_table_look(int proc, pid_t pid);

/* True when what is mounted on the mount behind DIRECTORY (O_PATH is enough, in the calling
 * process's mount namespace) would appear in other namespaces too. True also when that cannot be
 * told. */
bool mount_table_is_shared(int proc, int directory);
