/* The plugin protocol's HTTP server: connections of container engines on one listening unix socket.
 * One request at a time on a connection; what is sent ahead waits its turn. A request must arrive
 * whole within 10 s of its first byte; an idle connection may stay. At most HTTP_CONNECTIONS_MAX
 * connections: further ones wait in the kernel's queue. Loop thread only. */
#pragma once

#include "daemon/broker/wire/http_request.h"
#include "proto/error.h"

#include <jansson.h>
#include <sys/types.h>
#include <uv.h>

#define HTTP_CONNECTIONS_MAX	 256
#define HTTP_REQUEST_DEADLINE_MS 10000

struct http_server;
struct http_exchange; /* one request that has not been answered yet */

struct http_handler {
	/* REQUEST is valid during the call. The callee answers EXCHANGE once, now or later. */
	void (*on_request)(
		struct http_exchange *exchange, const struct http_request *request, void *data);
	/* The client has gone: the exchange must not be answered any more. */
	void (*on_gone)(struct http_exchange *exchange, void *data);
	void *data;
};

/* FD is a listening socket, borrowed. */
int http_server_new(uv_loop_t *loop, int fd, const struct http_handler *handler,
	struct http_server **ret_server, struct mayfly_error *err);
void http_server_close(struct http_server *server);

/* Answers with BODY (a reference is taken over) as JSON. */
void http_answer(struct http_exchange *exchange, int status, json_t *body);

/* Ends the connection without an answer: to the client it failed on the way. */
void http_hang_up(struct http_exchange *exchange);

/* For the front's own state of an exchange; NULL at first. */
void http_exchange_set(struct http_exchange *exchange, void *state);
void *http_exchange_get(const struct http_exchange *exchange);

/* The connection, borrowed. */
int http_exchange_socket(const struct http_exchange *exchange);

/* The connected process, as peer_process_open() says it. */
int http_exchange_peer(const struct http_exchange *exchange, pid_t *ret_pid);
