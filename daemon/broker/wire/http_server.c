#include "daemon/broker/wire/http_server.h"

#include "daemon/broker/loop/deadline.h"
#include "daemon/broker/loop/listener.h"
#include "daemon/broker/loop/socket_stream.h"
#include "daemon/broker/wire/peer_process.h"
#include "proto/cleanup.h"
#include "proto/fd_passing.h"
#include "proto/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER_BYTES	  (HTTP_HEAD_MAX_BYTES + HTTP_BODY_MAX_BYTES)
#define ANSWER_MAX_BYTES  (8 * 1024 * 1024) /* a list of all volumes */
#define CLOSE_DEADLINE_MS 1000		    /* for a last answer that is not taken */

/* A connection, and the one request on it that is being answered. */
struct http_exchange {
	LIST_ENTRY(http_exchange) entry;
	struct handle_group group;
	struct http_server *server;
	struct socket_stream stream;
	struct deadline deadline; /* for a request that has begun to arrive */
	char *buffer;		  /* BUFFER_BYTES, while there is something in it */
	size_t length;
	bool is_answering;  /* a request is at its handler */
	bool is_in_handler; /* the handler's call has not returned */
	bool keep_alive;
	bool was_continued;
	bool closes; /* once what is queued is sent */
	void *state;
};

struct http_server {
	struct handle_group group;
	uv_loop_t *loop;
	struct listener listener;
	struct http_handler handler;
	LIST_HEAD(, http_exchange) exchanges;
};

static void serve(struct http_exchange *exchange);

static void on_exchange_empty(struct handle_group *group)
{
	struct http_exchange *exchange = container_of(group, struct http_exchange, group);
	struct http_server *server = exchange->server;

	free(exchange->buffer);
	free(exchange);
	listener_has_room(&server->listener);
	handle_group_release(&server->group);
}

static void close_exchange(struct http_exchange *exchange)
{
	if (!handle_group_end(&exchange->group))
		return;
	LIST_REMOVE(exchange, entry);
	if (exchange->is_answering) {
		exchange->is_answering = false;
		exchange->server->handler.on_gone(exchange, exchange->server->handler.data);
	}
	socket_stream_close(&exchange->stream);
	deadline_close(&exchange->deadline);
	handle_group_release(&exchange->group);
}

static void drop_front(struct http_exchange *exchange, size_t count)
{
	exchange->length -= count;
	memmove(exchange->buffer, exchange->buffer + count, exchange->length);
	if (exchange->length == 0) {
		/* An idle connection holds no buffer. */
		free(exchange->buffer);
		exchange->buffer = NULL;
	}
}

static void send_text(struct http_exchange *exchange, int status, const char *body, bool keep_alive)
{
	char *text = NULL;
	const int length = asprintf(&text,
		"HTTP/1.1 %d %s\r\nContent-Type: application/vnd.docker.plugins.v1.2+json\r\n"
		"Content-Length: %zu\r\n%s\r\n%s",
		status, http_status_text(status), strlen(body),
		keep_alive ? "" : "Connection: close\r\n", body);

	if (length < 0 || socket_stream_send(&exchange->stream, text, (size_t)length, -1) < 0) {
		close_exchange(exchange);
		return;
	}
	if (keep_alive)
		return;
	exchange->closes = true;
	if (socket_stream_has_unsent(&exchange->stream))
		deadline_arm(&exchange->deadline, CLOSE_DEADLINE_MS);
	else
		close_exchange(exchange);
}

void http_answer(struct http_exchange *exchange, int status, json_t *body)
{
	AUTO_FREE char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

	json_decref(body);
	if (!exchange->is_answering)
		return;
	exchange->is_answering = false;
	exchange->state = NULL;
	handle_group_hold(&exchange->group);
	send_text(exchange, text ? status : 500, text ? text : "{\"Err\":\"out of memory\"}",
		exchange->keep_alive);
	/* What was sent ahead is next; unless the answer comes from within the handler's call,
	 * which sees to it. */
	if (!exchange->group.is_ending && !exchange->closes && !exchange->is_in_handler) {
		socket_stream_set_reading(&exchange->stream, true);
		serve(exchange);
	}
	handle_group_release(&exchange->group);
}

void http_hang_up(struct http_exchange *exchange)
{
	/* Nobody else is told that the client has gone. */
	exchange->is_answering = false;
	close_exchange(exchange);
}

/* Answers what is no request of ours, and closes: where it ends is not known. */
static void answer_broken(struct http_exchange *exchange, int status)
{
	char body[96];

	(void)snprintf(body, sizeof body, "{\"Err\":\"mayfly: %s\"}", http_status_text(status));
	socket_stream_set_reading(&exchange->stream, false);
	deadline_cancel(&exchange->deadline);
	send_text(exchange, status, body, false);
}

static void send_continue(struct http_exchange *exchange)
{
	static const char proceed[] = "HTTP/1.1 100 Continue\r\n\r\n";
	char *text = strdup(proceed);

	exchange->was_continued = true;
	if (text)
		(void)socket_stream_send(&exchange->stream, text, sizeof proceed - 1, -1);
}

/* Gives the next whole request to the handler. Returns true when it was answered at once, and there
 * may be another. */
static bool serve_one(struct http_exchange *exchange)
{
	struct http_request request = { 0 };
	int r;

	if (exchange->is_answering || exchange->closes || exchange->length == 0)
		return false;
	r = http_request_parse(exchange->buffer, exchange->length, &request);
	if (r == -EAGAIN) {
		if (request.expects_continue && !exchange->was_continued)
			send_continue(exchange);
		if (!deadline_is_armed(&exchange->deadline))
			deadline_arm(&exchange->deadline, HTTP_REQUEST_DEADLINE_MS);
		return false;
	}
	if (r < 0) {
		answer_broken(exchange, -r);
		return false;
	}
	deadline_cancel(&exchange->deadline);
	exchange->was_continued = false;
	exchange->is_answering = true;
	exchange->keep_alive = request.keep_alive;
	exchange->is_in_handler = true;
	exchange->server->handler.on_request(exchange, &request, exchange->server->handler.data);
	exchange->is_in_handler = false;
	if (exchange->group.is_ending)
		return false;
	drop_front(exchange, request.length);
	return !exchange->is_answering;
}

static void serve(struct http_exchange *exchange)
{
	handle_group_hold(&exchange->group);
	while (serve_one(exchange))
		continue;
	handle_group_release(&exchange->group);
}

static void on_deadline(struct deadline *deadline)
{
	struct http_exchange *exchange = container_of(deadline, struct http_exchange, deadline);

	if (exchange->closes)
		close_exchange(exchange);
	else
		answer_broken(exchange, 408);
}

static void on_readable(struct socket_stream *stream)
{
	struct http_exchange *exchange = container_of(stream, struct http_exchange, stream);
	struct fd_set_passed fds;
	ssize_t received;

	if (!exchange->buffer && !(exchange->buffer = malloc(BUFFER_BYTES))) {
		close_exchange(exchange);
		return;
	}
	if (exchange->length == BUFFER_BYTES) {
		/* A request is being answered and the next ones fill the buffer: they wait in the
		 * socket. But its end must be noticed: the descriptor is looked at again when the
		 * answer is out. */
		socket_stream_set_reading(stream, false);
		return;
	}
	received = fd_receive(stream->fd, exchange->buffer + exchange->length,
		BUFFER_BYTES - exchange->length, &fds);
	if (received == -EAGAIN)
		return;
	if (received <= 0) {
		close_exchange(exchange);
		return;
	}
	fd_set_passed_done(&fds);
	exchange->length += (size_t)received;
	serve(exchange);
}

static void on_failed(struct socket_stream *stream, int status)
{
	(void)status;
	close_exchange(container_of(stream, struct http_exchange, stream));
}

/* Takes FD over. */
static void on_connection(struct listener *listener, int fd)
{
	struct http_server *server = container_of(listener, struct http_server, listener);
	struct http_exchange *exchange = calloc(1, sizeof *exchange);
	struct mayfly_error err;

	if (!exchange) {
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
	deadline_init(&exchange->deadline, server->loop, &exchange->group, on_deadline);
	if (socket_stream_init(&exchange->stream, server->loop, &exchange->group, fd,
		    ANSWER_MAX_BYTES, &err) < 0) {
		log_error("accept a plugin connection: %s", err.text);
		close_exchange(exchange);
	}
}

static void on_server_empty(struct handle_group *group)
{
	free(container_of(group, struct http_server, group));
}

int http_server_new(uv_loop_t *loop, int fd, const struct http_handler *handler,
	struct http_server **ret_server, struct mayfly_error *err)
{
	struct http_server *server = calloc(1, sizeof *server);
	int r = -ENOMEM;

	if (server) {
		handle_group_init(&server->group, on_server_empty);
		server->listener.on_connection = on_connection;
		r = listener_init(
			&server->listener, loop, &server->group, fd, HTTP_CONNECTIONS_MAX);
	}
	if (r < 0) {
		free(server);
		return error_errno(err, r, "serve a plugin socket");
	}
	server->loop = loop;
	server->handler = *handler;
	LIST_INIT(&server->exchanges);
	*ret_server = server;
	return 0;
}

void http_server_close(struct http_server *server)
{
	struct http_exchange *exchange;

	if (!handle_group_end(&server->group))
		return;
	while ((exchange = LIST_FIRST(&server->exchanges)))
		close_exchange(exchange);
	listener_close(&server->listener);
	handle_group_release(&server->group);
}

void http_exchange_set(struct http_exchange *exchange, void *state)
{
	exchange->state = state;
}

void *http_exchange_get(const struct http_exchange *exchange)
{
	return exchange->state;
}

int http_exchange_socket(const struct http_exchange *exchange)
{
	return exchange->stream.fd;
}

int http_exchange_peer(const struct http_exchange *exchange, pid_t *ret_pid)
{
	bool is_proved;

	/* Before 6.5 it is looked up by its number: it is the engine's long-lived process, and the
	 * connection is its. */
	return peer_process_open(exchange->stream.fd, ret_pid, &is_proved);
}
