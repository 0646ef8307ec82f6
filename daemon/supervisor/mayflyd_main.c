/* mayflyd [--root DIR] [--check]: Mayfly's service. See supervisor.h. */
#include "daemon/privilege/drop.h"
#include "daemon/supervisor/children.h"
#include "daemon/supervisor/host_files.h"
#include "daemon/supervisor/listening.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#define STOP_BROKER_MS 700
#define STOP_OTHERS_MS 200

/* Tells the service manager, where there is one (sd_notify(3)). */
static void notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	AUTO_FD fd = -1;

	if (!path || strlen(path) >= sizeof address.sun_path)
		return;
	(void)strcpy(address.sun_path, path);
	if (path[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
}

/* As many groups as the kernel gives root, up to what is wanted; fewer than two means no open
 * guard. */
static void groups_open(struct supervisor *supervisor)
{
	while (supervisor->groups_count < GUARD_GROUPS_MAX + 1) {
		const int fd = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK |
						     FAN_REPORT_PIDFD | FAN_UNLIMITED_QUEUE |
						     FAN_UNLIMITED_MARKS,
			O_RDONLY | O_CLOEXEC | O_LARGEFILE);

		if (fd < 0)
			break;
		supervisor->groups[supervisor->groups_count++] = fd;
	}
	if (supervisor->groups_count < GUARD_GROUPS_MAX + 1)
		log_warning("%u of %d fanotify groups: %s (fs.fanotify.max_user_groups)",
			supervisor->groups_count, GUARD_GROUPS_MAX + 1, strerrordesc_np(errno));
}

static void children_describe(struct supervisor *supervisor)
{
	supervisor->children_count = CHILD_ENGINE + supervisor->plan.engine_count;
	for (size_t i = 0; i < supervisor->children_count; i++)
		supervisor->children[i] = (struct child){
			.kind = i < CHILD_ENGINE ? (enum child_kind)i : CHILD_ENGINE,
			.index = i < CHILD_ENGINE ? 0 : (uint32_t)i - CHILD_ENGINE,
			.control = -1,
			.broker_end = -1,
			.own_end = -1,
		};
}

static int start_due_children(struct supervisor *supervisor, struct mayfly_error *err)
{
	const int64_t now = monotonic_ms();

	for (size_t i = 0; i < supervisor->children_count; i++) {
		struct child *child = &supervisor->children[i];

		if (child->pid == 0 && now >= child->start_at_ms) {
			const int r = child_start(supervisor, child, err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* Returns false if a child that has never been ready has ended: what it said on standard error will
 * not change. */
static bool reap(struct supervisor *supervisor)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < supervisor->children_count; i++) {
			struct child *child = &supervisor->children[i];

			if (child->pid != pid)
				continue;
			child_on_end(supervisor, child, status);
			if (!child->was_ready && !supervisor->is_stopping)
				return false;
		}
	return true;
}

static void kill_silent_children(struct supervisor *supervisor, int64_t last_look_ms)
{
	const int64_t now = monotonic_ms();

	/* When we were late ourselves (a suspended machine), everybody gets another chance. */
	if (now - last_look_ms > HEARTBEAT_DEADLINE_MS / 2)
		return;
	for (size_t i = 0; i < supervisor->children_count; i++) {
		struct child *child = &supervisor->children[i];

		if (child->pid && now - child->heartbeat_ms > HEARTBEAT_DEADLINE_MS) {
			log_error("a child (pid %d) gave no sign of life for %d ms: killed",
				child->pid, HEARTBEAT_DEADLINE_MS);
			(void)kill(child->pid, SIGKILL);
			child->heartbeat_ms = now;
		}
	}
}

static bool all_ready(const struct supervisor *supervisor)
{
	for (size_t i = 0; i < supervisor->children_count; i++)
		if (!supervisor->children[i].was_ready)
			return false;
	return true;
}

/* Waits up to a quarter second for signals and records. Returns the signal that asks us to end, or
 * 0. */
static int wait_once(struct supervisor *supervisor, int signals)
{
	struct pollfd polled[1 + CHILDREN_MAX] = { { signals, POLLIN, 0 } };
	struct signalfd_siginfo info;
	int end = 0;

	for (size_t i = 0; i < supervisor->children_count; i++)
		polled[1 + i] = (struct pollfd){ supervisor->children[i].control, POLLIN, 0 };
	if (poll(polled, 1 + supervisor->children_count, HEARTBEAT_INTERVAL_MS / 2) <= 0)
		return 0;
	for (size_t i = 0; i < supervisor->children_count; i++)
		if (polled[1 + i].revents & POLLIN)
			child_on_record(supervisor, &supervisor->children[i]);
	while (read(signals, &info, sizeof info) == sizeof info)
		if (info.ssi_signo == SIGTERM || info.ssi_signo == SIGINT)
			end = (int)info.ssi_signo;
	return end;
}

static int run(struct supervisor *supervisor, int signals, struct mayfly_error *err)
{
	int64_t last_look_ms = monotonic_ms();
	bool told = false;

	for (;;) {
		int r = start_due_children(supervisor, err);

		if (r < 0)
			return r;
		if (wait_once(supervisor, signals) != 0)
			return 0;
		if (!reap(supervisor))
			return error_set(err, -EIO, "a part of Mayfly could not be started");
		kill_silent_children(supervisor, last_look_ms);
		last_look_ms = monotonic_ms();
		if (!told && all_ready(supervisor)) {
			told = true;
			notify("READY=1");
			log_notice("ready");
		}
	}
}

/* Sends SIGNAL to the children of KIND (or of all kinds) and waits until they are gone, or LIMIT_MS
 * is over. */
static void end_children(struct supervisor *supervisor, bool broker_only, int signal, int limit_ms)
{
	const int64_t deadline = monotonic_ms() + limit_ms;
	size_t left;

	for (size_t i = 0; i < supervisor->children_count; i++)
		if (supervisor->children[i].pid && (!broker_only || i == CHILD_BROKER))
			(void)kill(supervisor->children[i].pid, signal);
	do {
		left = 0;
		(void)reap(supervisor);
		for (size_t i = 0; i < supervisor->children_count; i++)
			left += supervisor->children[i].pid && (!broker_only || i == CHILD_BROKER);
		if (left)
			(void)poll(NULL, 0, 5);
	} while (left && monotonic_ms() < deadline);
}

/* The broker first: it wipes what was not released, through the mounter. */
static void stop(struct supervisor *supervisor)
{
	supervisor->is_stopping = true;
	notify("STOPPING=1");
	end_children(supervisor, true, SIGTERM, STOP_BROKER_MS);
	end_children(supervisor, false, SIGTERM, STOP_OTHERS_MS);
	end_children(supervisor, false, SIGKILL, STOP_OTHERS_MS);
	listening_remove(supervisor);
	host_volumes_unmount(supervisor);
}

static int open_signals(void)
{
	sigset_t signals;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &signals, NULL);
	return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int serve(struct supervisor *supervisor, struct mayfly_error *err)
{
	AUTO_FD signals = open_signals();
	int r = children_read_plan(supervisor, err);

	if (r == 0)
		r = host_directories_make(supervisor, err);
	if (r == 0)
		r = host_key_open(supervisor, err);
	if (r == 0)
		r = listening_open(supervisor, err);
	if (r == 0)
		r = host_volumes_mount(supervisor, err);
	if (r == 0) {
		groups_open(supervisor);
		children_describe(supervisor);
		r = run(supervisor, signals, err);
	}
	stop(supervisor);
	return r;
}

static bool parse_arguments(int argc, char **argv, struct supervisor *supervisor, bool *ret_check)
{
	static const struct option options[] = {
		{ "root", required_argument, NULL, 'r' },
		{ "check", no_argument, NULL, 'c' },
		{ 0 },
	};
	char root[PATH_MAX];
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (option == 'c') {
			*ret_check = true;
		} else if (option == 'r') {
			if ((mkdir(optarg, 0755) != 0 && errno != EEXIST) ||
				!realpath(optarg, root)) {
				log_error("--root %s: %s", optarg, strerrordesc_np(errno));
				return false;
			}
			if (strcmp(root, "/") != 0)
				memcpy(supervisor->root, root, strlen(root) + 1);
		} else {
			return false;
		}
	return optind == argc;
}

static bool find_own_directory(char path[PATH_MAX])
{
	const ssize_t length = readlink("/proc/self/exe", path, PATH_MAX - 1);

	if (length <= 0)
		return false;
	path[length] = '\0';
	*strrchr(path, '/') = '\0';
	return true;
}

int main(int argc, char **argv)
{
	struct supervisor supervisor = {
		.state_lock = -1,
		.volumes = -1,
		.host_key = -1,
		.arena = -1,
		.operator_socket = { .fd = -1 },
		.container_socket = { .fd = -1 },
	};
	struct mayfly_error err;
	bool check = false;

	for (size_t i = 0; i < MAYFLY_ENGINES_MAX; i++)
		supervisor.plugin_sockets[i].fd = -1;
	process_harden();
	log_init("mayflyd", getenv("JOURNAL_STREAM") != NULL);
	if (!parse_arguments(argc, argv, &supervisor, &check)) {
		(void)fprintf(stderr, "usage: mayflyd [--root DIR] [--check]\n");
		return 2;
	}
	if (geteuid() != 0 || !find_own_directory(supervisor.program_directory)) {
		log_error("mayflyd must be started by root");
		return EXIT_FAILURE;
	}
	if (check)
		return children_run_check(&supervisor);
	if (serve(&supervisor, &err) < 0) {
		log_error("%s", err.text);
		return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
