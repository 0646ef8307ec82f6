/* A delivery into a container that runs already: the way to its target, mounting, proof, and the
 * way back. Everything here runs in a worker inside the container's mount namespace, where every
 * name and every file system may be hostile: one component at a time, no link is followed, no mount
 * is crossed but those that target_open() names, and what was attached is looked for afterwards. */
#include "daemon/mounter/container_entry.h"
#include "daemon/mounter/delivery_files.h"
#include "daemon/mounter/kernel/kernel_calls.h"
#include "daemon/mounter/kernel/mount_table.h"
#include "daemon/mounter/tmpfs_mount.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define FUSE_MAGIC 0x65735546 /* its server could be the container itself */
#define NFS_MAGIC  0x6969
#define POINT_SIZE 4096 /* PATH_MAX: what the kernel tells of a mount's place */

/* On the way from the root to the target. */
struct walk {
	const struct job *job;
	struct mounter_reply *reply;
	int place; /* where it is, owned */
	unsigned crossings;
	bool is_over_own; /* it ends on the delivery that is to be covered */
};

static bool is_of_type(int directory, unsigned long magic)
{
	struct statfs status;

	return fstatfs(directory, &status) == 0 && (unsigned long)status.f_type == magic;
}

/* File systems onto which nothing of ours is put: a path that leads there was not meant by anybody.
 */
static bool is_forbidden(int directory)
{
	static const unsigned long forbidden[] = { PROC_SUPER_MAGIC, SYSFS_MAGIC,
		CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, DEBUGFS_MAGIC, BPF_FS_MAGIC, FUSE_MAGIC,
		NFS_MAGIC };
	struct statfs status;

	if (fstatfs(directory, &status) != 0)
		return true;
	for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++)
		if ((unsigned long)status.f_type == forbidden[i])
			return true;
	return false;
}

/* Another mount is on NAME. Of these two may be entered: the delivery that is to be covered, as the
 * last step; and one tmpfs that the runtime has put there (`--tmpfs /run`), not as the last. */
static int cross(struct walk *walk, const char *name, bool is_last)
{
	const uint64_t own = walk->job->request->device;
	AUTO_FD other = open_in_root(walk->place, name, O_PATH | O_DIRECTORY);
	struct mount_facts facts;
	int r = other < 0 ? other : mount_facts_get(other, &facts);

	if (r < 0)
		return r;
	if (is_last && own != 0 && facts.device == own) {
		walk->is_over_own = true;
		return fd_take(&other);
	}
	if (is_last)
		return reply_fail(walk->reply, -EBUSY, "another mount is at the target");
	if (walk->crossings++ > 0 || !is_of_type(other, TMPFS_MAGIC))
		return reply_fail(walk->reply, -EXDEV,
			"the target lies on another mount, and only one tmpfs may be crossed");
	return fd_take(&other);
}

static int make(struct walk *walk, const char *name)
{
	if (!(walk->job->request->flags & MOUNTER_MAKE_TARGET))
		return reply_fail(walk->reply, -ENOENT, "the target does not exist");
	/* 0755, so that every user of the container finds the files. */
	if (mkdirat(walk->place, name, 0755) != 0 && errno != EEXIST)
		return reply_fail(walk->reply, -errno, "the target is missing and cannot be made");
	return open_component(walk->place, name);
}

static int step(struct walk *walk, const char *name, bool is_last)
{
	int next = open_component(walk->place, name);

	if (next == -EXDEV)
		next = cross(walk, name, is_last);
	else if (next == -ENOENT)
		next = make(walk, name);
	if (next == -ENOTDIR || next == -ELOOP)
		return reply_fail(walk->reply, next,
			"a link or a file is in the way to the target, and none is followed");
	if (next < 0)
		return next;
	(void)close(walk->place);
	walk->place = next;
	return 0;
}

/* Opens the target of the request below ROOT, made where it is missing and may be made. */
static int target_open(
	const struct job *job, int root, struct mounter_reply *reply, bool *ret_over_own)
{
	struct walk walk = { .job = job, .reply = reply, .place = dup(root) };
	char path[MAYFLY_FILE_PATH_SIZE];
	char *rest = NULL, *name, *next;
	AUTO_FD place = -1;
	int r = walk.place < 0 ? -errno : 0;

	memcpy(path, job->request->name, sizeof path);
	for (name = strtok_r(path, "/", &rest); name && r == 0; name = next) {
		next = strtok_r(NULL, "/", &rest);
		r = step(&walk, name, next == NULL);
	}
	place = walk.place;
	if (r < 0)
		return reply->detail[0] ? r : reply_fail(reply, r, "go to the target");
	if (is_forbidden(place))
		return reply_fail(
			reply, -EPERM, "the target lies on a file system that is none of ours");
	if (mount_table_is_shared(job->mounter->proc, place))
		return reply_fail(reply, -EPERM,
			"what is mounted at the target would appear outside of the container too");
	*ret_over_own = walk.is_over_own;
	return fd_take(&place);
}

/* Whoever stands at the target sees the mount MOUNT_ID. */
static bool is_at_target(const struct job *job, int root, uint64_t mount_id)
{
	AUTO_FD target = open_in_root(root, job->request->name, O_PATH | O_DIRECTORY);
	struct mount_facts facts;

	return target >= 0 && mount_facts_get(target, &facts) == 0 && facts.is_mount_root &&
	       facts.mount_id == mount_id;
}

/* MOUNT is the root of what is to go: the working directory stands in for a name. */
static int detach(int mount)
{
	if (fchdir(mount) != 0 || umount2(".", MNT_DETACH | UMOUNT_NOFOLLOW) != 0)
		return -errno;
	return 0;
}

/* Attaches CLONE, and takes it away again when it is not what the container sees there: somebody
 * has moved the directory in between. */
static int attach_and_prove(const struct job *job, int root, int clone, struct mounter_reply *reply)
{
	struct mount_facts facts;
	bool is_over_own = false;
	AUTO_FD target = target_open(job, root, reply, &is_over_own);
	int r = target < 0 ? target : mount_facts_get(clone, &facts);

	if (r < 0)
		return r;
	r = mount_attach(clone, target);
	if (r < 0)
		return reply_fail(reply, r, "attach at the container's target");
	if (!is_at_target(job, root, facts.mount_id)) {
		(void)detach(clone);
		return reply_fail(
			reply, -ESTALE, "the target was moved while the files were put there");
	}
	reply->mount_id = facts.mount_id;
	return 0;
}

int job_attach_inside(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	struct namespaces found;
	AUTO_FD root = -1;
	AUTO_FD view = delivery_view_open(job->delivery->mount);
	AUTO_FD clone = view < 0 ? view : tmpfs_clone_read_only(view);
	int r = clone < 0 ? reply_fail(reply, clone, "clone the delivery's mount") : 0;

	(void)ret_fd;
	if (r == 0)
		r = container_enter(job, &found, reply);
	if (r < 0)
		return r;
	root = open_absolute("/", O_PATH | O_DIRECTORY);
	if (root < 0)
		return reply_fail(reply, root, "open the container's root");
	container_facts_fill(job, &found, root, reply);
	return attach_and_prove(job, root, clone, reply);
}

static bool is_own_mount(const struct job *job, int directory)
{
	struct mount_facts facts;

	return directory >= 0 && mount_facts_get(directory, &facts) == 0 && facts.is_mount_root &&
	       facts.mount_id == job->delivery->mount_id;
}

/* The root of what was attached: at the target, or where the container has moved that. Left there, it
 * would be one mount more with each request. */
static int open_attached(const struct job *job, int root)
{
	char point[POINT_SIZE];
	AUTO_FD target = open_in_root(root, job->request->name, O_PATH | O_DIRECTORY);

	if (is_own_mount(job, target))
		return fd_take(&target);
	fd_close_p(&target);
	if (mount_point_get(job->delivery->mount_id, point, sizeof point) < 0)
		return -ESTALE;
	target = open_in_root(root, point, O_PATH | O_DIRECTORY);
	return is_own_mount(job, target) ? fd_take(&target) : -ESTALE;
}

int job_detach_inside(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	struct namespaces found;
	AUTO_FD root = -1;
	AUTO_FD target = -1;
	int r = container_enter(job, &found, reply);

	(void)ret_fd;
	if (r < 0)
		return r;
	root = open_absolute("/", O_PATH | O_DIRECTORY);
	target = root < 0 ? root : open_attached(job, root);
	r = target < 0 ? target : detach(target);
	return r < 0 ? reply_fail(reply, r, "take the delivery away from its target") : 0;
}
