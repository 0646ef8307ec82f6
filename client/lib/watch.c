/* A watch: a connection on which the broker tells of changes, and what opens it again.
 *
 * Glossary
 *   phase   what is awaited: the end of a pause, the answer to an echo, or what Watch tells
 *   alarm   a timer among the polled descriptors: its end means that a step has something to do
 *
 * Nothing here waits but mayfly_watch_next(), in poll(): a step does what can be done at once. */
#include "client/lib/known_deliveries.h"
#include "client/lib/socket_path.h"
#include "client/lib/wire/call.h"
#include "client/lib/wire/cleanup.h"
#include "client/lib/wire/failure.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#define RETRY_AFTER_MIN_MS 10
#define RETRY_AFTER_MAX_MS (3600 * 1000)
/* A broker that tells without end does not hold a caller whose time is over. */
#define STEPS_MAX	   1000

enum phase { PHASE_PAUSED = 0, PHASE_ECHOING, PHASE_WATCHING };

struct mayfly_watch {
	char *path;
	pid_t owner;
	int polled; /* an epoll instance: the alarm, and the connection while there is one */
	int alarm;
	struct connection connection;
	enum phase phase;
	struct deadline pause_end; /* of PHASE_PAUSED */
	unsigned failed_tries;	   /* in a row, since something came */
	bool was_echoed;	   /* on this connection */
	bool is_told_all;	   /* the broker has told of everything that is present */
	struct known_deliveries known;
	struct mayfly_failure failure; /* why it is not connected */
};

/* What a step came to. */
enum outcome {
	WAIT,  /* nothing can be done before a descriptor is readable */
	GO_ON, /* something was done */
	EVENT, /* there is an event for the caller */
	FAIL,  /* the caller is to be told of watch->failure */
};

struct told {
	enum mayfly_event event;
	struct mayfly_delivery *delivery;
};

/* Makes the alarm go off in DELAY_MS; 0: as soon as somebody polls. */
static void set_alarm(struct mayfly_watch *watch, int delay_ms)
{
	const struct itimerspec when = { .it_value = { .tv_sec = delay_ms / 1000,
						 .tv_nsec = delay_ms % 1000 * 1000000 + 1 } };

	/* Cannot fail for a timer of ours and a time in range. */
	(void)timerfd_settime(watch->alarm, 0, &when, NULL);
}

static void stop_alarm(struct mayfly_watch *watch)
{
	static const struct itimerspec never;

	(void)timerfd_settime(watch->alarm, 0, &never, NULL); /* As above. */
}

static void pause_for(struct mayfly_watch *watch, int delay_ms)
{
	watch->phase = PHASE_PAUSED;
	watch->pause_end = deadline_in(delay_ms);
	set_alarm(watch, delay_ms);
}

/* Ends the connection; the next try comes after a pause. */
static void disconnect(struct mayfly_watch *watch)
{
	/* A child that was forked meanwhile has a copy, and closing ours would leave it polled. */
	if (watch->connection.fd >= 0)
		(void)epoll_ctl(watch->polled, EPOLL_CTL_DEL, watch->connection.fd, NULL);
	connection_close(&watch->connection);
	pause_for(watch, backoff_ms(watch->failed_tries++));
}

static enum outcome disconnect_and_fail(struct mayfly_watch *watch)
{
	disconnect(watch);
	return FAIL;
}

/* Sends MESSAGE, which fits into the socket's empty buffer. */
static enum outcome send_message(
	struct mayfly_watch *watch, const struct text_buffer *message, enum phase next)
{
	const struct deadline at_once = deadline_in(0);
	int r;

	if (message->is_failed) {
		(void)failure_no_memory(&watch->failure);
		return disconnect_and_fail(watch);
	}
	r = connection_send(&watch->connection, message->bytes, message->length, &at_once);
	/* Who closes at once may have said why: that is read next. */
	if (r < 0 && r != -EPIPE) {
		(void)failure_errno(&watch->failure, MAYFLY_NOT_REACHABLE, -r, "Watch");
		disconnect(watch);
		return GO_ON;
	}
	watch->phase = next;
	return GO_ON;
}

static enum outcome send_watch(struct mayfly_watch *watch)
{
	MAYFLY_CLEANUP(text_buffer_done) struct text_buffer message = { 0 };

	call_write(&message, "Watch", "{}", true);
	known_deliveries_begin(&watch->known);
	watch->is_told_all = false;
	return send_message(watch, &message, PHASE_WATCHING);
}

static enum outcome send_echo(struct mayfly_watch *watch, const struct reply *reply)
{
	MAYFLY_CLEANUP(text_buffer_done) struct text_buffer message = { 0 };

	if (watch->was_echoed) {
		(void)reply_failure(reply, "Watch", &watch->failure);
		return disconnect_and_fail(watch);
	}
	watch->was_echoed = true;
	if (call_write_echo(&message, reply, &watch->failure) != MAYFLY_OK)
		return disconnect_and_fail(watch);
	return send_message(watch, &message, PHASE_ECHOING);
}

static enum outcome try_to_connect(struct mayfly_watch *watch)
{
	struct epoll_event event = { .events = EPOLLIN };
	const int r = connection_open(&watch->connection, watch->path);

	if (r < 0) {
		const bool may_come_back = connection_may_come_back(r, watch->path);

		(void)call_unreachable(r, watch->path, &watch->failure);
		disconnect(watch);
		return may_come_back ? GO_ON : FAIL;
	}
	if (epoll_ctl(watch->polled, EPOLL_CTL_ADD, watch->connection.fd, &event) != 0) {
		(void)failure_errno(&watch->failure, MAYFLY_FAILED, errno, "poll a connection");
		return disconnect_and_fail(watch);
	}
	watch->was_echoed = false;
	return send_watch(watch);
}

/* The pause may be over. */
static enum outcome end_pause(struct mayfly_watch *watch)
{
	if (!deadline_is_over(&watch->pause_end))
		return WAIT;
	stop_alarm(watch);
	return try_to_connect(watch);
}

static enum outcome on_error(struct mayfly_watch *watch, const struct reply *reply)
{
	int wait_ms;

	if (reply_is_error(reply, "EchoRequired"))
		return send_echo(watch, reply);
	switch (reply_failure(reply, "Watch", &watch->failure)) {
	case MAYFLY_TOO_MUCH:
		break;
	case MAYFLY_NOT_YET:
		/* A broker that is being started: as good as none. */
		disconnect(watch);
		return GO_ON;
	default:
		return disconnect_and_fail(watch);
	}
	wait_ms = watch->failure.retry_after_ms < RETRY_AFTER_MAX_MS
			  ? (int)watch->failure.retry_after_ms
			  : RETRY_AFTER_MAX_MS;
	disconnect(watch);
	pause_for(watch, wait_ms > RETRY_AFTER_MIN_MS ? wait_ms : RETRY_AFTER_MIN_MS);
	return GO_ON;
}

static enum mayfly_event event_of(const char *name)
{
	static const struct {
		const char *name;
		enum mayfly_event event;
	} events[] = {
		{ "present", MAYFLY_EVENT_PRESENT },
		{ "rotated", MAYFLY_EVENT_ROTATED },
		{ "expiring", MAYFLY_EVENT_EXPIRING },
		{ "ended", MAYFLY_EVENT_ENDED },
	};

	for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
		if (strcmp(events[i].name, name) == 0)
			return events[i].event;
	return MAYFLY_EVENT_NONE;
}

/* What Watch tells. */
static enum outcome on_event(struct mayfly_watch *watch, struct reply *reply, struct told *ret_told)
{
	MAYFLY_CLEANUP(delivery_free_p) struct mayfly_delivery *delivery = NULL;
	const char *name = reply_text(reply, "event");
	enum mayfly_event event;

	if (!name) {
		(void)reply_lacks("Watch", "event", &watch->failure);
		return disconnect_and_fail(watch);
	}
	if (strcmp(name, "synchronised") == 0)
		watch->is_told_all = true;
	event = event_of(name);
	/* One that a newer broker knows is none of ours. */
	if (event == MAYFLY_EVENT_NONE)
		return GO_ON;
	if (delivery_read(reply, "Watch", &delivery, &watch->failure) != MAYFLY_OK)
		return disconnect_and_fail(watch);
	event = known_deliveries_note(&watch->known, event, delivery);
	if (event == MAYFLY_EVENT_NONE)
		return GO_ON;
	*ret_told = (struct told){ event, delivery };
	delivery = NULL;
	return EVENT;
}

static enum outcome on_reply(struct mayfly_watch *watch, struct reply *reply, struct told *ret_told)
{
	const bool is_last = !reply->is_continued;
	enum outcome outcome;

	if (reply->error)
		return on_error(watch, reply);
	if (watch->phase == PHASE_ECHOING)
		return send_watch(watch);
	outcome = on_event(watch, reply, ret_told);
	/* A broker that tells no more is asked again. */
	if (is_last && outcome != FAIL)
		disconnect(watch);
	return outcome;
}

static enum outcome on_broken(struct mayfly_watch *watch, int error)
{
	if (error == -EMSGSIZE)
		(void)failure_set(
			&watch->failure, MAYFLY_BAD_REPLY, "Watch: the broker's reply has no end");
	else if (error == -ENOMEM)
		(void)failure_no_memory(&watch->failure);
	else
		(void)failure_errno(&watch->failure, MAYFLY_NOT_REACHABLE, -error,
			"Watch: the broker has ended the connection");
	disconnect(watch);
	return error == -EMSGSIZE || error == -ENOMEM ? FAIL : GO_ON;
}

static enum outcome receive(struct mayfly_watch *watch, struct told *ret_told)
{
	const struct deadline at_once = deadline_in(0);
	MAYFLY_CLEANUP(reply_done) struct reply reply = { 0 };
	char *text;
	size_t length;
	const int r = connection_receive(&watch->connection, &at_once, &text, &length);

	if (r == -ETIMEDOUT)
		return WAIT;
	if (r < 0)
		return on_broken(watch, r);
	if (reply_read(text, length, &reply, &watch->failure) != MAYFLY_OK)
		return disconnect_and_fail(watch);
	if (!reply.error)
		watch->failed_tries = 0;
	return on_reply(watch, &reply, ret_told);
}

/* Does one thing that can be done at once. */
static enum outcome step(struct mayfly_watch *watch, struct told *ret_told)
{
	struct mayfly_delivery *ended;

	if (watch->is_told_all && (ended = known_deliveries_take_ended(&watch->known))) {
		*ret_told = (struct told){ MAYFLY_EVENT_ENDED, ended };
		return EVENT;
	}
	return watch->phase == PHASE_PAUSED ? end_pause(watch) : receive(watch, ret_told);
}

/* Events that are left must keep the descriptor readable: what is in our buffer no poll() sees. */
static void keep_readable(struct mayfly_watch *watch)
{
	if (watch->phase != PHASE_PAUSED)
		set_alarm(watch, 0);
}

static void poll_until(const struct mayfly_watch *watch, const struct deadline *deadline)
{
	struct pollfd polled = { .fd = watch->polled, .events = POLLIN };

	/* Whatever it returns, the next step finds out what there is to do. */
	(void)poll(&polled, 1, deadline_left_ms(deadline));
}

/* The time is over and nothing has happened. */
static enum mayfly_status nothing_happened(
	const struct mayfly_watch *watch, struct mayfly_failure *failure)
{
	if (watch->phase != PHASE_PAUSED)
		return failure_set(failure, MAYFLY_TIMED_OUT, "Watch: nothing has changed");
	return failure_pass(failure, &watch->failure);
}

enum mayfly_status mayfly_watch_next(struct mayfly_watch *watch, int timeout_ms,
	enum mayfly_event *ret_event, struct mayfly_delivery **ret_delivery,
	struct mayfly_failure *failure)
{
	const struct deadline deadline = deadline_in(timeout_ms);
	unsigned steps = 0;
	struct told told = { 0 };

	if (watch->owner != getpid())
		return failure_set(failure, MAYFLY_INVALID_ARGUMENT,
			"a watch belongs to the process that has opened it");
	if (watch->phase != PHASE_PAUSED)
		stop_alarm(watch);
	for (;;) {
		switch (step(watch, &told)) {
		case EVENT:
			keep_readable(watch);
			*ret_event = told.event;
			*ret_delivery = told.delivery;
			return MAYFLY_OK;
		case FAIL:
			return failure_pass(failure, &watch->failure);
		case WAIT:
			if (deadline_is_over(&deadline))
				return nothing_happened(watch, failure);
			poll_until(watch, &deadline);
			break;
		case GO_ON:
			if (++steps < STEPS_MAX || !deadline_is_over(&deadline))
				break;
			keep_readable(watch);
			return nothing_happened(watch, failure);
		}
	}
}

static enum mayfly_status open_descriptors(
	struct mayfly_watch *watch, struct mayfly_failure *failure)
{
	struct epoll_event event = { .events = EPOLLIN };

	watch->polled = epoll_create1(EPOLL_CLOEXEC);
	watch->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (watch->polled < 0 || watch->alarm < 0 ||
		epoll_ctl(watch->polled, EPOLL_CTL_ADD, watch->alarm, &event) != 0)
		return failure_errno(failure, MAYFLY_FAILED, errno, "make a watch's descriptors");
	return MAYFLY_OK;
}

enum mayfly_status mayfly_watch_open(
	const char *socket_path, struct mayfly_watch **ret_watch, struct mayfly_failure *failure)
{
	struct mayfly_watch *watch = calloc(1, sizeof *watch);
	enum mayfly_status status;

	if (!watch)
		return failure_no_memory(failure);
	watch->owner = getpid();
	watch->polled = watch->alarm = -1;
	watch->connection = (struct connection)CONNECTION_CLOSED;
	status = socket_path_settle(socket_path, &watch->path, failure);
	if (status == MAYFLY_OK)
		status = open_descriptors(watch, failure);
	if (status != MAYFLY_OK) {
		mayfly_watch_close(watch);
		return status;
	}
	(void)failure_set(&watch->failure, MAYFLY_NOT_REACHABLE, "Watch: not connected yet");
	pause_for(watch, 0);
	*ret_watch = watch;
	return MAYFLY_OK;
}

int mayfly_watch_descriptor(const struct mayfly_watch *watch)
{
	return watch->polled;
}

void mayfly_watch_close(struct mayfly_watch *watch)
{
	if (!watch)
		return;
	connection_close(&watch->connection);
	fd_close_p(&watch->alarm);
	fd_close_p(&watch->polled);
	known_deliveries_done(&watch->known);
	free(watch->path);
	free(watch);
}
