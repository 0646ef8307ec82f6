#include "daemon/mounter/worker.h"

#include "proto/cleanup.h"
#include "proto/fd_passing.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CLOSING_MS 100
#define ENDING_MS  500 /* from SIGKILL to the end of a process that nothing holds */
#define REAPING_MS 2   /* between looks whether it has ended */

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static size_t free_slot(const struct mounter *mounter)
{
	size_t slot = 0;

	while (slot < WORKERS_MAX && mounter->workers[slot].pid != 0)
		slot++;
	return slot;
}

bool worker_has_free_slot(const struct mounter *mounter)
{
	return free_slot(mounter) < WORKERS_MAX;
}

static _Noreturn void run_in_child(const struct job *job, job_function *function, int socket)
{
	struct mounter_reply reply = { .op = job->request->op };
	int fd = -1;

	reply.status = function(job, &reply, &fd);
	(void)fd_send(socket, &reply, sizeof reply, &fd, fd >= 0 ? 1 : 0);
	/* One that is held for writing keeps its tmpfs from being sealed: see wait_for_close(). */
	fd_close_p(&fd);
	(void)close(socket);
	/* Not exit(): nothing of the parent's state may be written out by its child. */
	_exit(0);
}

int worker_start(struct mounter *mounter, const struct job *job, job_function *function)
{
	const size_t slot = free_slot(mounter);
	int pair[2];
	pid_t pid;

	if (slot == WORKERS_MAX)
		return -EAGAIN;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		run_in_child(job, function, pair[1]);
	(void)close(pair[1]);
	if (pid < 0) {
		const int code = -errno;
		(void)close(pair[0]);
		return code;
	}
	mounter->workers[slot] = (struct worker){
		.pid = pid,
		.socket = pair[0],
		.deadline_ms = now_ms() + MOUNTER_WORKER_DEADLINE_MS,
		.request = *job->request,
		.delivery = job->delivery,
	};
	if (job->delivery)
		job->delivery->is_busy = true;
	return 0;
}

int worker_start_own(struct mounter *mounter, const struct job *job, job_function *function)
{
	const size_t slot = free_slot(mounter);
	const int r = worker_start(mounter, job, function);

	if (r == 0)
		mounter->workers[slot].is_own = true;
	return r;
}

static bool is_answered_for(const struct worker *worker)
{
	return worker->pid > 0 && worker->socket < 0;
}

void worker_reap(struct worker *worker)
{
	if (is_answered_for(worker) && waitpid(worker->pid, NULL, WNOHANG) != 0)
		*worker = (struct worker){ 0 };
}

/* What the worker has sent it has also closed, once its end of the socket is gone. That follows at once;
 * a worker that hangs there has nothing left to do with files. */
static void wait_for_close(int socket)
{
	struct pollfd polled = { .fd = socket, .events = POLLIN };

	(void)poll(&polled, 1, CLOSING_MS);
}

void worker_finish(struct worker *worker, struct mounter_reply *reply, int *ret_fd)
{
	struct fd_set_passed fds;
	const ssize_t received = fd_receive(worker->socket, reply, sizeof *reply, &fds);

	*ret_fd = -1;
	if (received == sizeof *reply && fds.count <= 1) {
		if (fds.count == 1)
			*ret_fd = fds.fds[0];
		fds.count = 0;
		reply->detail[sizeof reply->detail - 1] = '\0';
		wait_for_close(worker->socket);
	} else {
		*reply = (struct mounter_reply){ .op = worker->request.op };
		reply->status =
			reply_fail(reply, now_ms() >= worker->deadline_ms ? -ETIMEDOUT : -EIO,
				"the worker was killed");
		if (received >= 0)
			fd_set_passed_done(&fds);
	}
	(void)close(worker->socket);
	(void)kill(worker->pid, SIGKILL);
	if (worker->delivery)
		worker->delivery->is_busy = false;
	/* Not waited for: what hangs in the kernel does not end by SIGKILL. */
	*worker = (struct worker){ .pid = worker->pid, .socket = -1, .deadline_ms = now_ms() };
	worker_reap(worker);
}

bool worker_kill_if_late(struct worker *worker, int64_t now)
{
	if (worker->pid <= 0 || is_answered_for(worker) || now < worker->deadline_ms)
		return false;
	(void)kill(worker->pid, SIGKILL);
	return now >= worker->deadline_ms + ENDING_MS;
}

int workers_look_again_ms(const struct mounter *mounter, int64_t now, int otherwise_ms)
{
	for (size_t i = 0; i < WORKERS_MAX; i++)
		if (is_answered_for(&mounter->workers[i]) &&
			now < mounter->workers[i].deadline_ms + ENDING_MS)
			return REAPING_MS;
	return otherwise_ms;
}

bool workers_are_lost(const struct mounter *mounter, int64_t now)
{
	size_t slot = 0;

	while (slot < WORKERS_MAX && is_answered_for(&mounter->workers[slot]) &&
		now >= mounter->workers[slot].deadline_ms + ENDING_MS)
		slot++;
	return slot == WORKERS_MAX;
}
