#include "daemon/mounter/kernel/namespaces.h"

#include "daemon/mounter/kernel/kernel_calls.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* From /proc/self/fdinfo ("Pid:\t123"; -1 once it is reaped). */
int process_id(int proc, int pidfd)
{
	char path[48], text[512];
	AUTO_FD info = -1;
	ssize_t length;
	const char *line;

	(void)snprintf(path, sizeof path, "%d/fdinfo/%d", getpid(), pidfd);
	info = open_proc(proc, path, O_RDONLY);
	if (info < 0)
		return info;
	length = read(info, text, sizeof text - 1);
	if (length < 0)
		return -errno;
	text[length] = '\0';
	line = strstr(text, "\nPid:");
	if (!line)
		return -EBADF;
	return atoi(line + 5) > 0 ? atoi(line + 5) : -ESRCH;
}

static int namespace_inode(int directory, const char *name, uint64_t *ret_inode)
{
	struct stat status;

	if (fstatat(directory, name, &status, 0) != 0)
		return -errno;
	*ret_inode = status.st_ino;
	return 0;
}

/* DIRECTORY is /proc/PID or /proc/PID/task/TID. */
static int read_namespaces(int directory, struct namespaces *found)
{
	int r = namespace_inode(directory, "ns/mnt", &found->mount);

	if (r == 0)
		r = namespace_inode(directory, "ns/pid", &found->pid);
	if (r == 0)
		r = namespace_inode(directory, "ns/ipc", &found->ipc);
	if (r == 0)
		r = namespace_inode(directory, "ns/cgroup", &found->cgroup);
	return r;
}

static int read_of_thread(int tasks, const struct directory_entry *entry, void *data)
{
	AUTO_FD thread = open_proc(tasks, entry->name, O_PATH | O_DIRECTORY);

	/* -EALREADY ends the search: found. */
	return thread >= 0 && read_namespaces(thread, data) == 0 ? -EALREADY : 0;
}

/* The links of a leader that has exited are gone while its threads live on. */
static int read_of_a_thread(int process, struct namespaces *found)
{
	AUTO_FD tasks = open_proc(process, "task", O_RDONLY | O_DIRECTORY);
	const int r = tasks < 0 ? tasks : directory_for_each(tasks, read_of_thread, found);

	return r == -EALREADY ? 0 : r < 0 ? r : -ESRCH;
}

int namespaces_of(int proc, int pidfd, struct namespaces *ret_namespaces)
{
	struct namespaces found = { 0 };
	AUTO_FD process = -1;
	const int pid = process_id(proc, pidfd);
	char path[16];
	int r;

	if (pid < 0)
		return pid;
	(void)snprintf(path, sizeof path, "%d", pid);
	process = open_proc(proc, path, O_PATH | O_DIRECTORY);
	if (process < 0)
		return process == -ENOENT ? -ESRCH : process;
	r = read_namespaces(process, &found);
	if (r == -ENOENT || r == -ESRCH)
		r = read_of_a_thread(process, &found);
	if (r < 0)
		return r;
	/* The same process still: PROCESS was opened while PIDFD held this number. */
	if (process_id(proc, pidfd) != pid)
		return -ESRCH;
	*ret_namespaces = found;
	return 0;
}

int namespaces_of_self(int proc, struct namespaces *ret_namespaces)
{
	char path[16];
	AUTO_FD process = -1;

	(void)snprintf(path, sizeof path, "%d", getpid());
	process = open_proc(proc, path, O_PATH | O_DIRECTORY);
	return process < 0 ? process : read_namespaces(process, ret_namespaces);
}

int mount_namespace_open(int proc, int pidfd)
{
	const int pid = process_id(proc, pidfd);
	AUTO_FD opened = -1;
	char path[32];

	if (pid < 0)
		return pid;
	(void)snprintf(path, sizeof path, "%d/ns/mnt", pid);
	opened = open_proc_link(proc, path);
	if (opened >= 0 && process_id(proc, pidfd) != pid)
		return -ESRCH;
	return fd_take(&opened);
}

int mount_namespace_enter(int pidfd)
{
	return setns(pidfd, CLONE_NEWNS) == 0 ? 0 : -errno;
}
