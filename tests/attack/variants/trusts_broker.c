/* Naive control: whatever process the broker names is a container. */
#define container_enter checked_container_enter
#include "daemon/mounter/container_entry.c"
#undef container_enter

int container_enter(const struct job *job, struct namespaces *found, struct mounter_reply *reply);

int container_enter(const struct job *job, struct namespaces *found, struct mounter_reply *reply)
{
	int r = namespaces_of(job->mounter->proc, job->descriptors.init, found);

	if (r == 0)
		r = mount_namespace_enter(job->descriptors.init);
	return r < 0 ? reply_fail(reply, r, "enter the mount namespace") : 0;
}
