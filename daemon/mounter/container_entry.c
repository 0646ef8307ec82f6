#include "daemon/mounter/container_entry.h"

#include "daemon/mounter/kernel/kernel_calls.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

/* A service of the host may have a mount namespace of its own; its root is the host's all the same.
 */
static bool has_root_of_host(const struct mounter *mounter)
{
	AUTO_FD root = open_absolute("/", O_PATH | O_DIRECTORY);
	struct stat status;

	return root < 0 || fstat(root, &status) != 0 ||
	       (status.st_dev == mounter->root_device && status.st_ino == mounter->root_inode);
}

int container_enter(const struct job *job, struct namespaces *found, struct mounter_reply *reply)
{
	int r = namespaces_of(job->mounter->proc, job->descriptors.init, found);

	if (r < 0)
		return reply_fail(reply, r, "look at the container's init");
	if (found->mount == job->mounter->mount_namespace)
		return reply_fail(reply, -EPERM, "its mount namespace is the host's");
	r = mount_namespace_enter(job->descriptors.init);
	if (r < 0)
		return reply_fail(reply, r, "enter the container's mount namespace");
	return has_root_of_host(job->mounter) ? reply_fail(reply, -EPERM, "its root is the host's")
					      : 0;
}

uint32_t container_namespace_flags(const struct job *job, const struct namespaces *found)
{
	const struct mounter *mounter = job->mounter;

	return (found->pid == mounter->pid_namespace ? MOUNTER_HOST_PID_NAMESPACE : 0) |
	       (found->ipc == mounter->ipc_namespace ? MOUNTER_HOST_IPC_NAMESPACE : 0) |
	       (found->cgroup == mounter->cgroup_namespace ? MOUNTER_HOST_CGROUP_NAMESPACE : 0);
}

void container_facts_fill(const struct job *job, const struct namespaces *found, int root,
	struct mounter_reply *reply)
{
	struct statfs status;

	reply->mount_namespace = found->mount;
	reply->pid_namespace = found->pid;
	reply->flags |= container_namespace_flags(job, found);
	if (fstatfs(root, &status) == 0 && (status.f_flags & ST_RDONLY))
		reply->flags |= MOUNTER_ROOT_READ_ONLY;
}
