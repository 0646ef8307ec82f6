#include "daemon/supervisor/children.h"

#include "daemon/supervisor/guard_sweep.h"
#include "daemon/supervisor/host_files.h"
#include "proto/cleanup.h"
#include "proto/fd_passing.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARGUMENTS_MAX	24
#define DESCRIPTORS_MAX (BROKER_FD_ENGINES + 2 * MAYFLY_ENGINES_MAX + GUARD_GROUPS_MAX + 1)
#define NEVER		INT64_MAX
/* Where descriptors are parked between being collected and being put at their final numbers. */
#define PARKING		512

/* What a child is born with: arguments, and descriptors in order from number 3. */
struct birth {
	const char *arguments[ARGUMENTS_MAX];
	size_t arguments_count;
	int descriptors[DESCRIPTORS_MAX];
	size_t descriptors_count;
	const struct rlimit *open_files; /* NULL: as it is */
};

int64_t monotonic_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const char *program_of(enum child_kind kind)
{
	switch (kind) {
	case CHILD_BROKER:
		return "mayfly-broker";
	case CHILD_MOUNTER:
		return "mayfly-mounter";
	case CHILD_ENGINE:
		break;
	}
	return "mayfly-engine";
}

static void argument(struct birth *birth, const char *text)
{
	birth->arguments[birth->arguments_count++] = text;
}

static void descriptor(struct birth *birth, int fd)
{
	birth->descriptors[birth->descriptors_count++] = fd;
}

/* Only async-signal-safe calls from here to execv. */
static _Noreturn void become(const char *path, const struct birth *birth)
{
	const int first = CHILD_FD_CONTROL, count = (int)birth->descriptors_count;
	sigset_t none;

	for (int i = 0; i < count; i++)
		if (fcntl(birth->descriptors[i], F_DUPFD_CLOEXEC, PARKING + i) != PARKING + i)
			_exit(127);
	for (int i = 0; i < count; i++)
		if (dup2(PARKING + i, first + i) < 0)
			_exit(127);
	if (close_range((unsigned)(first + count), ~0u, 0) != 0)
		_exit(127);
	if (birth->open_files && setrlimit(RLIMIT_NOFILE, birth->open_files) != 0)
		_exit(127);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)execv(path, (char *const *)(uintptr_t)birth->arguments);
	_exit(127);
}

static pid_t give_birth(const struct supervisor *supervisor, const struct birth *birth)
{
	char path[PATH_MAX + 64];
	pid_t pid;

	(void)snprintf(
		path, sizeof path, "%s/%s", supervisor->program_directory, birth->arguments[0]);
	pid = fork();
	if (pid == 0)
		become(path, birth);
	return pid < 0 ? -errno : pid;
}

static bool is_word(const char *text, size_t size)
{
	if (!memchr(text, '\0', size) || text[0] == '\0' || text[0] == '.')
		return false;
	return text[strspn(text,
		       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] ==
	       '\0';
}

static bool is_path(const char *text, size_t size)
{
	return memchr(text, '\0', size) && text[0] == '/';
}

static bool plan_is_sane(const struct launch_plan *plan)
{
	if (plan->magic != LAUNCH_PLAN_MAGIC || plan->uid == 0 || plan->engine_count == 0 ||
		plan->engine_count > MAYFLY_ENGINES_MAX)
		return false;
	for (uint32_t i = 0; i < plan->engine_count; i++) {
		const struct launch_plan_engine *engine = &plan->engines[i];

		if (!is_word(engine->name, sizeof engine->name) ||
			!is_word(engine->plugin_name, sizeof engine->plugin_name) ||
			!is_path(engine->socket, sizeof engine->socket) ||
			!is_path(engine->exec_root, sizeof engine->exec_root))
			return false;
	}
	return true;
}

/* Descriptor 3 of the planner is the pipe for its plan. */
int children_read_plan(struct supervisor *supervisor, struct mayfly_error *err)
{
	struct birth birth = { 0 };
	int pipe_ends[2], status = 0;
	AUTO_FD read_end = -1;
	size_t got = 0;
	pid_t pid;

	if (pipe2(pipe_ends, O_CLOEXEC) != 0)
		return error_errno(err, -errno, "make a pipe");
	read_end = pipe_ends[0];
	argument(&birth, "mayfly-broker");
	argument(&birth, "--plan");
	argument(&birth, "--root");
	argument(&birth, supervisor->root);
	descriptor(&birth, pipe_ends[1]);
	pid = give_birth(supervisor, &birth);
	(void)close(pipe_ends[1]);
	if (pid < 0)
		return error_errno(err, pid, "start mayfly-broker --plan");
	while (got < sizeof supervisor->plan) {
		const ssize_t n = read(
			read_end, (char *)&supervisor->plan + got, sizeof supervisor->plan - got);

		if (n <= 0)
			break;
		got += (size_t)n;
	}
	if (waitpid(pid, &status, 0) < 0 || status != 0)
		return error_set(err, -EINVAL, "the configuration cannot be used");
	if (got != sizeof supervisor->plan || !plan_is_sane(&supervisor->plan))
		return error_set(
			err, -EPROTO, "mayfly-broker --plan wrote a plan that cannot be right");
	return 0;
}

int children_run_check(const struct supervisor *supervisor)
{
	struct birth birth = { 0 };
	int status = 0;
	pid_t pid;

	argument(&birth, "mayfly-broker");
	argument(&birth, "--check");
	argument(&birth, "--root");
	argument(&birth, supervisor->root);
	pid = give_birth(supervisor, &birth);
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status))
		return EXIT_FAILURE;
	return WEXITSTATUS(status);
}

static int link_renew(struct child *peer)
{
	int pair[2];

	fd_close_p(&peer->broker_end);
	fd_close_p(&peer->own_end);
	if (socketpair(AF_UNIX,
		    peer->kind == CHILD_MOUNTER ? SOCK_SEQPACKET | SOCK_CLOEXEC
						: SOCK_STREAM | SOCK_CLOEXEC,
		    0, pair) != 0)
		return -errno;
	peer->broker_end = pair[0];
	peer->own_end = pair[1];
	return 0;
}

/* Sends a running child one record with FD, which is closed here. */
static void send_descriptor(const struct child *to, enum control_type type, uint32_t index, int *fd)
{
	const struct control_record record = { .type = type, .index = index };

	/* A child that does not read its control socket misses its heartbeat and is replaced. */
	(void)fd_send(to->control, &record, sizeof record, fd, 1);
	fd_close_p(fd);
}

/* Sees to it that CHILD's end of each of its links is held. A link whose end was given away already
 * is renewed, and a running peer gets its new end at once. */
static int links_prepare(struct supervisor *supervisor, struct child *child)
{
	struct child *broker = &supervisor->children[CHILD_BROKER];

	for (size_t i = 1; i < supervisor->children_count; i++) {
		struct child *peer = &supervisor->children[i];
		int r;

		if ((child != broker && child != peer) ||
			(child == broker ? peer->broker_end : peer->own_end) >= 0)
			continue;
		r = link_renew(peer);
		if (r < 0)
			return r;
		if (child == broker && peer->pid)
			send_descriptor(peer, CONTROL_CHANNEL_BROKER, 0, &peer->own_end);
		if (child == peer && broker->pid)
			send_descriptor(broker,
				peer->kind == CHILD_MOUNTER ? CONTROL_CHANNEL_MOUNTER
							    : CONTROL_CHANNEL_ENGINE,
				peer->index, &peer->broker_end);
	}
	return 0;
}

static void describe_broker(const struct supervisor *supervisor, struct birth *birth, int nothing)
{
	descriptor(birth, supervisor->children[CHILD_MOUNTER].broker_end);
	descriptor(birth, supervisor->host_key >= 0 ? supervisor->host_key : nothing);
	descriptor(birth, supervisor->operator_socket.fd);
	descriptor(birth, supervisor->container_socket.fd);
	argument(birth, "--root");
	argument(birth, supervisor->root);
	for (uint32_t i = 0; i < supervisor->plan.engine_count; i++) {
		descriptor(birth, supervisor->plugin_sockets[i].fd);
		descriptor(birth, supervisor->children[CHILD_ENGINE + i].broker_end);
		argument(birth, "--engine");
		argument(birth, supervisor->plan.engines[i].name);
	}
}

/* The next broker records what was denied in its predecessor's place. */
static void describe_denied(
	const struct supervisor *supervisor, struct birth *birth, char count[16])
{
	(void)snprintf(count, 16, "%u", supervisor->denied);
	argument(birth, "--denied");
	argument(birth, count);
}

/* Where it may connect to; without the argument nowhere. */
static void describe_ports(const struct supervisor *supervisor, struct birth *birth, char list[128])
{
	size_t length = 0;

	for (size_t i = 0; i < LAUNCH_PLAN_PORTS_MAX && supervisor->plan.ports[i]; i++)
		length += (size_t)snprintf(list + length, 128 - length, "%s%u", i ? "," : "",
			supervisor->plan.ports[i]);
	if (length == 0)
		return;
	argument(birth, "--connect");
	argument(birth, list);
}

static void describe_groups(
	const struct supervisor *supervisor, struct birth *birth, char count[16])
{
	(void)snprintf(count, 16, "%u", supervisor->groups_count);
	argument(birth, "--groups");
	argument(birth, count);
	for (uint32_t i = 0; i < supervisor->groups_count; i++)
		descriptor(birth, supervisor->groups[i]);
}

static void describe_engine(
	const struct supervisor *supervisor, const struct child *child, struct birth *birth)
{
	const struct launch_plan_engine *engine = &supervisor->plan.engines[child->index];

	descriptor(birth, child->own_end);
	argument(birth, "--socket");
	argument(birth, engine->socket);
	argument(birth, "--plugin");
	argument(birth, engine->plugin_name);
	argument(birth, "--exec-root");
	argument(birth, engine->exec_root);
}

/* The ends that the child now has are no longer ours to hold. */
static void links_handed_over(struct supervisor *supervisor, struct child *child)
{
	if (child->kind != CHILD_BROKER) {
		fd_close_p(&child->own_end);
		return;
	}
	supervisor->denied = 0;
	for (size_t i = 1; i < supervisor->children_count; i++)
		fd_close_p(&supervisor->children[i].broker_end);
}

int child_start(struct supervisor *supervisor, struct child *child, struct mayfly_error *err)
{
	static const struct rlimit broker_files = { BROKER_MAX_DESCRIPTORS,
		BROKER_MAX_DESCRIPTORS };
	AUTO_FD nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct birth birth = { 0 };
	char volumes[PATH_MAX + 32], groups[16], denied[16], ports[128];
	int pair[2];
	pid_t pid;
	int r = links_prepare(supervisor, child);

	if (r < 0)
		return error_errno(err, r, "make a socket pair");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0)
		return error_errno(err, -errno, "make a socket pair");
	argument(&birth, program_of(child->kind));
	descriptor(&birth, pair[1]);
	if (child->kind == CHILD_BROKER) {
		describe_broker(supervisor, &birth, nothing);
		describe_denied(supervisor, &birth, denied);
		describe_ports(supervisor, &birth, ports);
		birth.open_files = &broker_files;
	} else if (child->kind == CHILD_MOUNTER) {
		descriptor(&birth, child->own_end);
		descriptor(&birth, supervisor->volumes);
		descriptor(&birth, supervisor->arena >= 0 ? supervisor->arena : nothing);
		(void)snprintf(volumes, sizeof volumes, "%s/run/mayfly-volumes", supervisor->root);
		argument(&birth, "--volumes");
		argument(&birth, volumes);
	} else {
		describe_engine(supervisor, child, &birth);
	}
	if (child->kind != CHILD_ENGINE)
		describe_groups(supervisor, &birth, groups);
	pid = give_birth(supervisor, &birth);
	(void)close(pair[1]);
	if (pid < 0) {
		(void)close(pair[0]);
		return error_errno(err, pid, "start %s", birth.arguments[0]);
	}
	links_handed_over(supervisor, child);
	child->pid = pid;
	child->control = pair[0];
	child->started_ms = child->heartbeat_ms = monotonic_ms();
	child->start_at_ms = NEVER;
	return 0;
}

static void answer_host_key(struct supervisor *supervisor, const struct child *child)
{
	const struct control_record record = { .type = CONTROL_HOST_KEY,
		.value = host_key_make(supervisor) };

	(void)fd_send(child->control, &record, sizeof record, &supervisor->host_key,
		record.value == 0 ? 1 : 0);
}

void child_on_record(struct supervisor *supervisor, struct child *child)
{
	struct control_record record;
	struct fd_set_passed fds = { 0 };

	if (fd_receive(child->control, &record, sizeof record, &fds) != sizeof record)
		return;
	if (record.type == CONTROL_ARENA && child->kind == CHILD_MOUNTER && fds.count == 1) {
		fd_close_p(&supervisor->arena);
		supervisor->arena = fds.fds[0];
		fds.count = 0;
	}
	/* No child has any other descriptor for us. */
	fd_set_passed_done(&fds);
	child->heartbeat_ms = monotonic_ms();
	if (record.type == CONTROL_READY)
		child->was_ready = true;
	else if (record.type == CONTROL_NEED_HOST_KEY && child->kind == CHILD_BROKER)
		answer_host_key(supervisor, child);
}

void child_on_end(struct supervisor *supervisor, struct child *child, int status)
{
	const int64_t now = monotonic_ms();

	if (child->kind == CHILD_BROKER) {
		/* Before a new broker can read from the groups, and before anything else that takes
		 * time. */
		const unsigned denied = guard_sweep(
			supervisor->groups, supervisor->groups_count, BROKER_MAX_DESCRIPTORS);
		if (denied > 0)
			log_notice("denied %u opens that the broker had not answered", denied);
		supervisor->denied += denied;
	}
	if (!supervisor->is_stopping)
		log_warning("%s ended (%s %d)", program_of(child->kind),
			WIFSIGNALED(status) ? "signal" : "status",
			WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	fd_close_p(&child->control);
	child->pid = 0;
	/* Ten seconds of life make it a new failure, not a further one. */
	child->failures = now - child->started_ms > 10000 ? 0 : child->failures + 1;
	child->start_at_ms =
		now + (child->failures > 7 ? 5000 : 100 * child->failures * child->failures);
	if (child->failures <= 1)
		child->start_at_ms = now;
}
