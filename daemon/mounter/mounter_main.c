/* mayfly-mounter [--groups N] --volumes PATH: started by mayflyd with the descriptors that
 * proto/supervisor_protocol.h lists. Drops to five capabilities, then serves the broker's requests.
 */
#include "daemon/mounter/arena.h"
#include "daemon/mounter/deliveries.h"
#include "daemon/mounter/kernel/kernel_calls.h"
#include "daemon/mounter/kernel/namespaces.h"
#include "daemon/mounter/mounter_ops.h"
#include "daemon/mounter/worker.h"
#include "daemon/privilege/drop.h"
#include "daemon/privilege/seccomp_filter.h"
#include "proto/boot_clock.h"
#include "proto/cleanup.h"
#include "proto/fd_passing.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>

#define CAPABILITIES                                                                           \
	(CAPABILITY(CAP_SYS_ADMIN) | CAPABILITY(CAP_SYS_CHROOT) | CAPABILITY(CAP_SYS_PTRACE) | \
		CAPABILITY(CAP_CHOWN) | CAPABILITY(CAP_KILL))

static struct delivery delivery_slots[MOUNTER_MAX_DELIVERIES];
static uint16_t delivery_index[DELIVERY_INDEX_SIZE];

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A broker that does not read its replies is dead to us; the supervisor brings the next one. */
static void send_reply(struct mounter *mounter, const struct mounter_reply *reply, int fd)
{
	if (mounter->broker < 0)
		return;
	if (fd_send(mounter->broker, reply, sizeof *reply, &fd, fd >= 0 ? 1 : 0) != sizeof *reply)
		fd_close_p(&mounter->broker);
}

static void list_deliveries(struct mounter *mounter, const struct mounter_request *request)
{
	struct mounter_reply reply = { .op = request->op, .serial = request->serial };

	for (size_t i = 0; i < MOUNTER_MAX_DELIVERIES; i++)
		if (mounter->deliveries[i].phase != 0) {
			delivery_describe(&mounter->deliveries[i], &reply);
			send_reply(mounter, &reply, -1);
		}
	reply = (struct mounter_reply){ .op = request->op, .serial = request->serial };
	send_reply(mounter, &reply, -1);
}

static void serve_request(struct mounter *mounter, const struct mounter_request *request,
	const struct fd_set_passed *fds)
{
	const struct request_descriptors descriptors = {
		.init = fds->count > 0 ? fds->fds[0] : -1,
		.other = fds->count > 1 ? fds->fds[1] : -1,
	};
	struct mounter_reply reply = { 0 };
	AUTO_FD fd = -1;

	if (request->op == MOUNTER_OP_LIST)
		list_deliveries(mounter, request);
	else if (mounter_request_run(mounter, request, &descriptors, &reply, &fd))
		send_reply(mounter, &reply, fd);
}

/* Returns false when the broker broke the rules: then this process must not go on. */
static bool on_broker_readable(struct mounter *mounter)
{
	struct mounter_request request;
	struct fd_set_passed fds;
	const ssize_t received = fd_receive(mounter->broker, &request, sizeof request, &fds);
	bool is_sane;

	if (received <= 0 && received != -EBADMSG) {
		if (received != -EAGAIN)
			fd_close_p(&mounter->broker);
		return true;
	}
	is_sane = received == sizeof request && fds.count <= 2 &&
		  mounter_request_is_sane(&request, mounter->groups_count);
	if (is_sane)
		serve_request(mounter, &request, &fds);
	if (received > 0)
		fd_set_passed_done(&fds);
	return is_sane;
}

static void on_worker_readable(struct mounter *mounter, struct worker *worker)
{
	const struct mounter_request request = worker->request;
	struct delivery *delivery = worker->delivery;
	const bool is_own = worker->is_own;
	struct mounter_reply reply = { 0 };
	AUTO_FD fd = -1;

	worker_finish(worker, &reply, &fd);
	mounter_settle(mounter, &request, delivery, &reply, &fd);
	if (!is_own)
		send_reply(mounter, &reply, fd);
	else if (reply.status < 0)
		log_error("wipe a delivery at its hard end: %s", reply.detail);
}

/* Returns false at the end of the supervisor. */
static bool on_control_readable(struct mounter *mounter)
{
	struct control_record record;
	struct fd_set_passed fds;
	const ssize_t received = fd_receive(mounter->control, &record, sizeof record, &fds);

	if (received == -EAGAIN)
		return true;
	if (received != sizeof record)
		return false;
	if (record.type == CONTROL_CHANNEL_BROKER && fds.count == 1) {
		fd_close_p(&mounter->broker);
		mounter->broker = fds.fds[0];
		fds.count = 0;
	}
	fd_set_passed_done(&fds);
	return true;
}

static void send_control(const struct mounter *mounter, enum control_type type)
{
	const struct control_record record = { .type = type };

	/* Its end shows as the end of the control socket. */
	(void)fd_send(mounter->control, &record, sizeof record, NULL, 0);
}

/* Fills POLLED with what is waited for. */
static void look_at_workers(struct mounter *mounter, int64_t now, struct pollfd *polled)
{
	for (size_t i = 0; i < WORKERS_MAX; i++) {
		struct worker *worker = &mounter->workers[i];

		if (worker_kill_if_late(worker, now))
			on_worker_readable(mounter, worker);
		worker_reap(worker);
		polled[i] = (struct pollfd){ worker->pid ? worker->socket : -1, POLLIN, 0 };
	}
}

static int serve(struct mounter *mounter)
{
	int64_t next_heartbeat_ms = 0;

	for (;;) {
		struct pollfd polled[2 + WORKERS_MAX];
		int64_t now = now_ms();

		if (now >= next_heartbeat_ms) {
			send_control(mounter, CONTROL_HEARTBEAT);
			next_heartbeat_ms = now + HEARTBEAT_INTERVAL_MS;
		}
		look_at_workers(mounter, now, polled + 2);
		if (workers_are_lost(mounter, now)) {
			log_error("every worker hangs in the kernel; ending");
			return EXIT_FAILURE;
		}
		deadlines_look(mounter, boot_clock_ms());
		polled[0] = (struct pollfd){ mounter->control, POLLIN, 0 };
		/* Further requests wait in the socket while every worker is at work: a wipe that
		 * was refused would leave a secret behind. */
		polled[1] = (struct pollfd){ worker_has_free_slot(mounter) ? mounter->broker : -1,
			POLLIN, 0 };
		if (poll(polled, 2 + WORKERS_MAX,
			    deadlines_wait_ms(mounter, boot_clock_ms(),
				    workers_look_again_ms(
					    mounter, now, HEARTBEAT_INTERVAL_MS / 2))) < 0 &&
			errno != EINTR)
			return EXIT_FAILURE;
		for (size_t i = 0; i < WORKERS_MAX; i++)
			if (polled[2 + i].fd >= 0 && polled[2 + i].revents)
				on_worker_readable(mounter, &mounter->workers[i]);
		if (polled[1].fd >= 0 && polled[1].revents && !on_broker_readable(mounter)) {
			log_error("the broker sent a request that it cannot mean; ending");
			return EXIT_FAILURE;
		}
		if (polled[0].revents && !on_control_readable(mounter))
			return EXIT_SUCCESS;
	}
}

static bool parse_arguments(int argc, char **argv, struct mounter *mounter)
{
	static const struct option options[] = {
		{ "volumes", required_argument, NULL, 'v' },
		{ "groups", required_argument, NULL, 'g' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (option == 'v')
			mounter->volumes_path = optarg;
		else if (option == 'g')
			mounter->groups_count = (uint32_t)strtoul(optarg, NULL, 10);
		else
			return false;
	return optind == argc && mounter->volumes_path &&
	       mounter->groups_count <= GUARD_GROUPS_MAX + 1;
}

/* A new arena is left with the supervisor, for the successor. */
static int enter_arena(struct mounter *mounter, struct mayfly_error *err)
{
	const struct control_record record = { .type = CONTROL_ARENA };
	bool is_new;
	int r = arena_enter(mounter, MOUNTER_FD_ARENA, &is_new, err);

	(void)close(MOUNTER_FD_ARENA);
	if (r == 0 && is_new &&
		fd_send(mounter->control, &record, sizeof record, &mounter->arena_namespace, 1) < 0)
		r = error_set(err, -EIO, "leave the arena with the supervisor");
	return r;
}

/* Everything that needs more than the capabilities that stay, or a path of the host. */
static int prepare(struct mounter *mounter, struct mayfly_error *err)
{
	struct namespaces own;
	struct stat volumes, root;
	int r;

	for (uint32_t i = 0; i < mounter->groups_count; i++)
		mounter->groups[i] = MOUNTER_FD_GROUPS + (int)i;
	mounter->proc = open_absolute("/proc", O_RDONLY | O_DIRECTORY);
	if (mounter->proc < 0)
		return error_errno(err, mounter->proc, "open /proc");
	r = namespaces_of_self(mounter->proc, &own);
	if (r < 0)
		return error_errno(err, r, "look at the host's namespaces");
	mounter->mount_namespace = own.mount;
	mounter->pid_namespace = own.pid;
	mounter->ipc_namespace = own.ipc;
	mounter->cgroup_namespace = own.cgroup;
	if (fstat(mounter->volumes, &volumes) != 0)
		return error_errno(err, -errno, "look at the volumes directory");
	if (stat("/", &root) != 0)
		return error_errno(err, -errno, "look at the root directory");
	mounter->root_device = root.st_dev;
	mounter->root_inode = root.st_ino;
	mounter->volumes_device = volumes.st_dev;
	return enter_arena(mounter, err);
}

static int enter_sandbox(struct mayfly_error *err)
{
	const struct drop_target target = { .capabilities = CAPABILITIES };
	int r = privilege_drop(&target, err);

	/* Modes are said by the requests; they must come out as said. */
	(void)umask(0);
	return r < 0 ? r : seccomp_enter(SECCOMP_MOUNTER, err);
}

int main(int argc, char **argv)
{
	struct mounter mounter = {
		.control = CHILD_FD_CONTROL,
		.broker = MOUNTER_FD_BROKER,
		.volumes = MOUNTER_FD_VOLUMES,
		.deliveries = delivery_slots,
		.delivery_index = delivery_index,
	};
	struct mayfly_error err;

	process_harden();
	boot_clock_init();
	log_init("mayfly-mounter", getenv("JOURNAL_STREAM") != NULL);
	if (!parse_arguments(argc, argv, &mounter)) {
		log_error("started by hand? mayflyd starts it");
		return 2;
	}
	if (prepare(&mounter, &err) < 0 || enter_sandbox(&err) < 0) {
		log_error("%s", err.text);
		return EXIT_FAILURE;
	}
	send_control(&mounter, CONTROL_READY);
	return serve(&mounter);
}
