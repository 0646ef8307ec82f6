#include "daemon/broker/wire/varlink_server.h"

#include "daemon/broker/loop/deadline.h"
#include "daemon/broker/loop/listener.h"
#include "daemon/broker/loop/socket_stream.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_DEADLINE_MS 10000
#define READ_AT_ONCE	    2048

/* A connection, and the one call on it. */
struct varlink_exchange {
	LIST_ENTRY(varlink_exchange) entry;
	struct handle_group group;
	struct varlink_server *server;
	struct socket_stream stream;
	struct deadline deadline;
	struct varlink_peer peer;
	char *buffer;
	size_t length, capacity;
	struct fd_set_passed fds; /* of the message that is arriving */
	bool is_answering, is_in_handler, is_oneway, wants_more;
	bool is_foreign;  /* another process has sent here: for good */
	void *state;	  /* of the call */
	void *connection; /* of the front */
};

struct varlink_server {
	struct handle_group group;
	uv_loop_t *loop;
	struct listener listener;
	struct varlink_limits limits;
	struct varlink_handler handler;
	LIST_HEAD(, varlink_exchange) exchanges;
};

static void serve(struct varlink_exchange *exchange);

static void on_exchange_empty(struct handle_group *group)
{
	struct varlink_exchange *exchange = container_of(group, struct varlink_exchange, group);
	struct varlink_server *server = exchange->server;

	fd_set_passed_done(&exchange->fds);
	free(exchange->buffer);
	free(exchange);
	listener_has_room(&server->listener);
	handle_group_release(&server->group);
}

static void close_exchange(struct varlink_exchange *exchange)
{
	if (!handle_group_end(&exchange->group))
		return;
	LIST_REMOVE(exchange, entry);
	if (exchange->is_answering && exchange->state)
		exchange->server->handler.on_gone(
			exchange, exchange->state, exchange->server->handler.data);
	exchange->is_answering = false;
	if (exchange->server->handler.on_disconnect)
		exchange->server->handler.on_disconnect(exchange, exchange->server->handler.data);
	socket_stream_close(&exchange->stream);
	deadline_close(&exchange->deadline);
	handle_group_release(&exchange->group);
}

/* Takes TEXT over. */
static bool send_text(struct varlink_exchange *exchange, int status, char *text, size_t length)
{
	if (status == 0 && socket_stream_send(&exchange->stream, text, length, -1) == 0)
		return true;
	log_warning("a reply could not be sent to uid %u: %s", exchange->peer.uid,
		status < 0 ? strerrordesc_np(-status) : "it does not read");
	close_exchange(exchange);
	return false;
}

static void call_is_over(struct varlink_exchange *exchange)
{
	exchange->is_answering = false;
	exchange->state = NULL;
	if (!exchange->group.is_ending && !exchange->is_in_handler)
		serve(exchange);
}

void varlink_reply(struct varlink_exchange *exchange, json_t *parameters)
{
	char *text = NULL;
	size_t length = 0;
	int r;

	handle_group_hold(&exchange->group);
	if (exchange->is_answering && !exchange->is_oneway) {
		r = varlink_reply_encode(parameters, false, &text, &length);
		(void)send_text(exchange, r, text, length);
	}
	json_decref(parameters);
	call_is_over(exchange);
	handle_group_release(&exchange->group);
}

void varlink_fail(struct varlink_exchange *exchange, const char *error, json_t *parameters)
{
	char *text = NULL;
	size_t length = 0;
	int r;

	handle_group_hold(&exchange->group);
	if (exchange->is_answering && !exchange->is_oneway) {
		r = varlink_error_encode(error, parameters, &text, &length);
		(void)send_text(exchange, r, text, length);
	}
	json_decref(parameters);
	call_is_over(exchange);
	handle_group_release(&exchange->group);
}

void varlink_reply_text(struct varlink_exchange *exchange, const char *text, size_t length)
{
	char *copy = NULL;

	handle_group_hold(&exchange->group);
	if (exchange->is_answering && !exchange->is_oneway) {
		copy = malloc(length);
		if (copy)
			memcpy(copy, text, length);
		(void)send_text(exchange, copy ? 0 : -ENOMEM, copy, length);
	}
	call_is_over(exchange);
	handle_group_release(&exchange->group);
}

void varlink_answer_service(struct varlink_exchange *exchange, const struct varlink_call *call,
	const char *interface, const char *description)
{
	const char *asked = json_string_value(json_object_get(call->parameters, "interface"));

	if (strcmp(call->method, "org.varlink.service.GetInfo") == 0)
		varlink_reply(exchange,
			json_pack("{s:s, s:s, s:s, s:s, s:[s, s]}", "vendor", "Mayfly", "product",
				"mayfly-broker", "version", MAYFLY_VERSION, "url", "", "interfaces",
				"org.varlink.service", interface));
	else if (strcmp(call->method, "org.varlink.service.GetInterfaceDescription") != 0)
		varlink_fail(exchange, VARLINK_ERROR_METHOD_NOT_FOUND,
			json_pack("{s:s}", "method", call->method));
	else if (asked && strcmp(asked, interface) == 0)
		varlink_reply(exchange, json_pack("{s:s}", "description", description));
	else
		varlink_fail(exchange, VARLINK_ERROR_INTERFACE_NOT_FOUND,
			json_pack("{s:s}", "interface", asked ? asked : ""));
}

bool varlink_continue(struct varlink_exchange *exchange, json_t *parameters)
{
	char *text = NULL;
	size_t length = 0;
	int r = varlink_reply_encode(parameters, true, &text, &length);

	json_decref(parameters);
	return exchange->is_answering && send_text(exchange, r, text, length);
}

static void fail_parameter(struct varlink_exchange *exchange, const char *why)
{
	varlink_fail(
		exchange, VARLINK_ERROR_INVALID_PARAMETER, json_pack("{s:s}", "parameter", why));
}

/* Hands one whole message to the handler. Returns true when it was answered at once. */
static bool serve_one(struct varlink_exchange *exchange)
{
	const ssize_t length = varlink_message_length(exchange->buffer, exchange->length);
	struct varlink_call call;
	struct mayfly_error err;

	if (length == -EAGAIN) {
		if (exchange->length > 0 && !deadline_is_armed(&exchange->deadline))
			deadline_arm(&exchange->deadline, MESSAGE_DEADLINE_MS);
		return false;
	}
	deadline_cancel(&exchange->deadline);
	if (length < 0 || (size_t)length > exchange->server->limits.message_bytes ||
		varlink_call_parse(exchange->buffer, (size_t)length, &call, &err) < 0) {
		log_warning("uid %u sent what is no varlink call", exchange->peer.uid);
		close_exchange(exchange);
		return false;
	}
	exchange->length -= (size_t)length + 1;
	memmove(exchange->buffer, exchange->buffer + length + 1, exchange->length);
	exchange->is_answering = true;
	exchange->is_oneway = call.oneway;
	exchange->wants_more = call.more;
	exchange->is_in_handler = true;
	if (exchange->fds.count > 8)
		fail_parameter(exchange, "descriptors");
	else
		exchange->server->handler.on_call(
			exchange, &call, &exchange->fds, exchange->server->handler.data);
	exchange->is_in_handler = false;
	fd_set_passed_done(&exchange->fds);
	varlink_call_done(&call);
	return !exchange->group.is_ending && !exchange->is_answering;
}

static void serve(struct varlink_exchange *exchange)
{
	handle_group_hold(&exchange->group);
	while (!exchange->group.is_ending && !exchange->is_answering && serve_one(exchange))
		continue;
	if (exchange->length == 0) {
		free(exchange->buffer);
		exchange->buffer = NULL;
		exchange->capacity = 0;
	}
	handle_group_release(&exchange->group);
}

static bool make_room(struct varlink_exchange *exchange)
{
	char *buffer;
	const size_t wanted = 2 * (exchange->capacity + READ_AT_ONCE);

	if (exchange->capacity - exchange->length >= READ_AT_ONCE)
		return true;
	if (exchange->capacity >= exchange->server->limits.message_bytes + READ_AT_ONCE)
		return false;
	buffer = realloc(exchange->buffer, wanted);
	if (!buffer)
		return false;
	exchange->buffer = buffer;
	exchange->capacity = wanted;
	return true;
}

/* Adds the descriptors of one read to those of the message; more than a message may have ends the
 * connection. */
static bool keep_fds(struct varlink_exchange *exchange, struct fd_set_passed *fds)
{
	if (exchange->fds.count + fds->count > exchange->server->limits.descriptors) {
		fd_set_passed_done(fds);
		return false;
	}
	memcpy(exchange->fds.fds + exchange->fds.count, fds->fds, fds->count * sizeof(int));
	exchange->fds.count += fds->count;
	return true;
}

static ssize_t receive(struct varlink_exchange *exchange, struct fd_set_passed *fds)
{
	const struct varlink_handler *handler = &exchange->server->handler;
	struct message_sender sender;
	const ssize_t received =
		fd_receive_from(exchange->stream.fd, exchange->buffer + exchange->length,
			exchange->capacity - exchange->length, fds, &sender);

	if (received > 0 && handler->is_connector &&
		!handler->is_connector(exchange, &sender, handler->data))
		exchange->is_foreign = true;
	fd_close_p(&sender.pidfd);
	return received;
}

static void on_readable(struct socket_stream *stream)
{
	struct varlink_exchange *exchange = container_of(stream, struct varlink_exchange, stream);
	struct fd_set_passed fds;
	ssize_t received;

	if (!make_room(exchange)) {
		close_exchange(exchange);
		return;
	}
	received = receive(exchange, &fds);
	if (received == -EAGAIN)
		return;
	if (received <= 0 || !keep_fds(exchange, &fds)) {
		close_exchange(exchange);
		return;
	}
	exchange->length += (size_t)received;
	serve(exchange);
}

static void on_failed(struct socket_stream *stream, int status)
{
	(void)status;
	close_exchange(container_of(stream, struct varlink_exchange, stream));
}

static void on_message_late(struct deadline *deadline)
{
	close_exchange(container_of(deadline, struct varlink_exchange, deadline));
}

static uint32_t login_uid_of(pid_t pid)
{
	char path[48], text[16] = "";
	AUTO_FD fd = -1;

	(void)snprintf(path, sizeof path, "/proc/%d/loginuid", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
		return UINT32_MAX;
	return (uint32_t)strtoul(text, NULL, 10);
}

static bool read_peer(int fd, struct varlink_peer *peer)
{
	struct ucred credentials;
	socklen_t length = sizeof credentials;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0)
		return false;
	*peer = (struct varlink_peer){ .uid = credentials.uid,
		.gid = credentials.gid,
		.pid = credentials.pid,
		.login_uid = login_uid_of(credentials.pid) };
	return true;
}

static size_t connections_of(const struct varlink_server *server, uid_t uid)
{
	const struct varlink_exchange *exchange;
	size_t count = 0;

	LIST_FOREACH(exchange, &server->exchanges, entry)
	count += exchange->peer.uid == uid;
	return count;
}

/* Takes FD over. */
static void on_connection(struct listener *listener, int fd)
{
	struct varlink_server *server = container_of(listener, struct varlink_server, listener);
	struct varlink_exchange *exchange = calloc(1, sizeof *exchange);
	struct mayfly_error err;

	if (!exchange || !read_peer(fd, &exchange->peer) ||
		(server->limits.connections_per_uid &&
			connections_of(server, exchange->peer.uid) >=
				server->limits.connections_per_uid)) {
		free(exchange);
		(void)close(fd);
		return;
	}
	exchange->server = server;
	handle_group_init(&exchange->group, on_exchange_empty);
	exchange->stream.on_readable = on_readable;
	exchange->stream.on_failed = on_failed;
	handle_group_hold(&server->group);
	listener_is_connected(&server->listener);
	LIST_INSERT_HEAD(&server->exchanges, exchange, entry);
	deadline_init(&exchange->deadline, server->loop, &exchange->group, on_message_late);
	if (socket_stream_init(&exchange->stream, server->loop, &exchange->group, fd,
		    server->limits.unread_bytes, &err) < 0) {
		log_error("accept a connection: %s", err.text);
		close_exchange(exchange);
		return;
	}
	if (server->handler.on_connect &&
		!server->handler.on_connect(exchange, server->handler.data))
		close_exchange(exchange);
}

static void on_server_empty(struct handle_group *group)
{
	free(container_of(group, struct varlink_server, group));
}

int varlink_server_new(uv_loop_t *loop, int fd, const struct varlink_limits *limits,
	const struct varlink_handler *handler, struct varlink_server **ret_server,
	struct mayfly_error *err)
{
	struct varlink_server *server = calloc(1, sizeof *server);
	int r = -ENOMEM;

	if (server) {
		handle_group_init(&server->group, on_server_empty);
		server->listener.on_connection = on_connection;
		r = listener_init(&server->listener, loop, &server->group, fd, limits->connections);
	}
	if (r < 0) {
		free(server);
		return error_errno(err, r, "serve the operator socket");
	}
	server->loop = loop;
	server->limits = *limits;
	server->handler = *handler;
	if (handler->is_connector)
		(void)fd_receive_wants_sender(fd);
	LIST_INIT(&server->exchanges);
	*ret_server = server;
	return 0;
}

void varlink_server_close(struct varlink_server *server)
{
	struct varlink_exchange *exchange;

	if (!handle_group_end(&server->group))
		return;
	while ((exchange = LIST_FIRST(&server->exchanges)))
		close_exchange(exchange);
	listener_close(&server->listener);
	handle_group_release(&server->group);
}

int varlink_exchange_socket(const struct varlink_exchange *exchange)
{
	return exchange->stream.fd;
}

const struct varlink_peer *varlink_exchange_peer(const struct varlink_exchange *exchange)
{
	return &exchange->peer;
}

bool varlink_exchange_is_foreign(const struct varlink_exchange *exchange)
{
	return exchange->is_foreign;
}

void varlink_connection_set(struct varlink_exchange *exchange, void *state)
{
	exchange->connection = state;
}

void *varlink_connection_get(const struct varlink_exchange *exchange)
{
	return exchange->connection;
}

void varlink_exchange_set(struct varlink_exchange *exchange, void *state)
{
	exchange->state = state;
}
