/* Naive control: looks into a container itself, and so waits for whatever answers there. */
#include "daemon/mounter/worker.h"

#include <sched.h>

#define worker_start checked_worker_start
int worker_start(struct mounter *mounter, const struct job *job, job_function *function);
#include "daemon/mounter/worker.c"
#undef worker_start

int worker_start(struct mounter *mounter, const struct job *job, job_function *function)
{
	struct mounter_reply reply = { .op = job->request->op };
	int fd = -1;

	/* Once for nothing (what would attach something only looks for what is there), and back to
	 * where the mounter belongs. */
	if (job->request->op == MOUNTER_OP_LOCATE || job->request->op == MOUNTER_OP_ATTACH_INSIDE) {
		(void)(job->request->op == MOUNTER_OP_LOCATE ? function : job_detach_inside)(
			job, &reply, &fd);
		fd_close_p(&fd);
		if (setns(mounter->arena_namespace, CLONE_NEWNS) != 0)
			return -errno;
	}
	return checked_worker_start(mounter, job, function);
}
