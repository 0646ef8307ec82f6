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

/* Reads WORKER's reply into *REPLY and its descriptor into *RET_FD (-1 without), and has it end. One
 * without a reply gives -EIO, or -ETIMEDOUT after its deadline. Its slot becomes free as it is
 * reaped: at once, or by worker_reap(). */
void worker_finish(struct worker *worker, struct mounter_reply *reply, int *ret_fd);

/* Frees the slot of one that is finished, once it has ended. */
void worker_reap(struct worker *worker);

/* Kills WORKER if its deadline is behind NOW_MS: its socket then reads as ended. True when it is
 * late even for that, since something in the kernel holds it: to be finished all the same. */
bool worker_kill_if_late(struct worker *worker, int64_t now_ms);

/* In how many milliseconds to look at workers again: soon while one is about to end. */
int workers_look_again_ms(const struct mounter *mounter, int64_t now_ms, int otherwise_ms);

/* Every slot is taken by one that cannot be killed: only a successor of this process has others. */
bool workers_are_lost(const struct mounter *mounter, int64_t now_ms);
