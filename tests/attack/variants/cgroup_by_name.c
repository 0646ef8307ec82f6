/* Naive control: a cgroup's directory is who its name says, as in programs that look for 64 hex
 * digits in /proc/PID/cgroup. Its id is made from that name. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static int named_fstatat(int directory, const char *path, struct stat *status, int flags)
{
	static const char digits[] = "0123456789abcdef";
	const int r = fstatat(directory, path, status, flags);
	const char *name = strrchr(path, '/');

	for (name = name ? name + 1 : path; r == 0 && *name; name++)
		if (strspn(name, digits) >= 64) {
			status->st_ino = 0;
			for (int i = 0; i < 64; i++)
				status->st_ino = status->st_ino * 31 + (unsigned char)name[i];
			return r;
		}
	return r;
}

#define fstatat	   named_fstatat
/* Nor is the kernel asked whether it agrees. */
#define ioctl(...) (errno = ENOTTY, -1)
#include "daemon/broker/identity/cgroup_identity.c"
