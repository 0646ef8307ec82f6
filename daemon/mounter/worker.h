/* Forked workers: started, waited for, killed when late. See the glossary in mounter.h. */
#pragma once

#include "daemon/mounter/worker_jobs.h"

typedef int job_function(const struct job *job, struct mounter_reply *reply, int *ret_fd);

/* Forks a worker that runs FUNCTION on JOB and sends its reply and descriptor back over a socket of
 * its own. Marks the delivery busy. Returns 0; -EAGAIN when WORKERS_MAX are at work; or why it
 * could not be forked. */
int worker_start(struct mounter *mounter, const struct job *job, job_function *function);

/* The same where nobody has asked: its end is nobody's reply. */
int worker_start_own(struct mounter *mounter, const struct job *job, job_function *function);

/* Is there a slot for one more? Without one nothing is asked for: it would only be refused. */
bool worker_has_free_slot(const struct mounter *mounter);

/* Reads the finished WORKER's reply into *REPLY and its descriptor into *RET_FD (-1 without), reaps
 * it and frees its slot. A worker that ended without a reply gives -EIO. */
void worker_finish(
	struct mounter *mounter, struct worker *worker, struct mounter_reply *reply, int *ret_fd);

/* Kills WORKER if its deadline is behind NOW_MS: its socket then reads as ended. */
void worker_kill_if_late(struct worker *worker, int64_t now_ms);
