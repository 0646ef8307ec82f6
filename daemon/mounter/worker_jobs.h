/* What a worker does: each function runs in a forked child, may end in another mount namespace and
 * has no way back. It fills REPLY and may leave one descriptor in *RET_FD for the mounter. Safe
 * because a worker holds the capabilities but none of the container's code ever runs in it: it
 * executes nothing, loads nothing, joins no pid or user namespace, follows no link and reads no
 * /proc after it has entered. */
#pragma once

#include "daemon/mounter/mounter.h"

struct job {
	struct mounter *mounter;
	struct delivery *delivery; /* NULL for ENGINE_ROOT */
	const struct mounter_request *request;
	struct request_descriptors descriptors;
};

int job_file(const struct job *job, struct mounter_reply *reply, int *ret_fd);
int job_commit(const struct job *job, struct mounter_reply *reply, int *ret_fd);
int job_take(const struct job *job, struct mounter_reply *reply, int *ret_fd);
int job_clean(const struct job *job, struct mounter_reply *reply, int *ret_fd);
int job_attach(const struct job *job, struct mounter_reply *reply, int *ret_fd);
int job_locate(const struct job *job, struct mounter_reply *reply, int *ret_fd);
int job_attach_inside(const struct job *job, struct mounter_reply *reply, int *ret_fd);
int job_detach_inside(const struct job *job, struct mounter_reply *reply, int *ret_fd);
int job_detach(const struct job *job, struct mounter_reply *reply, int *ret_fd);
int job_wipe(const struct job *job, struct mounter_reply *reply, int *ret_fd);
int job_forget(const struct job *job, struct mounter_reply *reply, int *ret_fd);
int job_engine_root(const struct job *job, struct mounter_reply *reply, int *ret_fd);
int job_sweep(const struct job *job, struct mounter_reply *reply, int *ret_fd);
int job_adopt(const struct job *job, struct mounter_reply *reply, int *ret_fd);
