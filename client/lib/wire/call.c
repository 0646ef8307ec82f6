#include "client/lib/wire/call.h"

#include "client/lib/wire/cleanup.h"
#include "client/lib/wire/failure.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>

/* Echoes in one call: one for each connection, of which a broken one may cost several. */
#define ECHOES_MAX	   8
/* A broker that says "at once" is not asked in a circle. */
#define RETRY_AFTER_MIN_MS 10
/* With less time left, a NotYet is the answer: it comes at the end of a wait, too. */
#define PATIENCE_MIN_MS	   2000

/* A call under way. */
struct attempt {
	struct connection *connection;
	const char *path;
	const struct call *call;
	const struct deadline *deadline;
	unsigned failed_tries;	/* in a row, since something came */
	unsigned early_answers; /* NotYet, in a row */
	unsigned echoes;
	struct mayfly_failure failure; /* why the last try failed */
};

enum outcome { GAVE_UP, TRY_AGAIN, GOT_REPLY };

void call_write(struct text_buffer *out, const char *method, const char *parameters, bool more)
{
	text_buffer_add_text(out, "{\"method\":\"" CONTAINER_INTERFACE ".");
	text_buffer_add_text(out, method);
	text_buffer_add_text(out, "\",\"parameters\":");
	text_buffer_add_text(out, parameters);
	text_buffer_add_text(out, more ? ",\"more\":true}" : "}");
	text_buffer_add(out, "", 1);
}

enum mayfly_status call_write_echo(
	struct text_buffer *out, const struct reply *reply, struct mayfly_failure *failure)
{
	MAYFLY_CLEANUP(text_buffer_done) struct text_buffer parameters = { 0 };
	const char *nonce = reply_text(reply, "nonce");

	if (!nonce)
		return reply_lacks("Echo", "nonce", failure);
	text_buffer_add_text(&parameters, "{\"nonce\":");
	text_buffer_add_json(&parameters, nonce);
	text_buffer_add(&parameters, "}", 2);
	if (!parameters.is_failed)
		call_write(out, "Echo", parameters.bytes, false);
	return parameters.is_failed || out->is_failed ? failure_no_memory(failure) : MAYFLY_OK;
}

enum mayfly_status call_unreachable(int error, const char *path, struct mayfly_failure *failure)
{
	if (error == -ENOMEM || error == -EMFILE || error == -ENFILE || error == -ENOBUFS)
		return failure_errno(failure, MAYFLY_FAILED, -error, "make a socket");
	(void)failure_errno(failure, MAYFLY_NOT_REACHABLE, -error, "connect to '%s'", path);
	if (error == -ENOENT && !connection_may_come_back(error, path))
		failure_advise(failure,
			"volumes: [ \"/run/mayfly/container:/run/mayfly:ro\" ] gives a container "
			"this socket");
	return MAYFLY_NOT_REACHABLE;
}

/* Waits before the next try; GAVE_UP when the deadline is over. */
static enum outcome pause_before_retry(struct attempt *a)
{
	/* What was idle may have been closed for a reason of its own: one try at once. */
	if (a->connection->was_used && a->failed_tries == 0)
		a->failed_tries = 1;
	else
		deadline_sleep(a->deadline, backoff_ms(a->failed_tries++));
	return deadline_is_over(a->deadline) ? GAVE_UP : TRY_AGAIN;
}

/* The connection broke with ERROR. */
static enum outcome on_broken(struct attempt *a, int error)
{
	const bool may_help = error == -ECONNRESET || error == -EPIPE;
	const char *method = a->call->method;
	const enum outcome outcome = may_help ? pause_before_retry(a) : GAVE_UP;

	if (error == -ETIMEDOUT)
		(void)failure_set(&a->failure, MAYFLY_TIMED_OUT,
			"%s: the broker has not answered in time", method);
	else if (error == -EMSGSIZE)
		(void)failure_set(
			&a->failure, MAYFLY_BAD_REPLY, "%s: the broker's reply has no end", method);
	else if (may_help)
		(void)failure_set(&a->failure, MAYFLY_NOT_REACHABLE,
			"%s: the broker has ended the connection", method);
	else if (error == -ENOMEM)
		(void)failure_no_memory(&a->failure);
	else
		(void)failure_errno(&a->failure, MAYFLY_FAILED, -error, "%s", method);
	/* A reply that is late would be taken for the next call's. */
	connection_close(a->connection);
	return outcome;
}

/* 0, or what connection_open() says. */
static int ensure_connected(struct attempt *a)
{
	/* What nobody has asked for is a broken protocol: not to be taken for an answer. */
	if (connection_is_open(a->connection) && !connection_has_more(a->connection))
		return 0;
	connection_close(a->connection);
	return connection_open(a->connection, a->path);
}

/* Sends MESSAGE and receives one reply, as text. 0 or a negative errno. */
static int send_and_receive(
	struct attempt *a, const struct text_buffer *message, char **ret_text, size_t *ret_length)
{
	const struct deadline at_once = deadline_in(0);
	int r = connection_send(a->connection, message->bytes, message->length, a->deadline);

	if (r != -EPIPE)
		return r < 0 ? r
			     : connection_receive(a->connection, a->deadline, ret_text, ret_length);
	/* Who closes at once may have said why. */
	r = connection_receive(a->connection, &at_once, ret_text, ret_length);
	return r < 0 ? -EPIPE : 0;
}

static enum outcome exchange(
	struct attempt *a, const struct text_buffer *message, struct reply *ret_reply)
{
	struct reply reply;
	char *text;
	size_t length;
	int r = ensure_connected(a);

	if (r < 0) {
		const enum outcome outcome =
			connection_may_come_back(r, a->path) ? pause_before_retry(a) : GAVE_UP;

		(void)call_unreachable(r, a->path, &a->failure);
		return outcome;
	}
	r = send_and_receive(a, message, &text, &length);
	if (r < 0)
		return on_broken(a, r);
	a->failed_tries = 0;
	if (reply_read(text, length, &reply, &a->failure) != MAYFLY_OK) {
		connection_close(a->connection);
		return GAVE_UP;
	}
	if (reply.is_continued) {
		(void)failure_set(&a->failure, MAYFLY_BAD_REPLY,
			"%s: the broker announces a second reply", a->call->method);
		reply_done(&reply);
		connection_close(a->connection);
		return GAVE_UP;
	}
	*ret_reply = reply;
	return GOT_REPLY;
}

/* Proves that this process lives, as REPLY asks. */
static enum outcome echo(struct attempt *a, const struct reply *reply)
{
	MAYFLY_CLEANUP(text_buffer_done) struct text_buffer message = { 0 };
	MAYFLY_CLEANUP(reply_done) struct reply echoed = { 0 };
	enum outcome outcome;

	if (a->echoes++ == ECHOES_MAX) {
		(void)reply_failure(reply, a->call->method, &a->failure);
		return GAVE_UP;
	}
	if (call_write_echo(&message, reply, &a->failure) != MAYFLY_OK)
		return GAVE_UP;
	outcome = exchange(a, &message, &echoed);
	if (outcome == GOT_REPLY && echoed.error) {
		(void)reply_failure(&echoed, "Echo", &a->failure);
		return GAVE_UP;
	}
	return outcome == GOT_REPLY ? TRY_AGAIN : outcome;
}

/* The error TooMuch: waits, if that can help. */
static enum outcome wait_for_turn(struct attempt *a)
{
	const int left_ms = deadline_left_ms(a->deadline);
	const uint32_t asked_ms = a->failure.retry_after_ms;
	const uint32_t wait_ms = asked_ms > RETRY_AFTER_MIN_MS ? asked_ms : RETRY_AFTER_MIN_MS;

	if (wait_ms > INT_MAX || (left_ms >= 0 && (int)wait_ms >= left_ms))
		return GAVE_UP;
	deadline_sleep(a->deadline, (int)wait_ms);
	return TRY_AGAIN;
}

/* The error NotYet: asks again, if that can help. */
static enum outcome wait_for_broker(struct attempt *a)
{
	const struct deadline *patience = a->call->patience ? a->call->patience : a->deadline;
	const int left_ms = deadline_left_ms(a->deadline);
	const int patience_ms = deadline_left_ms(patience);

	if ((left_ms >= 0 && left_ms < PATIENCE_MIN_MS) ||
		(patience_ms >= 0 && patience_ms < PATIENCE_MIN_MS))
		return GAVE_UP;
	deadline_sleep(a->deadline, backoff_ms(a->early_answers++));
	return TRY_AGAIN;
}

/* What the error of REPLY asks for. */
static enum outcome on_error(struct attempt *a, const struct reply *reply)
{
	if (reply_is_error(reply, "EchoRequired"))
		return echo(a, reply);
	switch (reply_failure(reply, a->call->method, &a->failure)) {
	case MAYFLY_TOO_MUCH:
		return wait_for_turn(a);
	case MAYFLY_NOT_YET:
		return wait_for_broker(a);
	default:
		return GAVE_UP;
	}
}

static enum outcome try_once(struct attempt *a, struct reply *ret_reply)
{
	MAYFLY_CLEANUP(text_buffer_done) struct text_buffer parameters = { 0 }, message = { 0 };
	MAYFLY_CLEANUP(reply_done) struct reply reply = { 0 };
	enum outcome outcome;

	a->call->write(a->call, deadline_left_ms(a->deadline), &parameters);
	text_buffer_add(&parameters, "", 1);
	if (!parameters.is_failed)
		call_write(&message, a->call->method, parameters.bytes, false);
	if (parameters.is_failed || message.is_failed) {
		(void)failure_no_memory(&a->failure);
		return GAVE_UP;
	}
	outcome = exchange(a, &message, &reply);
	if (outcome != GOT_REPLY)
		return outcome;
	if (reply.error)
		return on_error(a, &reply);
	*ret_reply = reply_take(&reply);
	return GOT_REPLY;
}

enum mayfly_status call_make(struct connection *connection, const char *path,
	const struct call *call, const struct deadline *deadline, struct reply *ret_reply,
	struct mayfly_failure *failure)
{
	struct attempt attempt = {
		.connection = connection, .path = path, .call = call, .deadline = deadline
	};
	enum outcome outcome;

	do
		outcome = try_once(&attempt, ret_reply);
	while (outcome == TRY_AGAIN);
	return outcome == GOT_REPLY ? MAYFLY_OK : failure_pass(failure, &attempt.failure);
}
