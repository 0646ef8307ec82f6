/* Naive control: a delivery is not sealed; the mounts of it are read-only. */
#include "daemon/mounter/kernel/kernel_calls.h"

#define superblock_set_read_only checked_superblock_set_read_only
int superblock_set_read_only(int mount, bool is_read_only);
#include "daemon/mounter/kernel/kernel_calls.c"
#undef superblock_set_read_only

int superblock_set_read_only(int mount, bool is_read_only)
{
	return is_read_only ? 0 : checked_superblock_set_read_only(mount, is_read_only);
}
