/* varlink on a listening unix socket: connections, calls, replies, descriptors (proto/varlink.h).
 * Knows no interface. One call at a time on a connection, as varlink has it; further ones wait.
 * A message must arrive whole within 10 s of its first byte; an idle connection may stay, and holds
 * no buffer. Replies that are not read are bounded. Loop thread only. */
#pragma once

#include "proto/error.h"
#include "proto/fd_passing.h"
#include "proto/varlink.h"

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

struct varlink_server;

/* Who calls, by the kernel: at connect (uid, gid, pid), and the login that the process belongs to.
 */
struct varlink_peer {
	uid_t uid;
	gid_t gid;
	pid_t pid;
	uint32_t login_uid; /* /proc/PID/loginuid; UINT32_MAX: none */
};

/* One call that has not been answered to its end. */
struct varlink_exchange;

struct varlink_limits {
	size_t connections;	    /* further ones wait in the kernel's queue */
	size_t connections_per_uid; /* further ones are closed; 0: no such limit */
	size_t unread_bytes;	    /* of replies on one connection */
	size_t descriptors;	    /* with a message; more end the connection */
	size_t message_bytes;	    /* a longer message ends it too */
};

struct varlink_handler {
	/* A connection is there; false closes it. NULL: all are taken. */
	bool (*on_connect)(struct varlink_exchange *exchange, void *data);
	void (*on_disconnect)(struct varlink_exchange *exchange, void *data);
	/* True when SENDER is the process that has connected EXCHANGE. Not NULL: the kernel is
	 * asked who sends each message (SO_PASSPIDFD or SO_PASSCRED). SENDER's pidfd is borrowed.
	 */
	bool (*is_connector)(
		struct varlink_exchange *exchange, const struct message_sender *sender, void *data);
	/* CALL and FDS are valid during the call; the callee may take descriptors out of FDS
	 * (setting them to -1). It replies now or later, exactly once with varlink_reply() or
	 * varlink_fail(), before that any number of varlink_continue(). */
	void (*on_call)(struct varlink_exchange *exchange, struct varlink_call *call,
		struct fd_set_passed *fds, void *data);
	/* The caller has gone in the middle of a call that SETs a state: it must not be replied to
	 * any more. */
	void (*on_gone)(struct varlink_exchange *exchange, void *state, void *data);
	void *data;
};

/* FD is a listening socket, borrowed. */
int varlink_server_new(uv_loop_t *loop, int fd, const struct varlink_limits *limits,
	const struct varlink_handler *handler, struct varlink_server **ret_server,
	struct mayfly_error *err);
void varlink_server_close(struct varlink_server *server);

/* PARAMETERS: a reference is taken over, NULL is an empty object. */
void varlink_reply(struct varlink_exchange *exchange, json_t *parameters);
void varlink_fail(struct varlink_exchange *exchange, const char *error, json_t *parameters);
/* One of several replies; only for a call with `more`. False when the caller does not read: the
 * exchange is over. */
bool varlink_continue(struct varlink_exchange *exchange, json_t *parameters);

/* A whole reply that was encoded before (varlink_reply_encode()); copied. */
void varlink_reply_text(struct varlink_exchange *exchange, const char *text, size_t length);

/* Answers org.varlink.service for a server that speaks INTERFACE, whose file's text is DESCRIPTION.
 */
void varlink_answer_service(struct varlink_exchange *exchange, const struct varlink_call *call,
	const char *interface, const char *description);

/* The socket, borrowed. */
int varlink_exchange_socket(const struct varlink_exchange *exchange);
/* Something on this connection came from another process than the one that has connected. */
bool varlink_exchange_is_foreign(const struct varlink_exchange *exchange);
/* For the front's own state of a connection, from on_connect to on_disconnect. */
void varlink_connection_set(struct varlink_exchange *exchange, void *state);
void *varlink_connection_get(const struct varlink_exchange *exchange);

const struct varlink_peer *varlink_exchange_peer(const struct varlink_exchange *exchange);
/* The connection, borrowed. */
int varlink_exchange_socket(const struct varlink_exchange *exchange);
void varlink_exchange_set(struct varlink_exchange *exchange, void *state);
