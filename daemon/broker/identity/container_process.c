#include "daemon/broker/identity/container_process.h"

#include "proto/boot_clock.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

void container_process_done(struct container_process *process)
{
	fd_close_p(&process->pidfd);
	process->pid = 0;
}

bool process_is_alive(int pidfd)
{
	struct pollfd polled = { pidfd, POLLIN, 0 };

	return poll(&polled, 1, 0) == 0;
}

int container_process_pin(const struct cgroup_roots *roots, pid_t pid, const char *container_id,
	struct container_process *ret_process, struct mayfly_error *err)
{
	struct container_process process = { .pid = pid,
		.pidfd = (int)syscall(SYS_pidfd_open, pid, 0) };
	int r;

	if (process.pidfd < 0)
		return error_errno(err, errno == EINVAL ? -ESRCH : -errno, "pin process %d", pid);
	r = cgroup_identity_of(roots, pid, process.pidfd, container_id, &process.cgroup);
	if (r == 0 && !process_is_alive(process.pidfd))
		r = -ESRCH;
	if (r < 0) {
		container_process_done(&process);
		return r == -ENOENT
			       ? error_set(err, r, "process %d is in no cgroup of its own", pid)
			       : error_errno(err, r, "find the cgroup of process %d", pid);
	}
	*ret_process = process;
	return 0;
}

static int read_proc(
	const struct cgroup_roots *roots, pid_t pid, const char *name, char *text, size_t size)
{
	char path[48];
	AUTO_FD fd = -1;
	ssize_t length;

	(void)snprintf(path, sizeof path, "%d/%s", pid, name);
	fd = openat(roots->proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	length = read(fd, text, size - 1);
	if (length < 0)
		return -errno;
	text[length] = '\0';
	return 0;
}

static bool number_after(const char *text, const char *label, int base, uint64_t *ret_number)
{
	const char *line = strstr(text, label);

	if (!line)
		return false;
	*ret_number = strtoull(line + strlen(label), NULL, base);
	return true;
}

/* "NSpid:\t1234\t5\n": a number for each namespace, from the host's inwards. */
static bool is_in_pid_namespace(const char *text)
{
	const char *line = strstr(text, "\nNSpid:\t");
	const char *end = line ? strchrnul(line + 1, '\n') : NULL;

	return !line || memchr(line + sizeof "\nNSpid:\t" - 1, '\t',
				(size_t)(end - line) - (sizeof "\nNSpid:\t" - 1));
}

int process_status_read(const struct cgroup_roots *roots, pid_t pid,
	struct process_status *ret_status, struct mayfly_error *err)
{
	char text[8192];
	uint64_t uid, bounding, effective, no_new_privileges;
	const int r = read_proc(roots, pid, "status", text, sizeof text);

	if (r < 0)
		return error_errno(err, r, "read the status of process %d", pid);
	/* The name in the first line is the process's own choice; what follows is the kernel's,
	 * each after a newline. */
	if (!number_after(text, "\nUid:", 10, &uid) ||
		!number_after(text, "\nCapBnd:", 16, &bounding) ||
		!number_after(text, "\nCapEff:", 16, &effective) ||
		!number_after(text, "\nNoNewPrivs:", 10, &no_new_privileges))
		return error_set(err, -EIO, "the status of process %d lacks a line", pid);
	*ret_status = (struct process_status){
		.uid = (uint32_t)uid,
		.capabilities_bounding = bounding,
		.capabilities_effective = effective,
		.no_new_privileges = no_new_privileges != 0,
		.is_in_pid_namespace = is_in_pid_namespace(text),
	};
	return 0;
}

int process_start_time(const struct cgroup_roots *roots, pid_t pid, uint64_t *ret_ticks)
{
	char text[1024];
	char *field;
	const int r = read_proc(roots, pid, "stat", text, sizeof text);

	if (r < 0)
		return r;
	/* The name stands in brackets and may contain anything: the last bracket ends it. Field 3
	 * follows. */
	field = strrchr(text, ')');
	for (int i = 2; field && i < 22; i++)
		field = strchr(field + 1, ' ');
	if (!field)
		return -EIO;
	/* As the host counts them: they are compared over a restart, which may be in another time
	 * namespace. */
	*ret_ticks = strtoull(field + 1, NULL, 10) -
		     (uint64_t)(boot_clock_shift_ms() * sysconf(_SC_CLK_TCK) / 1000);
	return 0;
}
