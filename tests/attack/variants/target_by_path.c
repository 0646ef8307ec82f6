/* Naive control: the target in a container is a path, opened as such: links lead on, and where the
 * mount comes to lie is not asked. */
#define job_attach_inside checked_job_attach_inside
#include "daemon/mounter/attach_inside.c"
#undef job_attach_inside

int job_attach_inside(const struct job *job, struct mounter_reply *reply, int *ret_fd);

int job_attach_inside(const struct job *job, struct mounter_reply *reply, int *ret_fd)
{
	struct namespaces found;
	struct mount_facts facts;
	AUTO_FD clone = tmpfs_clone_read_only(job->delivery->mount);
	AUTO_FD root = -1;
	AUTO_FD target = -1;
	int r = container_enter(job, &found, reply);

	(void)ret_fd;
	if (r < 0)
		return r;
	root = open_absolute("/", O_PATH | O_DIRECTORY);
	(void)mkdirat(root, job->request->name, 0755);
	/* Below "/", where this worker is: not told to stay there, nor to follow nothing. */
	target = open_absolute(job->request->name, O_PATH | O_DIRECTORY);
	r = clone < 0 || target < 0 ? -ENOENT : mount_facts_get(clone, &facts);
	if (r == 0)
		r = mount_attach(clone, target);
	reply->mount_id = facts.mount_id;
	return r < 0 ? reply_fail(reply, r, "attach at the path") : 0;
}
