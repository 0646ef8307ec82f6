/* Telling the application: by signals, by a restart, or by nothing. A process is found by its name
 * among those of the container, pinned by its pidfd and looked at again; the mounter sends the signal
 * and sees for itself whose process it is. */
#include "daemon/broker/config/signal_name.h"
#include "daemon/broker/rotation/target_work.h"
#include "proto/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RESTART_TIMEOUT_S 600 /* for its end; the container itself says how long it may take */

static void tell_next(struct target_work *work);

/* --- a process by its name --- */

static bool has_name(const struct cgroup_roots *roots, pid_t pid, const char *name)
{
	char path[32], comm[32];
	AUTO_FD file = -1;
	ssize_t length;

	(void)snprintf(path, sizeof path, "%d/comm", pid);
	file = openat(roots->proc, path, O_RDONLY | O_CLOEXEC);
	length = file < 0 ? -1 : read(file, comm, sizeof comm - 1);
	if (length <= 0)
		return false;
	comm[length - 1] = '\0';
	return strcmp(comm, name) == 0;
}

/* PID is in the container of WORK, and in no other one's cgroup below. */
static bool is_in_container(const struct target_work *work, pid_t pid, int pidfd)
{
	const struct cgroup_roots *roots = &work->leases->roots;
	struct cgroup_chain chain;

	return cgroup_chain_read(roots, pid, pidfd, work->init.cgroup.hierarchy, &chain) == 0 &&
	       cgroup_chain_has(&chain, &work->init.cgroup);
}

/* Pins PID if it is what is looked for: everything is read after it was pinned, and it lives after
 * that. */
static int pin(const struct target_work *work, pid_t pid, const char *name)
{
	AUTO_FD pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (pidfd < 0 || !is_in_container(work, pid, pidfd) ||
		!has_name(&work->leases->roots, pid, name) || !process_is_alive(pidfd))
		return -1;
	return fd_take(&pidfd);
}

/* On a pool thread: a host may have many processes. The oldest one with the name is meant: a server's
 * first process, not its workers. */
static void search(struct work_item *item)
{
	struct target_work *work = container_of(item, struct target_work, search);
	const struct cgroup_roots *roots = &work->leases->roots;
	const char *name = work->tellings[work->telling].process;
	const int again = openat(roots->proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *proc = again < 0 ? NULL : fdopendir(again);
	uint64_t oldest = UINT64_MAX, started;
	struct dirent *entry;

	while (proc && (entry = readdir(proc))) {
		const pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
		int pidfd;

		if (pid <= 0 || !has_name(roots, pid, name) ||
			process_start_time(roots, pid, &started) < 0 || started >= oldest)
			continue;
		pidfd = pin(work, pid, name);
		if (pidfd < 0)
			continue;
		oldest = started;
		fd_close_p(&work->found);
		work->found = pidfd;
	}
	if (proc)
		(void)closedir(proc);
}

/* --- signals --- */

static void failed(struct target_work *work, const char *why)
{
	const struct telling *telling = &work->tellings[work->telling];

	target_finish(work, TARGET_UNTOLD, "%s%s%s: %s", signal_name(telling->signal),
		telling->process[0] ? " to " : "", telling->process, why);
}

static void on_sent(const struct mounter_reply *reply, int fd, void *data)
{
	struct target_work *work = data;

	(void)fd;
	fd_close_p(&work->found);
	if (work->target && reply->status < 0) {
		failed(work, reply->detail[0] ? reply->detail : strerrordesc_np(-reply->status));
	} else if (work->target) {
		work->telling++;
		tell_next(work);
	}
	handle_group_release(&work->handles);
}

static void send_signal(struct target_work *work, int process)
{
	struct mounter_request request = { .op = MOUNTER_OP_SIGNAL,
		.mode = (uint32_t)work->tellings[work->telling].signal };
	const int pidfds[2] = { work->init.pidfd, process };

	handle_group_hold(&work->handles);
	if (mounter_link_send(work->leases->mounter, &request, pidfds, 2, on_sent, work) < 0) {
		failed(work, "mayfly-mounter is being restarted");
		handle_group_release(&work->handles);
	}
}

static void on_searched(struct work_item *item, bool is_abandoned)
{
	struct target_work *work = container_of(item, struct target_work, search);

	(void)is_abandoned;
	if (work->target && work->found >= 0)
		send_signal(work, work->found);
	else if (work->target)
		failed(work, "no process of the container has this name");
	handle_group_release(&work->handles);
}

static void start_search(struct target_work *work)
{
	work->search = (struct work_item){ .run = search, .on_done = on_searched };
	handle_group_hold(&work->handles);
	if (work_queue_start(work->leases->loop, &work->search, NULL) < 0) {
		failed(work, "the work queue takes nothing more");
		handle_group_release(&work->handles);
	}
}

/* "HUP to nginx, USR1" */
static void told_text(const struct target_work *work, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < work->tellings_count && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s%s%s", i > 0 ? ", " : "",
			signal_name(work->tellings[i].signal),
			work->tellings[i].process[0] ? " to " : "", work->tellings[i].process);
}

static void tell_next(struct target_work *work)
{
	char text[sizeof work->target->text];

	if (work->telling == work->tellings_count) {
		told_text(work, text, sizeof text);
		target_finish(work, TARGET_TOLD, "%s", text);
	} else if (work->tellings[work->telling].process[0]) {
		start_search(work);
	} else {
		send_signal(work, work->init.pidfd);
	}
}

/* --- restart --- */

static void on_no_facts(struct engine_question *question, const struct container_facts *facts,
	const char *id, const char *why)
{
	(void)question;
	(void)facts;
	(void)id;
	(void)why;
}

static void on_restarted(struct engine_question *question, int status, const char *why)
{
	struct target_work *work = container_of(question, struct target_work, question);

	work->is_asking = false;
	if (status == 0)
		target_finish(work, TARGET_RESTARTED, "%s", "");
	else
		target_finish(work, TARGET_FAILED, "restart: %s", why);
}

static void restart(struct target_work *work, const struct lease *lease)
{
	work->question =
		(struct engine_question){ .on_facts = on_no_facts, .on_done = on_restarted };
	work->is_asking = engine_link_restart(work->leases->engines[lease->engine],
				  lease->holder.id, RESTART_TIMEOUT_S, &work->question) == 0;
	if (!work->is_asking)
		target_finish(work, TARGET_FAILED, "restart: its engine does not answer");
}

void target_tell(struct target_work *work)
{
	const struct rotations *rotations = work->target->rotation->rotations;
	struct lease *lease = target_lease(work);

	if (!lease)
		return;
	if (work->wants_restart) {
		restart(work, lease);
	} else if (work->tellings_count > 0) {
		container_process_done(&work->init);
		work->init = lease->init;
		work->init.pidfd = fcntl(lease->init.pidfd, F_DUPFD_CLOEXEC, 0);
		tell_next(work);
	} else if (rotations->is_watched && rotations->is_watched(rotations->data, lease)) {
		target_finish(work, TARGET_WATCHES, "%s", "");
	} else if (work->is_quiet) {
		target_finish(work, TARGET_QUIET, "%s", "");
	} else {
		target_finish(work, TARGET_UNTOLD, "its grant says nothing of it: set `on_rotate`");
	}
}
