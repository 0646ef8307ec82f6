#include "daemon/engine/engine_session.h"

#include "daemon/engine/broker_requests.h"
#include "daemon/engine/facts/container_state.h"
#include "daemon/engine/sandbox.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void engine_session_stop(struct engine_session *session, int exit_status)
{
	if (session->is_stopping)
		return;
	session->is_stopping = true;
	session->exit_status = exit_status;
	uv_stop(session->loop);
}

/* Takes FRAME. Nothing is sent while no broker has said hello. */
static void send_frame(struct engine_session *session, json_t *frame)
{
	int r = frame ? 0 : -ENOMEM;

	if (r == 0 && session->broker && session->is_greeted)
		r = broker_channel_send(session->broker, frame);
	json_decref(frame);
	if (r < 0)
		log_error("a frame for the broker was lost: %s", strerrordesc_np(-r));
}

static bool has_room(const struct engine_session *session)
{
	return !session->broker || !session->is_greeted || broker_channel_has_room(session->broker);
}

void engine_session_balance(struct engine_session *session)
{
	const bool room = has_room(session);

	if (session->broker)
		broker_channel_pause(
			session->broker, !room || session->answers.count >= ANSWERS_MAX);
	if (session->link.is_held && room && session->is_reconciled &&
		!answers_are_reconciling(&session->answers))
		engine_link_hold(&session->link, false);
}

static json_t *text_or_null(const char *text)
{
	return text[0] ? json_string(text) : json_null();
}

/* An engine that has not answered yet (it boots, and starts containers meanwhile) does not tell:
 * its mounts do. */
static json_t *cgroup_version(const struct engine_session *session)
{
	const int said = session->info.cgroup_version;
	const int version = said ? said : root_cgroup_version(session->place.root);

	return version ? json_integer(version) : json_null();
}

void engine_session_tell_state(struct engine_session *session)
{
	const bool is_connected = engine_link_is_connected(&session->link);
	const struct engine_info *info = &session->info;

	if (!session->is_greeted)
		return;
	send_frame(session,
		json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o}", "type", "engine", "state",
			is_connected ? "connected" : "waiting", "detail",
			is_connected ? "" : session->waiting, "version",
			text_or_null(info->version), "api_version", text_or_null(info->api_version),
			"data_root", text_or_null(session->place.data_root), "cgroup_version",
			cgroup_version(session), "storage_driver",
			text_or_null(session->place.storage_driver)));
}

void engine_session_leave(struct engine_session *session, const char *why)
{
	if (session->is_stopping)
		return;
	log_notice("%s: starting again", why);
	engine_session_tell_state(session);
	engine_session_stop(session, EXIT_FAILURE);
}

void engine_session_reconcile(struct engine_session *session)
{
	engine_link_hold(&session->link, true);
	if (!session->was_greeted || !engine_link_is_connected(&session->link) ||
		answers_are_reconciling(&session->answers))
		return;
	if (answers_add(&session->answers, ANSWER_RECONCILE, 0, NULL, NULL) < 0)
		log_error("the engine's containers were not read: out of memory");
}

/* The engine's files. */

static void on_bundle(
	void *context, const char *id, const char *directory, const struct runtime_bundle *bundle)
{
	struct engine_session *session = context;
	json_t *ids = json_array();

	for (size_t i = 0; i < bundle->count; i++)
		/* Out of memory shows when the frame is packed. */
		(void)json_array_append_new(ids, json_string(bundle->mount_ids[i]));
	send_frame(session,
		json_pack("{s:s, s:s, s:o, s:I, s:I}", "type", "bundle", "id", id, "mount_ids", ids,
			"uid", (json_int_t)bundle->uid, "gid", (json_int_t)bundle->gid));
	if (!engine_link_is_connected(&session->link))
		bundle_starts_add(&session->starts, id, directory);
}

static void on_bundle_trouble(void *context, const struct mayfly_error *err)
{
	struct engine_session *session = context;

	log_warning("%s", err->text);
	if (err->code != -EACCES || session->bundles_are_closed)
		return;
	if (session->has_files)
		engine_session_leave(session, "containerd has made its directories anew");
	else
		session->bundles_are_closed = true;
}

static int open_bundles(struct engine_session *session, struct mayfly_error *err)
{
	const struct bundle_watch_owner owner = {
		.context = session,
		.on_bundle = on_bundle,
		.on_trouble = on_bundle_trouble,
	};

	return bundle_watch_open(&session->bundles, session->loop, &session->place, &owner, err);
}

static int open_files(void *context, struct mayfly_error *err)
{
	struct engine_session *session = context;
	const char *data_root = session->place.data_root;
	int r;

	if (session->has_files)
		return 0;
	if (data_root[0] == '\0')
		return error_set(err, -ENOTCONN,
			"the engine has not answered Mayfly yet, so its directory is not known; "
			"see `mayfly status`");
	r = root_stat(session->place.root, data_root, &session->data_root);
	if (r < 0)
		return error_errno(err, r, "open the engine's directory '%s'", data_root);
	r = sandbox_narrow(&session->place, err);
	if (r < 0) {
		engine_session_stop(session, EXIT_FAILURE);
		return r;
	}
	r = open_bundles(session, err);
	if (r == 0)
		session->has_files = true;
	return r;
}

bool engine_session_data_root_is_the_same(const struct engine_session *session)
{
	struct stat status;

	return root_stat(session->place.root, session->place.data_root, &status) == 0 &&
	       status.st_dev == session->data_root.st_dev &&
	       status.st_ino == session->data_root.st_ino;
}

/* The supervisor. */

static void on_new_broker(void *context, int socket)
{
	struct engine_session *session = context;
	struct mayfly_error error;

	broker_channel_close(session->broker);
	broker_requests_forget(session);
	if (broker_requests_open(session, socket, &error) < 0) {
		log_error("%s", error.text);
		engine_session_stop(session, EXIT_FAILURE);
	}
}

static void on_control_end(void *context, const char *why)
{
	struct engine_session *session = context;

	if (!session->is_stopping)
		log_notice("%s: leaving", why);
	engine_session_stop(session, EXIT_SUCCESS);
}

/* The engine. */

static void take_info(struct engine_session *session, const struct engine_info *info)
{
	session->info = *info;
	session->waiting[0] = '\0';
	session->place.user_namespace = info->user_namespace;
	memcpy(session->place.storage_driver, info->storage_driver,
		sizeof session->place.storage_driver);
	memcpy(session->place.data_root, info->data_root, sizeof session->place.data_root);
}

static void on_connected(void *context, const struct engine_info *info)
{
	struct engine_session *session = context;
	const bool has_moved =
		session->has_files && strcmp(session->place.data_root, info->data_root) != 0;

	take_info(session, info);
	if (has_moved || (session->has_files && !engine_session_data_root_is_the_same(session))) {
		engine_session_leave(session, "the engine's directory is another one");
		return;
	}
	log_notice("connected to engine %s, API %s, at '%s'", info->version, info->api_version,
		session->arguments->socket);
	bundle_starts_clear(&session->starts);
	engine_session_tell_state(session);
	engine_session_reconcile(session);
}

static void on_waiting(void *context, const char *detail)
{
	struct engine_session *session = context;

	log_notice("waiting for the engine: %s", detail);
	(void)snprintf(session->waiting, sizeof session->waiting, "%s", detail);
	session->is_reconciled = false;
	/* What it says next may be another version. */
	session->info = (struct engine_info){ 0 };
	engine_session_tell_state(session);
}

static json_t *event_frame(
	enum docker_action action, const char *id, int64_t time_ns, const char *source)
{
	return json_pack("{s:s, s:s, s:s, s:I, s:s}", "type", "event", "action",
		docker_action_name(action), "id", id, "time_ns", (json_int_t)time_ns, "source",
		source);
}

/* The pid namespace that ENTRY joins has become a shared one: whose it is has other facts than it
 * was started with, whether it has a volume of ours or has asked for itself. At `create` already, which is some 100 ms before ENTRY can look around there.
 */
static void tell_joined(struct engine_session *session, struct container_entry *entry)
{
	struct container_entry *joined = container_table_joined_by(&session->table, entry);

	if (!joined || container_entry_refresh(&session->table, joined, false) < 0 ||
		!container_runs(&joined->record, joined->id))
		return;
	(void)answers_tell(&session->answers,
		json_pack("{s:s, s:s, s:i}", "type", "running", "id", joined->id, "pid",
			(int)joined->record.pid),
		joined);
}

static void tell_start(struct engine_session *session, struct container_entry *entry,
	int64_t time_ns, const char *source)
{
	json_t *frame = event_frame(DOCKER_START, entry->id, time_ns, source);
	const int r = container_entry_refresh(&session->table, entry, false);
	const bool runs = r == 0 && container_runs(&entry->record, entry->id);

	if (!frame)
		return;
	(void)json_object_set_new(frame, "pid", json_integer(runs ? entry->record.pid : 0));
	if (r == 0 && !entry->record.uses_plugin) {
		(void)json_object_set_new(frame, "container", json_null());
		(void)json_object_set_new(frame, "error", json_null());
		send_frame(session, frame);
		return;
	}
	/* Gone again: its end follows. */
	(void)answers_tell(&session->answers, frame, entry);
}

/* A `die` from before we said that the container runs is about an earlier run of it. */
static bool is_outdated(struct engine_session *session, const struct docker_event *event)
{
	struct container_entry *entry = container_table_find(&session->table, event->id);

	return event->action == DOCKER_DIE && entry && event->time_ns <= entry->reported_ns &&
	       container_entry_refresh(&session->table, entry, false) == 0 &&
	       container_runs(&entry->record, entry->id);
}

static void on_event(void *context, const struct docker_event *event)
{
	struct engine_session *session = context;
	struct container_entry *entry = NULL;

	if (is_outdated(session, event))
		return;
	if (event->action == DOCKER_CREATE || event->action == DOCKER_START)
		entry = container_table_announce(&session->table, event->id);
	if (entry)
		tell_joined(session, entry);
	if (event->action == DOCKER_DESTROY)
		container_table_forget(&session->table, event->id);
	if (event->action == DOCKER_START && entry)
		tell_start(session, entry, event->time_ns, "engine");
	else
		send_frame(
			session, event_frame(event->action, event->id, event->time_ns, "engine"));
	if (!has_room(session))
		engine_link_hold(&session->link, true);
}

static void on_bundle_start(void *context, struct container_entry *entry)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	tell_start(context, entry, (int64_t)now.tv_sec * 1000000000 + now.tv_nsec, "bundle");
}

static void on_gap(void *context)
{
	log_notice("events of the engine were lost: reading its containers again");
	engine_session_reconcile(context);
}

/* The answers. */

static int answers_send(void *context, json_t *frame)
{
	struct engine_session *session = context;

	if (!session->broker || !session->is_greeted)
		return 0;
	return broker_channel_send(session->broker, frame);
}

static bool answers_has_room(void *context)
{
	return has_room(context);
}

static void on_reconciled(void *context, const struct mayfly_error *err)
{
	struct engine_session *session = context;

	session->is_reconciled = !err;
	if (err)
		engine_link_reject(&session->link, err->text);
}

static void on_progress(void *context)
{
	engine_session_balance(context);
}

static int open_link(struct engine_session *session, struct mayfly_error *err)
{
	const struct engine_link_owner owner = {
		.context = session,
		.on_connected = on_connected,
		.on_waiting = on_waiting,
		.on_event = on_event,
		.on_gap = on_gap,
	};

	return engine_link_open(
		&session->link, session->loop, session->arguments->socket, &owner, err);
}

static void open_parts(struct engine_session *session)
{
	const struct answers_owner owner = {
		.context = session,
		.send = answers_send,
		.has_room = answers_has_room,
		.open_files = open_files,
		.on_reconciled = on_reconciled,
		.on_progress = on_progress,
	};
	const struct restarts_owner restarts_owner = { .context = session, .send = answers_send };

	session->table.place = &session->place;
	session->answers.table = &session->table;
	session->answers.digests = &session->digests;
	session->answers.link = &session->link;
	answers_open(&session->answers, session->loop, &owner);
	restarts_open(&session->restarts, &session->link, &restarts_owner);
	bundle_starts_open(
		&session->starts, session->loop, &session->table, session, on_bundle_start);
}

int engine_session_open(struct engine_session *session, uv_loop_t *loop,
	const struct engine_arguments *arguments, int root, int control, int broker,
	struct mayfly_error *err)
{
	const struct control_channel_owner owner = {
		.context = session, .on_broker = on_new_broker, .on_end = on_control_end
	};
	AUTO_FD broker_fd = broker;
	int r;

	*session = (struct engine_session){ .loop = loop, .arguments = arguments };
	session->bundles.inotify = -1;
	session->place.root = root;
	session->place.plugin_name = arguments->plugin_name;
	session->place.socket = arguments->socket;
	session->place.exec_root = arguments->exec_root;
	open_parts(session);
	r = control_channel_open(&session->control, loop, control, &owner, err);
	if (r == 0)
		r = open_link(session, err);
	if (r == 0)
		r = broker_requests_open(session, fd_take(&broker_fd), err);
	if (r == 0)
		control_channel_ready(&session->control);
	return r;
}

void engine_session_close(struct engine_session *session)
{
	answers_close(&session->answers);
	restarts_close(&session->restarts);
	engine_link_close(&session->link);
	control_channel_close(&session->control);
	broker_channel_close(session->broker);
	session->broker = NULL;
	bundle_watch_close(&session->bundles);
	bundle_starts_close(&session->starts);
}

void engine_session_done(struct engine_session *session)
{
	container_table_done(&session->table);
	image_digests_done(&session->digests);
	fd_close_p(&session->place.root);
}
