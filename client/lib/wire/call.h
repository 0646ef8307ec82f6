/* One call with one reply, made to work in spite of what is only for a while: a broker that is
 * started again, one that wants an echo first, one that is asked too often. All within a deadline.
 * A call may therefore be carried out twice: each of the interface is safe to repeat. */
#pragma once

#include "client/lib/wire/connection.h"
#include "client/lib/wire/reply.h"

struct call {
	const char *method; /* without the interface's name */
	/* Writes the parameters, a JSON object. LEFT_MS: of the deadline, -1 without one. */
	void (*write)(const struct call *call, int left_ms, struct text_buffer *out);
	const void *data; /* for WRITE */
	/* So long a NotYet is asked again: a broker that is being started says it to everybody,
	 * whatever wait it was asked for. NULL: until the call's own deadline. */
	const struct deadline *patience;
};

/* Makes CALL over CONNECTION, which is opened to PATH when it has to be. The caller owns
 * *RET_REPLY, which has no error, until reply_done(). Blocks until DEADLINE at most. */
enum mayfly_status call_make(struct connection *connection, const char *path,
	const struct call *call, const struct deadline *deadline, struct reply *ret_reply,
	struct mayfly_failure *failure);

/* The message of a call: PARAMETERS is JSON. */
void call_write(struct text_buffer *out, const char *method, const char *parameters, bool more);

/* The message that answers REPLY, an EchoRequired. MAYFLY_BAD_REPLY if it has no nonce. */
enum mayfly_status call_write_echo(
	struct text_buffer *out, const struct reply *reply, struct mayfly_failure *failure);

/* MAYFLY_NOT_REACHABLE or what else ERROR of connection_open() for PATH is, with advice. */
enum mayfly_status call_unreachable(int error, const char *path, struct mayfly_failure *failure);
