#include "daemon/broker/broker_start.h"

#include "daemon/broker/broker_sandbox.h"
#include "daemon/broker/lease/adopt/lease_adopt.h"
#include "daemon/broker/lease/lease_index.h"
#include "daemon/broker/lease/lease_take.h"
#include "daemon/broker/request/engine_events.h"
#include "daemon/broker/request/upkeep.h"
#include "daemon/broker/service.h"
#include "proto/boot_clock.h"
#include "proto/cleanup.h"
#include "proto/fd_passing.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define THREADS "4"

static void on_empty(struct handle_group *handles)
{
	/* The struct is main's; the process ends with the loop. */
	(void)handles;
}

static void send_control(const struct service *service, enum control_type type)
{
	const struct control_record record = { .type = type };

	(void)fd_send(service->broker.control, &record, sizeof record, NULL, 0);
}

static void on_heartbeat(uv_timer_t *timer)
{
	send_control(container_of(timer, struct service, heartbeat), CONTROL_HEARTBEAT);
}

/* --- the supervisor --- */

static void on_terminate(uv_signal_t *signal, int number)
{
	(void)number;
	service_begin_stop(container_of(signal, struct service, terminate));
}

static void on_host_key(struct service *service, int status, int *fd)
{
	struct broker *broker = &service->broker;
	void (*callback)(void *, int) = broker->on_host_key;

	if (status == 0 && *fd >= 0) {
		fd_close_p(&broker->host_key);
		broker->host_key = fd_take(fd);
	}
	broker->on_host_key = NULL;
	if (callback)
		callback(broker->on_host_key_data, status);
}

static void on_record(struct service *service, const struct control_record *record, int *fd)
{
	struct broker *broker = &service->broker;
	struct mayfly_error err;
	int r = 0;

	switch ((enum control_type)record->type) {
	case CONTROL_HOST_KEY:
		on_host_key(service, record->value, fd);
		break;
	case CONTROL_CHANNEL_MOUNTER:
		r = mounter_link_replace(broker->leases.mounter, fd_take(fd), &err);
		if (r == 0) {
			lease_readopt_all(&broker->leases);
			broker_wake(broker);
		}
		break;
	case CONTROL_CHANNEL_ENGINE:
		if (record->index < broker->engines_count)
			r = engine_events_connect(broker, record->index, fd_take(fd), &err);
		break;
	default:
		break;
	}
	if (r < 0)
		log_error("%s", err.text);
}

static void on_control(struct descriptor_watch *watch, int status)
{
	struct service *service = container_of(watch, struct service, control);
	struct control_record record;
	struct fd_set_passed fds = { 0 };
	ssize_t received;

	(void)status;
	received = fd_receive(service->broker.control, &record, sizeof record, &fds);
	if (received == -EAGAIN)
		return;
	if (received != sizeof record)
		/* The supervisor has gone: nobody would do the guard sweep after us. */
		service_leave(service);
	if (fds.count == 0) {
		fds.fds[0] = -1;
		fds.count = 1;
	}
	on_record(service, &record, &fds.fds[0]);
	fd_set_passed_done(&fds);
}

static void on_mounter_lost(void *data)
{
	(void)data;
	log_warning("mayfly-mounter has ended; deliveries go on when the next one is there");
}

/* --- openers --- */

static void pass_on(struct service *service, struct opener *opener)
{
	struct lease *lease = lease_find_by_device(&service->broker.leases, opener->device);

	if (lease)
		lease_on_open(lease, opener);
	else
		guard_answer(opener, false);
}

static void on_late_early(struct opener *opener)
{
	struct service *service = opener->owner;

	TAILQ_REMOVE(&service->early, opener, waiting);
}

static void on_close(uint64_t device, uint64_t inode, void *data)
{
	struct service *service = data;
	struct lease *lease = lease_find_by_device(&service->broker.leases, device);

	/* Before adoption nothing is known, and what is taken up then needs no close any more. */
	if (lease && service->broker.is_adopted)
		lease_once_closed(lease, inode);
}

/* Whoever opened while there was no broker waits on until it is known again what was delivered. */
static void on_open(struct opener *opener, void *data)
{
	struct service *service = data;

	if (service->broker.is_adopted) {
		pass_on(service, opener);
		return;
	}
	opener->owner = service;
	opener->on_late = on_late_early;
	TAILQ_INSERT_TAIL(&service->early, opener, waiting);
}

static void pass_early_on(struct service *service)
{
	struct opener *opener;

	while ((opener = TAILQ_FIRST(&service->early))) {
		TAILQ_REMOVE(&service->early, opener, waiting);
		opener->owner = NULL;
		opener->on_late = NULL;
		pass_on(service, opener);
	}
}

/* --- the start, before the sandbox --- */

/* One allocator arena for all threads: fewer places where bytes stay, and less memory. */
static void set_up_memory(void)
{
	(void)mallopt(M_ARENA_MAX, 1);
	(void)mallopt(M_PERTURB, 0x5a);
	(void)setenv("UV_THREADPOOL_SIZE", THREADS, 1);
}

static void take_engines(struct service *service, const struct broker_birth *birth)
{
	struct broker *broker = &service->broker;

	broker->engines_count = birth->engines_count;
	for (size_t i = 0; i < birth->engines_count; i++)
		broker->engines[i] = (struct broker_engine){
			.broker = broker,
			.index = (unsigned)i,
			.name = (char *)(uintptr_t)birth->engines[i],
			.plugin_socket = BROKER_FD_ENGINES + 2 * (int)i,
		};
	for (size_t i = 0; i < MAYFLY_ENGINES_MAX; i++)
		broker->leases.engine_pidfds[i] = -1;
}

/* What needs root: locked memory, /proc and the cgroup tree held open. */
static int prepare(
	struct service *service, const struct broker_birth *birth, struct mayfly_error *err)
{
	struct broker *broker = &service->broker;
	struct stat key;
	int r;

	boot_clock_init();
	broker->root = (char *)(uintptr_t)birth->root;
	(void)snprintf(
		service->state_path, sizeof service->state_path, "%s/var/lib/mayfly", birth->root);
	(void)snprintf(service->volumes_path, sizeof service->volumes_path, "%s/run/mayfly-volumes",
		birth->root);
	broker->leases.volumes_path = service->volumes_path;
	broker->refused_while_locked = json_object();
	broker->problems = json_object();
	broker->control = CHILD_FD_CONTROL;
	broker->host_key = fstat(BROKER_FD_HOST_KEY, &key) == 0 && S_ISREG(key.st_mode)
				   ? BROKER_FD_HOST_KEY
				   : -1;
	r = broker_prepare_to_connect(birth, err);
	if (r < 0)
		return r;
	r = arena_new(ARENA_SIZE_BYTES, &broker->arena, err);
	if (r == 0)
		r = cgroup_roots_open(&broker->leases.roots, err);
	return r;
}

/* --- the start, behind the sandbox --- */

/* Files that cannot be used at a start (mayflyd has checked them at its own; somebody has changed
 * them since) must not take the running containers' service away: nothing is granted until they are
 * mended and read again. */
static int read_files(
	struct service *service, const struct broker_birth *birth, struct mayfly_error *err)
{
	struct broker *broker = &service->broker;
	struct broker_files files;
	char problem[1200] = "";
	int r = broker_files_read(birth->root, NULL, 0, &files, err);
	const bool has_config = files.config != NULL;

	if (r < 0) {
		if (files.complaints.count > 0)
			(void)complaints_to_error(&files.complaints, err);
		(void)snprintf(problem, sizeof problem,
			"nothing is granted: %s; mend it, then `mayfly policy reload`", err->text);
		r = broker_files_complete(&files, err);
	}
	if (r == 0) {
		broker_files_apply(broker, &files, NULL);
		broker->born = has_config ? broker->config : NULL;
		take_engines(service, birth);
	}
	if (problem[0])
		broker_problem(broker, "files", problem);
	broker_files_done(&files);
	return r;
}

/* Nothing in it can be had again from elsewhere, but nothing of it is secret, either. */
static int open_state(struct service *service, struct mayfly_error *err)
{
	struct mayfly_error why;
	const int r = state_db_open(service->state_path, &service->broker.state, &why);

	if (r == -EUCLEAN || r == -EBADMSG)
		return error_set(err, r,
			"%.600s. Move it away and start again; it holds no secret. Then make the "
			"volumes again (`docker volume create -d mayfly NAME`, or `docker compose "
			"up`) and restart the containers that use them",
			why.text);
	return r < 0 ? error_set(err, r, "%s", why.text) : 0;
}

static int open_files(struct service *service, struct mayfly_error *err)
{
	struct broker *broker = &service->broker;
	int r = open_state(service, err);

	if (r == 0)
		r = store_open(service->state_path, broker->arena, &broker->store, err);
	if (r == 0)
		r = audit_open(service->state_path, broker->arena, &broker->audit, err);
	if (r == 0)
		r = value_keeper_init(&broker->keeper, broker->arena, err);
	return r;
}

/* An unattended start: the key file opens the store at once. */
static void unlock_by_host_key(struct service *service)
{
	struct broker *broker = &service->broker;
	AUTO_SECRET key = { 0 };
	struct mayfly_error err;

	time_text(broker->locked_since, time(NULL) - (time_t)seconds_since_boot());
	if (store_state(broker->store, NULL) != STORE_LOCKED)
		return;
	if (broker->host_key < 0 || secret_new(broker->arena, HOST_KEY_BYTES, &key, &err) < 0 ||
		pread(broker->host_key, key.bytes, HOST_KEY_BYTES, 0) != HOST_KEY_BYTES) {
		log_notice("the store is locked; run `mayfly unlock`");
		return;
	}
	if (store_unlock(broker->store, SLOT_HOST_KEY, &key, &err) < 0) {
		(void)error_within(&err, "the host key file does not open the store");
		broker_problem(broker, "host key", err.text);
	} else {
		upkeep_start(broker);
	}
}

static void on_lease_event(
	struct lease_context *context, const struct lease *lease, enum lease_event event)
{
	struct service *service = container_of(context, struct service, broker.leases);

	if (service->containers)
		container_socket_tell(service->containers, lease, event);
	rotations_on_lease_event(&service->broker.rotations, lease, event);
}

static bool is_watched(void *data, const struct lease *lease)
{
	const struct service *service = data;

	return service->containers && container_socket_is_watched(service->containers, lease);
}

static int make_leases(
	struct service *service, const struct broker_birth *birth, struct mayfly_error *err)
{
	struct lease_context *leases = &service->broker.leases;
	const struct guard_callbacks guard = {
		.on_open = on_open, .on_close = on_close, .data = service
	};
	int groups[GUARD_GROUPS_MAX + 1];
	const int first = BROKER_FD_ENGINES + 2 * (int)birth->engines_count;
	int r;

	for (uint32_t i = 0; i < birth->groups_count; i++)
		groups[i] = first + (int)i;
	leases->loop = &service->loop;
	leases->state = service->broker.state;
	leases->sources = (struct value_sources){ .store = service->broker.store,
		.keeper = &service->broker.keeper,
		.arena = service->broker.arena,
		.config = service->broker.config };
	leases->known = known_containers_new();
	leases->on_ended = service_lease_ended;
	leases->on_event = on_lease_event;
	TAILQ_INIT(&leases->leases);
	TAILQ_INIT(&service->early);
	serial_queue_init(&leases->savings, &service->loop);
	rotations_init(&service->broker.rotations, leases);
	service->broker.rotations.is_watched = is_watched;
	service->broker.rotations.data = service;
	if (!leases->known)
		return error_errno(err, -ENOMEM, "start");
	r = audit_queue_new(&service->loop, service->broker.audit, &leases->audit, err);
	if (r == 0)
		r = boot_alarms_new(&service->loop, &leases->alarms, err);
	if (r == 0)
		r = mounter_link_new(&service->loop, BROKER_FD_MOUNTER, on_mounter_lost, service,
			&leases->mounter, err);
	if (r == 0)
		r = guard_new(
			&service->loop, groups, birth->groups_count, &guard, &leases->guard, err);
	return r;
}

/* The engine's process as it was before our start, if it is still that one. */
static int remembered_process(struct service *service, const char *engine)
{
	AUTO_FREE char *text = NULL;
	unsigned long long ticks = 0;
	uint64_t found = 0;
	char name[128];
	int pid = 0;
	AUTO_FD pidfd = -1;

	(void)snprintf(name, sizeof name, "engine.%s.process", engine);
	if (state_db_fact(service->broker.state, name, &text, NULL) < 0 || !text ||
		sscanf(text, "%d %llu", &pid, &ticks) != 2)
		return -1;
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0 || process_start_time(&service->broker.leases.roots, pid, &found) < 0 ||
		found != ticks)
		return -1;
	return fd_take(&pidfd);
}

static int make_fronts(struct service *service, struct mayfly_error *err)
{
	struct broker *broker = &service->broker;
	int r = volume_table_load(&service->volumes, broker, err);

	for (unsigned i = 0; i < broker->engines_count && r == 0; i++) {
		broker->leases.engine_pidfds[i] =
			remembered_process(service, broker->engines[i].name);
		r = engine_events_open(broker, i, err);
		if (r == 0)
			r = docker_volume_serve(broker, &broker->engines[i], &service->volumes,
				&service->fronts[i], err);
	}
	if (r == 0)
		r = operator_socket_serve(broker, BROKER_FD_OPERATOR, &service->operators, err);
	if (r == 0)
		r = container_socket_serve(broker, BROKER_FD_CONTAINER, &service->containers, err);
	return r;
}

/* Deliveries of before a reboot live no more. */
static json_t *rows_of_this_boot(struct service *service)
{
	struct state_db *state = service->broker.state;
	AUTO_FREE char *known = NULL;
	json_t *rows = NULL, *row;
	char boot[64] = "";
	const char *mount_id;
	void *next;
	AUTO_FD fd = openat(service->broker.leases.roots.proc, "sys/kernel/random/boot_id",
		O_RDONLY | O_CLOEXEC);

	if (fd >= 0 && read(fd, boot, sizeof boot - 1) > 0)
		boot[strcspn(boot, "\n")] = '\0';
	memcpy(service->broker.rotations.boot_id, boot, sizeof boot);
	if (state_db_deliveries(state, &rows, NULL) < 0)
		return json_object();
	if (state_db_fact(state, "boot_id", &known, NULL) == 0 && known && strcmp(known, boot) == 0)
		return rows;
	json_object_foreach_safe (rows, next, mount_id, row) {
		(void)state_db_delivery_remove(state, mount_id, NULL);
	}
	(void)state_db_fact_put(state, "boot_id", boot, NULL);
	json_decref(rows);
	return json_object();
}

static void on_adopted(void *data)
{
	struct service *service = data;
	struct mayfly_error err;

	service->broker.is_adopted = true;
	pass_early_on(service);
	rotations_resume(&service->broker.rotations);
	/* Engines are listened to only now: what they say of running containers finds its leases.
	 */
	for (unsigned i = 0; i < service->broker.engines_count; i++)
		if (engine_events_connect(
			    &service->broker, i, BROKER_FD_ENGINES + 2 * (int)i + 1, &err) < 0)
			log_error("%s", err.text);
	broker_wake(&service->broker);
	send_control(service, CONTROL_READY);
}

static void on_probed(const struct mounter_reply *reply, int fd, void *data)
{
	struct service *service = data;
	struct mayfly_error err;
	json_t *rows;

	(void)fd;
	if (reply->status < 0) {
		log_error("mayfly-mounter: %s", reply->detail);
		service_leave(service);
	}
	service->broker.leases.mounter_abilities = reply->flags;
	if (!(reply->flags & MOUNTER_HAS_OPEN_GUARD))
		log_warning("this kernel has no fanotify permission events: see `mayfly doctor`");
	rows = rows_of_this_boot(service);
	if (lease_adopt_all(&service->broker.leases, rows, on_adopted, service, &err) < 0) {
		log_error("%s", err.text);
		service_leave(service);
	}
	json_decref(rows);
}

static int start_handles(struct service *service, struct mayfly_error *err)
{
	int r;

	handle_group_init(&service->handles, on_empty);
	deadline_init(&service->stop, &service->loop, &service->handles, service_stop_is_late);
	(void)uv_timer_init(&service->loop, &service->heartbeat);
	(void)uv_timer_start(&service->heartbeat, on_heartbeat, 0, HEARTBEAT_INTERVAL_MS);
	(void)uv_signal_init(&service->loop, &service->terminate);
	r = uv_signal_start(&service->terminate, on_terminate, SIGTERM);
	if (r < 0)
		return error_errno(err, r, "watch for SIGTERM");
	service->broker.on_handles_empty = on_empty;
	broker_init_waking(&service->broker);
	return descriptor_watch_init(&service->control, &service->loop, &service->handles,
		CHILD_FD_CONTROL, on_control, err);
}

/* Who they were died with the broker that had read of them. */
static void record_denied(struct broker *broker, unsigned count)
{
	char reason[128];

	if (count == 0)
		return;
	(void)snprintf(reason, sizeof reason,
		"%u opens refused: the broker that had read of them has ended", count);
	broker_audit(broker, json_pack("{s:s, s:s, s:s}", "action", "open", "decision", "refused",
				     "reason", reason));
}

static int serve(
	struct service *service, const struct broker_birth *birth, struct mayfly_error *err)
{
	struct mounter_request probe = { .op = MOUNTER_OP_PROBE };
	int r = uv_loop_init(&service->loop);

	if (r < 0)
		return error_errno(err, r, "make the event loop");
	service->broker.loop = &service->loop;
	r = read_files(service, birth, err);
	if (r == 0)
		r = open_files(service, err);
	if (r == 0)
		r = start_handles(service, err);
	if (r == 0)
		r = make_leases(service, birth, err);
	if (r == 0)
		broker_vaults_init(&service->broker, birth->ports_count > 0);
	if (r == 0)
		r = make_fronts(service, err);
	if (r < 0)
		return r;
	unlock_by_host_key(service);
	record_denied(&service->broker, birth->denied);
	r = mounter_link_send(service->broker.leases.mounter, &probe, NULL, 0, on_probed, service);
	if (r < 0)
		return error_errno(err, r, "ask mayfly-mounter what the kernel can do");
	return uv_run(&service->loop, UV_RUN_DEFAULT);
}

int broker_run(const struct broker_birth *birth)
{
	static struct service service;
	struct mayfly_error err = { 0 };
	int r;

	set_up_memory();
	if (sodium_init() < 0) {
		log_error("libsodium could not be initialised");
		return EXIT_FAILURE;
	}
	r = prepare(&service, birth, &err);
	if (r == 0)
		r = broker_enter_sandbox(birth, service.state_path, &err);
	if (r == 0)
		r = serve(&service, birth, &err);
	if (r < 0)
		log_error("%s", err.text);
	return EXIT_FAILURE;
}
