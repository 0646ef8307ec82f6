#include "daemon/broker/identity/engine_link.h"

#include "daemon/broker/loop/socket_stream.h"
#include "proto/cleanup.h"
#include "proto/fd_passing.h"
#include "proto/frame.h"
#include "proto/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUEUE_MAX_BYTES	  (1024 * 1024)
#define READ_AT_ONCE	  65536
#define BUNDLE_MOUNTS_MAX CONTAINER_TARGETS_MAX

/* One mayfly-engine's end; it goes when its last handle is closed, the link stays. */
struct engine_connection {
	struct handle_group group;
	struct socket_stream stream;
	struct frame_reader reader;
	struct engine_link *link;
};

struct engine_link {
	uv_loop_t *loop;
	char *name;
	struct engine_connection *connection; /* NULL without a mayfly-engine */
	struct engine_callbacks callbacks;
	struct engine_status status;
	json_t *state; /* what the status' strings point into */
	uint64_t serial;
	struct engine_question *questions;
};

static void on_empty(struct handle_group *group)
{
	struct engine_connection *connection = container_of(group, struct engine_connection, group);

	frame_reader_done(&connection->reader);
	free(connection);
}

static struct engine_question *take_question(struct engine_link *link, uint64_t serial)
{
	for (struct engine_question **at = &link->questions; *at; at = &(*at)->next)
		if ((*at)->serial == serial) {
			struct engine_question *found = *at;

			*at = found->next;
			return found;
		}
	return NULL;
}

static struct engine_question *find_question(struct engine_link *link, json_t *message)
{
	const uint64_t serial = (uint64_t)json_integer_value(json_object_get(message, "serial"));

	for (struct engine_question *question = link->questions; question;
		question = question->next)
		if (question->serial == serial)
			return question;
	return NULL;
}

static void set_status(struct engine_link *link, json_t *state)
{
	struct engine_status status = {
		.detail = "", .version = "", .data_root = "", .storage_driver = ""
	};
	const char *text = json_string_value(json_object_get(state, "state"));

	(void)json_incref(state);
	json_decref(link->state);
	link->state = state;
	if (text)
		status.state = strcmp(text, "connected") == 0 ? ENGINE_CONNECTED : ENGINE_WAITING;
	if ((text = json_string_value(json_object_get(state, "detail"))))
		status.detail = text;
	if ((text = json_string_value(json_object_get(state, "version"))))
		status.version = text;
	if ((text = json_string_value(json_object_get(state, "data_root"))))
		status.data_root = text;
	if ((text = json_string_value(json_object_get(state, "storage_driver"))))
		status.storage_driver = text;
	status.cgroup_version = (int)json_integer_value(json_object_get(state, "cgroup_version"));
	link->status = status;
	link->callbacks.on_state(link->callbacks.data, &link->status);
}

static void lose(struct engine_link *link, const char *why)
{
	struct engine_connection *connection = link->connection;
	struct engine_question *question;

	if (!connection)
		return;
	link->connection = NULL;
	socket_stream_close(&connection->stream);
	if (handle_group_end(&connection->group))
		handle_group_release(&connection->group);
	set_status(link, NULL);
	while ((question = link->questions)) {
		link->questions = question->next;
		question->on_done(question, -ECONNRESET, why);
	}
}

/* Facts from a member of MESSAGE; false when they break the rules. NULL there is fine. */
static bool facts_of(json_t *message, struct container_facts *facts, struct mayfly_error *err)
{
	json_t *object = json_object_get(message, "container");

	*facts = (struct container_facts){ 0 };
	return !object || json_is_null(object) || container_facts_parse(object, facts, err) == 0;
}

static bool is_hex_id(const char *id)
{
	return id && strlen(id) == CONTAINER_ID_LENGTH &&
	       strspn(id, "0123456789abcdef") == CONTAINER_ID_LENGTH;
}

static int on_event(struct engine_link *link, json_t *message, struct mayfly_error *err)
{
	static const struct {
		const char *name;
		enum engine_event event;
	} events[] = { { "create", ENGINE_CREATE }, { "start", ENGINE_START },
		{ "die", ENGINE_DIE }, { "destroy", ENGINE_DESTROY }, { "healthy", ENGINE_HEALTHY },
		{ "unhealthy", ENGINE_UNHEALTHY } };
	const char *action = json_string_value(json_object_get(message, "action"));
	const char *id = json_string_value(json_object_get(message, "id"));
	const char *source = json_string_value(json_object_get(message, "source"));
	const json_int_t pid = json_integer_value(json_object_get(message, "pid"));
	struct container_facts facts;

	if (!action || !is_hex_id(id) || pid < 0 || pid > INT32_MAX ||
		!facts_of(message, &facts, err))
		return error_set(err, -EBADMSG, "an event that breaks the rules");
	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
		if (strcmp(action, events[i].name) == 0)
			link->callbacks.on_event(link->callbacks.data, events[i].event, id,
				(pid_t)pid, source && strcmp(source, "bundle") == 0,
				facts.object ? &facts : NULL);
	container_facts_done(&facts);
	return 0;
}

static int on_bundle(struct engine_link *link, json_t *message, struct mayfly_error *err)
{
	const char *id = json_string_value(json_object_get(message, "id"));
	json_t *mount_ids = json_object_get(message, "mount_ids");
	const json_int_t uid = json_integer_value(json_object_get(message, "uid"));
	const json_int_t gid = json_integer_value(json_object_get(message, "gid"));
	json_t *item;
	size_t i;

	if (!is_hex_id(id) || json_array_size(mount_ids) > BUNDLE_MOUNTS_MAX || uid < 0 ||
		uid > UINT32_MAX || gid < 0 || gid > UINT32_MAX)
		return error_set(err, -EBADMSG, "a bundle that breaks the rules");
	json_array_foreach (mount_ids, i, item) {
		if (!is_hex_id(json_string_value(item)))
			return error_set(err, -EBADMSG, "a bundle that breaks the rules");
		link->callbacks.on_bundle(link->callbacks.data, id, json_string_value(item),
			(uint32_t)uid, (uint32_t)gid);
	}
	return 0;
}

static int on_running(struct engine_link *link, json_t *message, struct mayfly_error *err)
{
	const char *id = json_string_value(json_object_get(message, "id"));
	const json_int_t pid = json_integer_value(json_object_get(message, "pid"));
	struct container_facts facts;

	if (!is_hex_id(id) || pid <= 0 || pid > INT32_MAX || !facts_of(message, &facts, err))
		return error_set(err, -EBADMSG, "a running container that breaks the rules");
	link->callbacks.on_running(
		link->callbacks.data, id, (pid_t)pid, facts.object ? &facts : NULL);
	container_facts_done(&facts);
	return 0;
}

static int on_answer(struct engine_link *link, json_t *message, struct mayfly_error *err)
{
	struct engine_question *question = find_question(link, message);
	const char *id = json_string_value(json_object_get(message, "id"));
	const char *why = json_string_value(json_object_get(message, "error"));
	struct container_facts facts;

	if (question && question->is_restart)
		return error_set(err, -EBADMSG, "facts as the answer to a restart");
	if (!facts_of(message, &facts, err))
		return -EBADMSG;
	if (question)
		question->on_facts(
			question, facts.object ? &facts : NULL, id ? id : "", why ? why : "");
	/* Unless it was given up by its own callback. */
	if (question && question == find_question(link, message) && question->is_single) {
		(void)take_question(link, question->serial);
		question->on_done(question, why ? -EIO : 0, why ? why : "");
	}
	container_facts_done(&facts);
	return 0;
}

static void on_done(struct engine_link *link, json_t *message)
{
	const char *why = json_string_value(json_object_get(message, "error"));
	struct engine_question *question = take_question(
		link, (uint64_t)json_integer_value(json_object_get(message, "serial")));

	if (question)
		question->on_done(question, why ? -EIO : 0, why ? why : "");
}

static int on_message(struct engine_link *link, json_t *message, struct mayfly_error *err)
{
	const char *type = json_string_value(json_object_get(message, "type"));

	if (!type)
		return error_set(err, -EBADMSG, "a frame without a type");
	if (strcmp(type, "event") == 0)
		return on_event(link, message, err);
	if (strcmp(type, "bundle") == 0)
		return on_bundle(link, message, err);
	if (strcmp(type, "running") == 0)
		return on_running(link, message, err);
	if (strcmp(type, "candidate") == 0 || strcmp(type, "container") == 0)
		return on_answer(link, message, err);
	if (strcmp(type, "engine") == 0)
		set_status(link, message);
	else if (strcmp(type, "synchronised") == 0)
		link->callbacks.on_synchronised(link->callbacks.data);
	else if (strcmp(type, "done") == 0)
		on_done(link, message);
	else
		return error_set(err, -EBADMSG, "a frame of an unknown type");
	return 0;
}

static int read_some(struct engine_connection *connection, struct mayfly_error *err)
{
	struct fd_set_passed fds;
	size_t size;
	char *room = frame_reader_room(&connection->reader, READ_AT_ONCE, &size);
	ssize_t received;

	if (!room)
		return error_errno(err, -ENOMEM, "read a frame");
	received = fd_receive(connection->stream.fd, room, size, &fds);
	if (received == -EAGAIN)
		return -EAGAIN;
	if (received <= 0)
		return error_set(err, -ECONNRESET, "mayfly-engine has ended");
	/* None is ever due; they are closed at once. */
	fd_set_passed_done(&fds);
	frame_reader_added(&connection->reader, (size_t)received);
	return 0;
}

static void on_readable(struct socket_stream *stream)
{
	struct engine_connection *connection =
		container_of(stream, struct engine_connection, stream);
	struct engine_link *link = connection->link;
	struct mayfly_error err;
	int r = read_some(connection, &err);

	while (r == 0 && link->connection == connection) {
		json_t *message = NULL;

		r = frame_reader_next(&connection->reader, &message, &err);
		if (r == 0)
			return;
		if (r == 1)
			r = on_message(link, message, &err);
		json_decref(message);
	}
	if (r == -EAGAIN || link->connection != connection)
		return;
	if (r != -ECONNRESET)
		log_error("engine %s: %s", link->name, err.text);
	lose(link, "mayfly-engine has ended");
}

static void on_failed(struct socket_stream *stream, int status)
{
	(void)status;
	lose(container_of(stream, struct engine_connection, stream)->link,
		"mayfly-engine has ended");
}

int engine_link_new(uv_loop_t *loop, const char *name, const struct engine_callbacks *callbacks,
	struct engine_link **ret_link, struct mayfly_error *err)
{
	struct engine_link *link = calloc(1, sizeof *link);

	if (!link || !(link->name = strdup(name))) {
		free(link);
		return error_errno(err, -ENOMEM, "make the link to an engine");
	}
	link->loop = loop;
	link->callbacks = *callbacks;
	link->status = (struct engine_status){
		.detail = "", .version = "", .data_root = "", .storage_driver = ""
	};
	*ret_link = link;
	return 0;
}

/* Takes MESSAGE and FD over. */
static int send_message(struct engine_link *link, json_t *message, int fd)
{
	char *bytes = NULL;
	size_t length = 0;
	int r = message ? frame_encode(message, &bytes, &length) : -ENOMEM;

	json_decref(message);
	if (r == 0 && link->connection)
		return socket_stream_send(&link->connection->stream, bytes, length, fd);
	free(bytes);
	fd_close_p(&fd);
	return r < 0 ? r : -ECONNRESET;
}

int engine_link_replace(
	struct engine_link *link, int fd, const char *data_root, struct mayfly_error *err)
{
	struct engine_connection *connection = calloc(1, sizeof *connection);
	int r;

	lose(link, "mayfly-engine has been replaced");
	if (!connection) {
		(void)close(fd);
		return error_errno(err, -ENOMEM, "take up a new mayfly-engine");
	}
	handle_group_init(&connection->group, on_empty);
	connection->link = link;
	connection->stream =
		(struct socket_stream){ .on_readable = on_readable, .on_failed = on_failed };
	r = socket_stream_init(
		&connection->stream, link->loop, &connection->group, fd, QUEUE_MAX_BYTES, err);
	if (r < 0) {
		handle_group_release(&connection->group);
		return r;
	}
	link->connection = connection;
	return send_message(
		link, json_pack("{s:s, s:s?}", "type", "hello", "data_root", data_root), -1);
}

static int ask(struct engine_link *link, json_t *message, struct engine_question *question)
{
	int r;

	question->serial = ++link->serial;
	if (message && json_object_set_new(message, "serial",
			       json_integer((json_int_t)question->serial)) != 0) {
		json_decref(message);
		return -ENOMEM;
	}
	r = send_message(link, message, -1);
	if (r < 0)
		return r;
	question->next = link->questions;
	link->questions = question;
	return 0;
}

int engine_link_candidates(
	struct engine_link *link, const char *volume, struct engine_question *question)
{
	question->is_single = question->is_restart = false;
	return ask(link, json_pack("{s:s, s:s}", "type", "candidates", "volume", volume), question);
}

int engine_link_containers(
	struct engine_link *link, const char *id, struct engine_question *question)
{
	question->is_single = id != NULL;
	question->is_restart = false;
	return ask(link,
		id ? json_pack("{s:s, s:s}", "type", "container", "id", id)
		   : json_pack("{s:s}", "type", "containers"),
		question);
}

int engine_link_restart(struct engine_link *link, const char *id, unsigned timeout_s,
	struct engine_question *question)
{
	if (!is_hex_id(id) || timeout_s > ENGINE_RESTART_TIMEOUT_MAX_S)
		return -EINVAL;
	question->is_single = false;
	question->is_restart = true;
	return ask(link,
		json_pack("{s:s, s:s, s:I}", "type", "restart", "id", id, "timeout_s",
			(json_int_t)timeout_s),
		question);
}

void engine_link_forget(struct engine_link *link, struct engine_question *question)
{
	(void)take_question(link, question->serial);
}

int engine_link_send_root(struct engine_link *link, int fd)
{
	return send_message(link, json_pack("{s:s}", "type", "root"), fd);
}

const struct engine_status *engine_link_status(const struct engine_link *link)
{
	return &link->status;
}

const char *engine_link_name(const struct engine_link *link)
{
	return link->name;
}

void engine_link_close(struct engine_link *link)
{
	lose(link, "Mayfly is stopping");
	json_decref(link->state);
	free(link->name);
	free(link);
}
