#include "daemon/broker/identity/cgroup_identity.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define CGROUP_TEXT_SIZE       16384
#define PROC_CGROUP_INIT_INODE 0xEFFFFFFBu /* the initial cgroup namespace, <linux/proc_ns.h> */
#define PROC_PID_INIT_INODE    0xEFFFFFFCu

/* <linux/pidfd.h> of 6.13: the beginning of struct pidfd_info. */
struct pidfd_info_begin {
	uint64_t mask;
	uint64_t cgroup_id;
	uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
	int32_t exit_code;
};
#define PIDFD_INFO_HAS_PID    (UINT64_C(1) << 0)
#define PIDFD_INFO_HAS_CGROUP (UINT64_C(1) << 2)
#define PIDFD_GET_INFO_CALL   _IOWR(0xFF, 11, struct pidfd_info_begin)

/* What a hierarchy is called in /proc/PID/cgroup, and where it is mounted. */
static const struct {
	const char *controller; /* NULL: the line "0::" */
	const char *path;
} hierarchies[CGROUP_HIERARCHIES] = {
	[CGROUP_V1_SYSTEMD] = { "name=systemd", "/sys/fs/cgroup/systemd" },
	[CGROUP_V1_PIDS] = { "pids", "/sys/fs/cgroup/pids" },
	[CGROUP_V1_MEMORY] = { "memory", "/sys/fs/cgroup/memory" },
};

static int open_directory(const char *path)
{
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool is_cgroup2(int fd)
{
	struct statfs status;

	return fd >= 0 && fstatfs(fd, &status) == 0 && status.f_type == CGROUP2_SUPER_MAGIC;
}

static bool in_initial_namespaces(void)
{
	struct stat cgroup, pid;

	return stat("/proc/self/ns/cgroup", &cgroup) == 0 && stat("/proc/self/ns/pid", &pid) == 0 &&
	       cgroup.st_ino == PROC_CGROUP_INIT_INODE && pid.st_ino == PROC_PID_INIT_INODE;
}

int cgroup_roots_open(struct cgroup_roots *ret_roots, struct mayfly_error *err)
{
	struct cgroup_roots roots = { .proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC) };

	if (roots.proc < 0)
		return error_errno(err, -errno, "open /proc");
	if (!in_initial_namespaces())
		return error_set(err, -EREMOTE,
			"Mayfly must run in the host's own pid and cgroup namespaces, not in a "
			"container");
	for (int i = 0; i < CGROUP_HIERARCHIES; i++)
		roots.roots[i] = hierarchies[i].path ? open_directory(hierarchies[i].path) : -1;
	roots.roots[CGROUP_V2] = open_directory("/sys/fs/cgroup");
	roots.is_v2_only = is_cgroup2(roots.roots[CGROUP_V2]);
	if (!roots.is_v2_only) {
		fd_close_p(&roots.roots[CGROUP_V2]);
		roots.roots[CGROUP_V2] = open_directory("/sys/fs/cgroup/unified");
		if (!is_cgroup2(roots.roots[CGROUP_V2]))
			fd_close_p(&roots.roots[CGROUP_V2]);
	}
	*ret_roots = roots;
	return 0;
}

static int read_cgroup_text(const struct cgroup_roots *roots, pid_t pid, char *text)
{
	char path[32];
	AUTO_FD fd = -1;
	ssize_t length;

	(void)snprintf(path, sizeof path, "%d/cgroup", pid);
	fd = openat(roots->proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	length = read(fd, text, CGROUP_TEXT_SIZE - 1);
	if (length < 0)
		return -errno;
	/* A text that fills the buffer may be cut: its paths are not to be relied on. */
	if (length == CGROUP_TEXT_SIZE - 1)
		return -E2BIG;
	text[length] = '\0';
	return 0;
}

/* True when the comma-separated LIST of LENGTH bytes has WORD. */
static bool list_has(const char *list, size_t length, const char *word)
{
	const size_t wanted = strlen(word);

	for (size_t at = 0; at + wanted <= length; at++) {
		if (memcmp(list + at, word, wanted) == 0 &&
			(at + wanted == length || list[at + wanted] == ','))
			return true;
		while (at < length && list[at] != ',')
			at++;
	}
	return false;
}

/* The path of HIERARCHY in TEXT ("4:memory:/docker/x"), cut at its newline; NULL when it has none.
 * A path may contain colons: only the first two of a line separate. */
static char *path_in(char *text, enum cgroup_hierarchy hierarchy)
{
	char *line = text;

	while (line && *line) {
		char *end = strchrnul(line, '\n');
		char *next = *end ? end + 1 : NULL;
		char *controllers = memchr(line, ':', (size_t)(end - line));
		char *path = controllers
				     ? memchr(controllers + 1, ':', (size_t)(end - controllers - 1))
				     : NULL;

		if (path) {
			const size_t length = (size_t)(path - controllers - 1);
			const char *wanted = hierarchies[hierarchy].controller;

			if (wanted ? list_has(controllers + 1, length, wanted) : length == 0) {
				*end = '\0';
				return path + 1;
			}
		}
		line = next;
	}
	return NULL;
}

/* Fills CHAIN with the ids of each directory of PATH ("/a/b"), below ROOT. ANCHOR, when not NULL,
 * gets the index of the outermost directory whose name contains CONTAINER_ID, or stays. */
static int walk(
	int root, char *path, struct cgroup_chain *chain, const char *container_id, size_t *anchor)
{
	bool found = false;

	chain->depth = 0;
	chain->is_of_root = true;
	for (char *at = path; *at == '/' && at[1];) {
		char *end = strchrnul(at + 1, '/');
		const char stop = *end;
		struct stat status;

		if (chain->depth == CGROUP_DEPTH_MAX)
			return -ELOOP;
		*end = '\0';
		if (fstatat(root, path + 1, &status, AT_SYMLINK_NOFOLLOW) != 0)
			return errno == ENOENT ? -ESRCH : -errno;
		if (container_id && !found && strstr(at + 1, container_id)) {
			*anchor = chain->depth;
			found = true;
		}
		chain->ids[chain->depth++] = status.st_ino;
		chain->is_of_root = chain->is_of_root && status.st_uid == 0;
		*end = stop;
		at = end;
	}
	return chain->depth > 0 ? 0 : -ENOENT;
}

static bool leaf_is_confirmed(const struct cgroup_chain *chain, int pidfd)
{
	struct pidfd_info_begin info = { .mask = PIDFD_INFO_HAS_PID | PIDFD_INFO_HAS_CGROUP };

	if (chain->hierarchy != CGROUP_V2 || pidfd < 0)
		return true;
	if (ioctl(pidfd, PIDFD_GET_INFO_CALL, &info) != 0)
		/* Kernels before 6.13 cannot say. One that can says this of a process that has been
		 * reaped, whose number may be another's by then. */
		return errno != ESRCH;
	/* Since 6.16 there are pidfds of the dead that still have a cgroup: the pid bit is the
	 * proof of life. */
	return (info.mask & PIDFD_INFO_HAS_PID) && (info.mask & PIDFD_INFO_HAS_CGROUP) &&
	       info.cgroup_id == chain->ids[chain->depth - 1];
}

static int chain_in(const struct cgroup_roots *roots, const char *text,
	enum cgroup_hierarchy hierarchy, struct cgroup_chain *chain, const char *container_id,
	size_t *anchor)
{
	char copy[CGROUP_TEXT_SIZE];
	char *path;

	if (roots->roots[hierarchy] < 0)
		return -ENOENT;
	memcpy(copy, text, strlen(text) + 1);
	path = path_in(copy, hierarchy);
	if (!path || path[0] != '/' || strncmp(path, "/..", 3) == 0)
		return -ENOENT;
	chain->hierarchy = hierarchy;
	return walk(roots->roots[hierarchy], path, chain, container_id, anchor);
}

static int chain_read(const struct cgroup_roots *roots, pid_t pid, int pidfd,
	enum cgroup_hierarchy hierarchy, struct cgroup_chain *ret_chain, const char *container_id,
	size_t *anchor)
{
	char text[CGROUP_TEXT_SIZE];
	struct cgroup_chain chain = { 0 };
	int r = read_cgroup_text(roots, pid, text);

	if (r < 0)
		return r;
	if (hierarchy != CGROUP_NONE) {
		r = chain_in(roots, text, hierarchy, &chain, container_id, anchor);
	} else {
		r = -ENOENT;
		for (hierarchy = CGROUP_V2; hierarchy < CGROUP_HIERARCHIES && r == -ENOENT;
			hierarchy++)
			r = chain_in(roots, text, hierarchy, &chain, container_id, anchor);
	}
	if (r < 0)
		return r;
	if (!leaf_is_confirmed(&chain, pidfd))
		return -ESRCH;
	*ret_chain = chain;
	return 0;
}

int cgroup_chain_read(const struct cgroup_roots *roots, pid_t pid, int pidfd,
	enum cgroup_hierarchy hierarchy, struct cgroup_chain *ret_chain)
{
	return chain_read(roots, pid, pidfd, hierarchy, ret_chain, NULL, NULL);
}

int cgroup_identity_of(const struct cgroup_roots *roots, pid_t pid, int pidfd,
	const char *container_id, struct cgroup_identity *ret_identity)
{
	struct cgroup_chain chain;
	size_t anchor = SIZE_MAX;
	const int r = chain_read(roots, pid, pidfd, CGROUP_NONE, &chain, container_id, &anchor);

	if (r < 0)
		return r;
	*ret_identity = (struct cgroup_identity){
		.hierarchy = chain.hierarchy,
		.id = chain.ids[anchor < chain.depth ? anchor : chain.depth - 1],
	};
	return 0;
}

bool cgroup_chain_has(const struct cgroup_chain *chain, const struct cgroup_identity *identity)
{
	if (chain->hierarchy != identity->hierarchy || identity->hierarchy == CGROUP_NONE)
		return false;
	for (size_t i = 0; i < chain->depth; i++)
		if (chain->ids[i] == identity->id)
			return true;
	return false;
}

bool cgroup_mentions(const struct cgroup_roots *roots, pid_t pid, const char *container_id)
{
	char text[CGROUP_TEXT_SIZE];

	return read_cgroup_text(roots, pid, text) == 0 && strstr(text, container_id);
}

bool cgroup_names_a_container(const struct cgroup_roots *roots, pid_t pid)
{
	char text[CGROUP_TEXT_SIZE];

	if (read_cgroup_text(roots, pid, text) < 0)
		return false;
	for (const char *at = text; *at;) {
		const size_t length = strspn(at, "0123456789abcdef");

		if (length == 64)
			return true;
		at += length > 0 ? length : 1;
	}
	return false;
}
