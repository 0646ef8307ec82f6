/* Naive control: the directory of the host paths travels wherever its parent mount does. */
#include <sys/mount.h>

static int mount_unless_private(const char *source, const char *target, const char *type,
	unsigned long flags, const void *data)
{
	return flags == MS_PRIVATE ? 0 : mount(source, target, type, flags, data);
}

#define mount mount_unless_private
#include "daemon/supervisor/host_files.c"
