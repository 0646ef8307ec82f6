/* varlink on a listening unix socket: connections, calls, replies, descriptors (proto/varlink.h).
 * Knows no interface. One call at a time on a connection, as varlink has it; further ones wait.
 * Limits: 64 connections, 16 for one uid; a message must arrive whole within 10 s of its first
 * byte; replies that are not read are bounded. Loop thread only. */
#pragma once

#include "proto/error.h"
#include "proto/fd_passing.h"
#include "proto/varlink.h"

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#define VARLINK_CONNECTIONS_MAX		64
#define VARLINK_CONNECTIONS_PER_UID_MAX 16

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

struct varlink_handler {
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
int varlink_server_new(uv_loop_t *loop, int fd, const struct varlink_handler *handler,
	struct varlink_server **ret_server, struct mayfly_error *err);
void varlink_server_close(struct varlink_server *server);

/* PARAMETERS: a reference is taken over, NULL is an empty object. */
void varlink_reply(struct varlink_exchange *exchange, json_t *parameters);
void varlink_fail(struct varlink_exchange *exchange, const char *error, json_t *parameters);
/* One of several replies; only for a call with `more`. False when the caller does not read: the
 * exchange is over. */
bool varlink_continue(struct varlink_exchange *exchange, json_t *parameters);

const struct varlink_peer *varlink_exchange_peer(const struct varlink_exchange *exchange);
/* The connection, borrowed. */
int varlink_exchange_socket(const struct varlink_exchange *exchange);
void varlink_exchange_set(struct varlink_exchange *exchange, void *state);
