#include "daemon/mounter/worker_jobs.h"

#include "daemon/mounter/arena.h"
#include "daemon/mounter/container_entry.h"
#include "daemon/mounter/delivery_files.h"
#include "daemon/mounter/kernel/kernel_calls.h"
#include "daemon/mounter/kernel/namespaces.h"
#include "daemon/mounter/tmpfs_mount.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

/* The volumes directory where DELIVERY's host path is; enters that mount namespace. */
static int volumes_enter(const struct job *job)
{
	const int engine = job->delivery->engine_namespace;
	int r;

	if (engine < 0) {
		r = host_namespace_enter(job->mounter);
		return r < 0 ? r : dup(job->mounter->volumes);
	}
	if (setns(engine, CLONE_NEWNS) != 0)
		return -errno;
	return volumes_open_here(job->mounter->volumes_path);
}

int job_file(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	const int fd = delivery_file_make(job->delivery->mount, job->request);

	if (fd < 0)
		return reply_fail(reply, fd, "make a file");
	*ret_fd = fd;
	return 0;
}

int job_commit(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	const int r = delivery_commit(job->delivery->mount, job->request->generation,
		job->delivery->is_plain, job->request->flags & MOUNTER_KEEP_PREVIOUS);

	(void)ret_fd;
	return r < 0 ? reply_fail(reply, r, "put a generation in place") : 0;
}

int job_clean(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	const int r =
		delivery_clean(job->delivery->mount, job->request->flags & MOUNTER_KEEP_PREVIOUS);

	(void)ret_fd;
	return r < 0 ? reply_fail(reply, r, "wipe an older generation") : 0;
}

int job_take(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	const int mount = job->delivery->mount;
	int r = superblock_set_read_only(mount, false);

	(void)ret_fd;
	if (r == 0)
		r = delivery_take(mount, job->request->name);
	if (r < 0)
		return reply_fail(reply, r, "take a file away");
	r = superblock_set_read_only(mount, true);
	return r < 0 ? reply_fail(reply, r, "seal the tmpfs again") : 0;
}

int job_attach(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	char name[DELIVERY_HEX_SIZE];
	AUTO_FD view = delivery_view_open(job->delivery->mount);
	AUTO_FD clone = view < 0 ? view : tmpfs_clone_read_only(view);
	AUTO_FD volumes = -1;
	int r;

	(void)ret_fd;
	if (clone < 0)
		return reply_fail(reply, clone, "clone the delivery's mount");
	volumes = volumes_enter(job);
	if (volumes < 0)
		return reply_fail(reply, volumes, "open the volumes directory of the engine");
	delivery_hex(job->delivery->id, name);
	r = host_path_attach(clone, volumes, name);
	return r < 0 ? reply_fail(reply, r, "attach to the host path") : 0;
}

int job_detach(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	char name[DELIVERY_HEX_SIZE];
	AUTO_FD volumes = volumes_enter(job);
	int r;

	(void)ret_fd;
	if (volumes < 0)
		return reply_fail(reply, volumes, "open the volumes directory of the engine");
	delivery_hex(job->delivery->id, name);
	r = host_path_detach(volumes, name);
	return r < 0 ? reply_fail(reply, r, "leave the host path") : 0;
}

/* Content first: if this worker is killed for its slowness, what could be wiped is wiped. */
int job_wipe(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	int r = superblock_set_read_only(job->delivery->mount, false);

	if (r == 0)
		r = delivery_wipe(job->delivery->mount);
	if (r < 0)
		return reply_fail(reply, r, "wipe the files");
	return job->delivery->is_attached ? job_detach(job, reply, ret_fd) : 0;
}

int job_forget(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	char name[DELIVERY_HEX_SIZE];
	AUTO_FD volumes = volumes_enter(job);
	int r;

	(void)ret_fd;
	if (volumes < 0)
		return reply_fail(reply, volumes, "open the volumes directory of the engine");
	delivery_hex(job->delivery->id, name);
	r = host_path_remove(volumes, name);
	return r < 0 ? reply_fail(reply, r, "remove the host path's directory") : 0;
}

int job_engine_root(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	int fd = mount_namespace_enter(job->descriptors.init);

	if (fd == 0)
		fd = open_absolute("/", O_PATH | O_DIRECTORY);
	if (fd < 0)
		return reply_fail(reply, fd, "open the root of the engine's mount namespace");
	*ret_fd = fd;
	return 0;
}

/* A copy of the volumes directory (`-v /run:/x`) holds our mounts too, at places of its own
 * choosing. What a container was given lies on its root or on a mount of its own, never on that
 * tmpfs. */
static bool lies_on_volumes(const struct job *job, int target)
{
	AUTO_FD parent = open_parent(target);
	struct mount_facts facts;

	return parent < 0 || mount_facts_get(parent, &facts) < 0 ||
	       facts.device == job->mounter->volumes_device;
}

/* Opens the target directory in the namespace just entered, if it is the root of a mount of DEVICE.
 */
static int open_target(const struct job *job, int root, uint64_t device, struct mount_facts *facts)
{
	AUTO_FD target = open_in_root(root, job->request->name, O_PATH | O_DIRECTORY);
	int r;

	if (target < 0)
		return target;
	r = mount_facts_get(target, facts);
	if (r < 0)
		return r;
	if (facts->device != device || !facts->is_mount_root || lies_on_volumes(job, target))
		return -ENODEV;
	return fd_take(&target);
}

int job_locate(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	struct namespaces found;
	struct mount_facts facts;
	AUTO_FD root = -1;
	AUTO_FD target = -1;
	int r = container_enter(job, &found, reply);

	if (r < 0)
		return r;
	root = open_absolute("/", O_PATH | O_DIRECTORY);
	if (root < 0)
		return reply_fail(reply, root, "open the container's root");
	container_facts_fill(job, &found, root, reply);
	target = open_target(job, root, job->delivery->device, &facts);
	if (target == -EACCES) {
		/* A directory above the target is closed to uid 0 without capabilities (mode 0700
		 * of another user). The mount table proves the same, but gives no descriptor for an
		 * ignore mark. */
		r = mount_find(job->delivery->device, job->request->name, &facts.mount_id);
		reply->mount_id = facts.mount_id;
		reply->flags |= MOUNTER_TARGET_UNREACHABLE;
		return r < 0 ? reply_fail(
				       reply, r, "find the delivery in the container's mount table")
			     : 0;
	}
	if (target < 0)
		return reply_fail(reply, target, "find the delivery at the container's target");
	reply->mount_id = facts.mount_id;
	/* Not O_PATH: fanotify_mark wants a descriptor that could be read. Directories raise no
	 * event. */
	r = open_in_root(target, ".", O_RDONLY | O_DIRECTORY);
	if (r < 0)
		return reply_fail(reply, r, "open the delivery's directory");
	*ret_fd = r;
	return 0;
}

/* DEVICE is what the broker says: whatever else is mounted in a container, a writable clone of it
 * is not to be had. */
static bool is_ours(const struct job *job, int target)
{
	AUTO_FD directory = open_in_root(target, ".", O_RDONLY | O_DIRECTORY);
	char name[DELIVERY_HEX_SIZE];

	delivery_hex(job->delivery->id, name);
	return directory >= 0 && tmpfs_is_delivery(directory, name);
}

/* For a delivery that the arena does not have any more (every process of ours was dead): a writable
 * clone of the container's own mount. The kernel refuses it where a user namespace has locked the
 * mount read-only. */
int job_adopt(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	struct namespaces found;
	struct mount_facts facts;
	AUTO_FD root = -1;
	AUTO_FD target = -1;
	AUTO_FD clone = -1;
	int r = container_enter(job, &found, reply);

	if (r < 0)
		return r;
	root = open_absolute("/", O_PATH | O_DIRECTORY);
	target = root < 0 ? root : open_target(job, root, job->request->device, &facts);
	r = target < 0 ? target : 0;
	if (r == 0 && facts.is_unique && job->request->mount_id != 0 &&
		facts.mount_id != job->request->mount_id)
		r = -ESTALE;
	if (r == 0 && !is_ours(job, target))
		r = -EPERM;
	if (r < 0)
		return reply_fail(reply, r, "find the delivery again");
	clone = mount_clone(target);
	r = clone < 0 ? clone : mount_set_read_only(clone, false);
	if (r < 0)
		return reply_fail(reply, r, "get a writable mount of it");
	*ret_fd = fd_take(&clone);
	return 0;
}

/* One own mount that no delivery of the table has. */
static void sweep_one(const struct job *job, const char *name)
{
	AUTO_FD own = arena_open(job->mounter, name);

	if (own >= 0 && superblock_set_read_only(own, false) == 0)
		/* What cannot be wiped is still taken out of the mount table below. */
		(void)delivery_wipe(own);
	fd_close_p(&own);
	arena_remove(job->mounter, name);
	if (host_namespace_enter(job->mounter) == 0 &&
		host_path_detach(job->mounter->volumes, name) == 0)
		(void)host_path_remove(job->mounter->volumes, name);
	host_namespace_leave(job->mounter);
}

/* What a mounter left behind whose broker died in the middle of an operation. */
int job_sweep(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	const struct mounter *mounter = job->mounter;

	(void)ret_fd;
	for (int i = 0; i < mounter->strays_count; i++)
		sweep_one(job, mounter->strays[i]);
	reply->values[0] = (uint64_t)mounter->strays_count;
	return 0;
}
