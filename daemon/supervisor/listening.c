#include "daemon/supervisor/listening.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PLUGIN_DIRECTORY "/run/docker/plugins"
#define FIRST_PASSED_FD	 3
/* Engines connect without waiting: a full queue is an error for them, not a delay. */
#define BACKLOG		 1024

static int address_of(const char *directory, const char *name, struct sockaddr_un *address)
{
	const int length =
		snprintf(address->sun_path, sizeof address->sun_path, "%s/%s", directory, name);

	address->sun_family = AF_UNIX;
	return length < (int)sizeof address->sun_path ? 0 : -ENAMETOOLONG;
}

/* A socket of the service manager's that is bound to ADDRESS, or -1. */
static int passed_socket(const struct sockaddr_un *address)
{
	const char *pid = getenv("LISTEN_PID");
	const char *count = getenv("LISTEN_FDS");

	if (!pid || !count || strtol(pid, NULL, 10) != getpid())
		return -1;
	for (int fd = FIRST_PASSED_FD; fd < FIRST_PASSED_FD + atoi(count); fd++) {
		struct sockaddr_un found = { 0 };
		socklen_t length = sizeof found;

		if (getsockname(fd, (struct sockaddr *)&found, &length) == 0 &&
			found.sun_family == AF_UNIX &&
			strcmp(found.sun_path, address->sun_path) == 0) {
			(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
			return fd;
		}
	}
	return -1;
}

/* -EADDRINUSE when somebody accepts connections there. */
static int remove_stale(const struct sockaddr_un *address)
{
	AUTO_FD probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (probe < 0)
		return -errno;
	if (connect(probe, (const struct sockaddr *)address, sizeof *address) == 0 ||
		errno == EAGAIN)
		return -EADDRINUSE;
	if (errno == ENOENT)
		return 0;
	return unlink(address->sun_path) == 0 || errno == ENOENT ? 0 : -errno;
}

/* The umask is 077: nobody can connect before the mode is widened. */
static int bind_socket(const struct sockaddr_un *address)
{
	AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r = fd < 0 ? -errno : remove_stale(address);

	if (r < 0)
		return r;
	if (bind(fd, (const struct sockaddr *)address, sizeof *address) != 0 ||
		listen(fd, BACKLOG) != 0)
		return -errno;
	return fd_take(&fd);
}

/* Who may connect is the configuration's to say, whoever has made the socket. */
static int open_to(const struct sockaddr_un *address, mode_t mode, gid_t gid)
{
	if (gid != (gid_t)-1 && chown(address->sun_path, 0, gid) != 0)
		return -errno;
	return chmod(address->sun_path, mode) == 0 ? 0 : -errno;
}

static int open_socket(const char *directory, const char *name, mode_t mode, gid_t gid,
	struct listening_socket *ret_socket, struct mayfly_error *err)
{
	struct sockaddr_un address = { 0 };
	struct listening_socket opened = { .fd = -1 };
	int r = address_of(directory, name, &address);

	if (r < 0)
		return error_errno(err, r, "listen on %s/%s", directory, name);
	opened.fd = passed_socket(&address);
	if (opened.fd < 0) {
		opened.fd = bind_socket(&address);
		opened.is_ours = true;
	}
	if (opened.fd == -EADDRINUSE)
		return error_set(err, opened.fd, "listen on %s: another process serves it",
			address.sun_path);
	if (opened.fd < 0)
		return error_errno(err, opened.fd, "listen on %s", address.sun_path);
	*ret_socket = opened;
	r = open_to(&address, mode, gid);
	return r < 0 ? error_errno(err, r, "set owner and mode of %s", address.sun_path) : 0;
}

int listening_open(struct supervisor *supervisor, struct mayfly_error *err)
{
	const struct launch_plan *plan = &supervisor->plan;
	char directory[PATH_MAX + 32], name[80];
	int r;

	(void)snprintf(directory, sizeof directory, "%s/run/mayfly", supervisor->root);
	r = open_socket(directory, "operator.sock", plan->operator_gid == (gid_t)-1 ? 0600 : 0660,
		plan->operator_gid, &supervisor->operator_socket, err);
	if (r < 0)
		return r;
	/* In a directory of its own, which is what containers get to see. Everybody may connect:
	 * who it is is asked afterwards. */
	(void)snprintf(directory, sizeof directory, "%s/run/mayfly/container", supervisor->root);
	r = open_socket(
		directory, "container.sock", 0666, (gid_t)-1, &supervisor->container_socket, err);
	if (r < 0)
		return r;
	if ((mkdir("/run/docker", 0755) != 0 && errno != EEXIST) ||
		(mkdir(PLUGIN_DIRECTORY, 0755) != 0 && errno != EEXIST))
		return error_errno(err, -errno, "make %s", PLUGIN_DIRECTORY);
	for (uint32_t i = 0; i < plan->engine_count; i++) {
		(void)snprintf(name, sizeof name, "%s.sock", plan->engines[i].plugin_name);
		r = open_socket(PLUGIN_DIRECTORY, name, 0600, (gid_t)-1,
			&supervisor->plugin_sockets[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void remove_socket(const struct listening_socket *listening)
{
	struct sockaddr_un address = { 0 };
	socklen_t length = sizeof address;

	if (listening->fd >= 0 && listening->is_ours &&
		getsockname(listening->fd, (struct sockaddr *)&address, &length) == 0)
		(void)unlink(address.sun_path);
}

void listening_remove(const struct supervisor *supervisor)
{
	remove_socket(&supervisor->operator_socket);
	remove_socket(&supervisor->container_socket);
	for (size_t i = 0; i < MAYFLY_ENGINES_MAX; i++)
		remove_socket(&supervisor->plugin_sockets[i]);
}
