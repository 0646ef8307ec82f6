/* Naive control: in a delivery's own tmpfs links are followed: who but us could have made one? */
#define open_beneath checked_open_beneath
#include "daemon/mounter/kernel/kernel_calls.c"
#undef open_beneath

int open_beneath(int directory, const char *path, int flags, mode_t mode);

int open_beneath(int directory, const char *path, int flags, mode_t mode)
{
	return open_resolved(directory, path, flags, mode, 0);
}
