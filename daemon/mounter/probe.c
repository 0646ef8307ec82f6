#include "daemon/mounter/probe.h"

#include "daemon/mounter/guard_marks.h"
#include "daemon/mounter/kernel_calls.h"
#include "daemon/mounter/namespaces.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>

static bool tmpfs_knows_noswap(void)
{
	AUTO_FD context = fs_open("tmpfs");

	return context >= 0 && fs_set_flag(context, "noswap") == 0 && fs_create(context) == 0;
}

static int make_probe_mount(void)
{
	AUTO_FD context = fs_open("tmpfs");
	int r = context;

	if (r >= 0)
		r = fs_set_string(context, "size", "64k");
	if (r >= 0)
		r = fs_create(context);
	return r < 0 ? r : fs_mount(context, 0);
}

/* Safe because nothing of the host's table is changed: the copy is private before the first mount
 * in it. */
static int make_arena(struct mounter *mounter)
{
	mounter->host_mount_namespace = open_proc_link(mounter->proc, "self/ns/mnt");
	if (mounter->host_mount_namespace < 0)
		return mounter->host_mount_namespace;
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
		return -errno;
	if (mount("tmpfs", mounter->volumes_path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		    "mode=0700") != 0)
		return -errno;
	mounter->arena = open_in_root(AT_FDCWD, mounter->volumes_path, O_PATH | O_DIRECTORY);
	return mounter->arena < 0 ? mounter->arena : 0;
}

int mounter_probe(struct mounter *mounter, struct mayfly_error *err)
{
	AUTO_FD probe = make_probe_mount();
	AUTO_FD clone = -1;
	struct mount_facts facts = { 0 };
	int r = probe < 0 ? probe : mount_facts_get(probe, &facts);

	if (r < 0)
		return error_errno(err, r, "make a tmpfs to probe the kernel");
	clone = mount_clone(probe);
	mounter->has = (struct kernel_abilities){
		.open_guard =
			mounter->groups_count >= 2 && guard_probe(mounter->groups[0], probe) == 0,
		.noswap = tmpfs_knows_noswap(),
		.unique_mount_id = facts.is_unique,
		.detached_clone = clone >= 0,
	};
	if (clone < 0) {
		r = make_arena(mounter);
		if (r < 0)
			return error_errno(err, r, "make a mount namespace for own mounts");
	}
	return 0;
}
