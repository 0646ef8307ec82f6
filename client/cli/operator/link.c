#include "client/cli/operator/link.h"

#include "client/cli/operator/reply_error.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"
#include "proto/fd_passing.h"
#include "proto/varlink.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

struct operator_link {
	int fd;
	size_t filled;
	char buffer[VARLINK_MESSAGE_MAX_BYTES];
};

static void link_close_p(struct operator_link **link)
{
	operator_link_close(*link);
	*link = NULL;
}

void operator_link_close(struct operator_link *link)
{
	if (!link)
		return;
	fd_close_p(&link->fd);
	free(link);
}

static int explain_no_connection(const char *path, int code, struct mayfly_error *err)
{
	switch (code) {
	case -EACCES:
	case -EPERM:
		return error_set(err, CLI_ERROR_UNREACHABLE,
			"you may not use the broker's socket %s\n"
			"become root, or a member of the operator group (`usermod -aG mayfly "
			"USER`)",
			path);
	case -ENOENT:
	case -ECONNREFUSED:
		return error_set(err, CLI_ERROR_UNREACHABLE,
			"no broker answers at %s\n"
			"is mayflyd running? `systemctl start mayfly`; for an instance below DIR "
			"give --root DIR",
			path);
	case -EAGAIN:
		return error_set(err, CLI_ERROR_UNREACHABLE,
			"the broker at %s is too busy to take a connection\ntry again", path);
	default:
		return error_set(err, CLI_ERROR_UNREACHABLE, "connect to the broker at %s: %s",
			path, strerror(-code));
	}
}

static int link_open(const char *root, struct operator_link **ret_link, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(link_close_p) struct operator_link *link = calloc(1, sizeof *link);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	/* A unix socket's connect(2) waits for a place in the listener's queue, no longer than
	 * this. */
	const struct timeval patience = { .tv_sec = 5 };
	const int length =
		snprintf(address.sun_path, sizeof address.sun_path, "%s" OPERATOR_SOCKET, root);

	if (!link)
		return error_errno(err, -ENOMEM, "connect to the broker");
	link->fd = -1;
	if (length < 0 || (size_t)length >= sizeof address.sun_path)
		return error_set(err, CLI_ERROR_UNREACHABLE,
			"the path %s" OPERATOR_SOCKET " is too long for a socket", root);
	link->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (link->fd < 0)
		return error_errno(err, -errno, "make a socket");
	if (setsockopt(link->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0)
		return error_errno(err, -errno, "set the socket's deadline");
	if (connect(link->fd, (struct sockaddr *)&address, sizeof address) != 0)
		return explain_no_connection(address.sun_path, -errno, err);
	*ret_link = ptr_take(&link);
	return 0;
}

static int refuse_lost(struct mayfly_error *err)
{
	return error_set(err, CLI_ERROR_UNREACHABLE,
		"the broker ended the connection before it answered\n"
		"what was asked may have been done; its log (`journalctl -u mayfly`) says why");
}

static int link_send(struct operator_link *link, const char *text, size_t length, const int *fds,
	size_t fds_count, struct mayfly_error *err)
{
	size_t sent = 0;

	while (sent < length) {
		/* The descriptors travel with the first byte. */
		const ssize_t n = fd_send(
			link->fd, text + sent, length - sent, fds, sent == 0 ? fds_count : 0);

		if (n == -EPIPE || n == -ECONNRESET)
			return refuse_lost(err);
		if (n < 0)
			return error_set(err, CLI_ERROR_UNREACHABLE, "send to the broker: %s",
				strerror((int)-n));
		sent += (size_t)n;
	}
	return 0;
}

static long long now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Waits until there is something to receive; DEADLINE_MS below 0 is never. */
static int wait_readable(
	struct operator_link *link, long long deadline_ms, struct mayfly_error *err)
{
	struct pollfd watched = { .fd = link->fd, .events = POLLIN };
	int r;

	do {
		const long long left = deadline_ms < 0 ? -1 : deadline_ms - now_ms();

		r = poll(&watched, 1, deadline_ms < 0 ? -1 : left > 0 ? (int)left : 0);
	} while (r < 0 && errno == EINTR);
	if (r < 0)
		return error_errno(err, -errno, "wait for the broker");
	if (r == 0)
		return error_set(err, CLI_ERROR_UNREACHABLE,
			"the broker is connected but does not answer\n"
			"what was asked may still be done; see `mayfly status`");
	return 0;
}

/* Receives until one whole message is at the start of the buffer; its length without NUL. */
static int receive_message(
	struct operator_link *link, int timeout_ms, size_t *ret_length, struct mayfly_error *err)
{
	const long long deadline_ms = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	ssize_t length = varlink_message_length(link->buffer, link->filled);

	while (length == -EAGAIN) {
		struct fd_set_passed unasked = { .count = 0 };
		ssize_t got;
		int r = wait_readable(link, deadline_ms, err);

		if (r < 0)
			return r;
		got = fd_receive(link->fd, link->buffer + link->filled,
			sizeof link->buffer - link->filled, &unasked);
		/* No reply of this interface carries one. */
		fd_set_passed_done(&unasked);
		if (got == 0 || got == -ECONNRESET)
			return refuse_lost(err);
		if (got < 0)
			return error_errno(err, (int)got, "receive from the broker");
		link->filled += (size_t)got;
		length = varlink_message_length(link->buffer, link->filled);
	}
	if (length < 0)
		return error_set(err, (int)length, "the broker's answer is longer than %d bytes",
			VARLINK_MESSAGE_MAX_BYTES);
	*ret_length = (size_t)length;
	return 0;
}

static void drop_message(struct operator_link *link, size_t length)
{
	link->filled -= length + 1;
	memmove(link->buffer, link->buffer + length + 1, link->filled);
}

static int receive_reply(struct operator_link *link, int timeout_ms,
	struct varlink_reply *ret_reply, struct mayfly_error *err)
{
	size_t length = 0;
	int r = receive_message(link, timeout_ms, &length, err);

	if (r < 0)
		return r;
	r = varlink_reply_parse(link->buffer, length, ret_reply, err);
	drop_message(link, length);
	if (r < 0)
		return error_within(err, "understand the broker");
	if (!ret_reply->error)
		return 0;
	r = reply_error_explain(ret_reply->error, ret_reply->parameters, err);
	varlink_reply_done(ret_reply);
	return r;
}

static int send_call(
	struct operator_link *link, const struct operator_call *call, struct mayfly_error *err)
{
	AUTO_FREE char *method = text_format("%s%s", OPERATOR_INTERFACE, call->method);
	AUTO_FREE char *text = NULL;
	size_t length = 0;
	int r;

	r = varlink_call_encode(method, call->parameters, call->on_reply != NULL, &text, &length);
	if (r == -EMSGSIZE)
		return error_set(err, r, "the request is longer than a message of %d bytes",
			VARLINK_MESSAGE_MAX_BYTES);
	if (r < 0)
		return error_errno(err, r, "make the request");
	return link_send(link, text, length, call->fds, call->fds_count, err);
}

static int receive_replies(struct operator_link *link, const struct operator_call *call,
	json_t **ret_reply, struct mayfly_error *err)
{
	const int timeout_ms = call->timeout_ms ? call->timeout_ms : OPERATOR_PROMPT_MS;
	bool go_on = true;

	while (go_on) {
		MAYFLY_CLEANUP(varlink_reply_done) struct varlink_reply reply = { 0 };
		int r = receive_reply(link, timeout_ms, &reply, err);

		if (r < 0)
			return r;
		go_on = call->on_reply && call->on_reply(reply.parameters, call->data) &&
			reply.continues;
		if (!go_on && ret_reply)
			*ret_reply = json_incref(reply.parameters);
	}
	return 0;
}

/* True when the broker has hung up on an idle connection, as it may while a person types. */
static bool is_stale(const struct operator_link *link)
{
	struct pollfd watched = { .fd = link->fd, .events = POLLIN };

	/* Nothing is expected between two calls: whatever is there is an end or nonsense. */
	return link->filled > 0 || poll(&watched, 1, 0) != 0;
}

static void link_drop(struct cli *cli)
{
	operator_link_close(cli->link);
	cli->link = NULL;
}

int operator_reach(struct cli *cli, struct mayfly_error *err)
{
	if (cli->link && is_stale(cli->link))
		link_drop(cli);
	return cli->link ? 0 : link_open(cli->root, &cli->link, err);
}

int operator_call(struct cli *cli, const struct operator_call *call, json_t **ret_reply,
	struct mayfly_error *err)
{
	int r = operator_reach(cli, err);

	if (r == 0)
		r = send_call(cli->link, call, err);
	if (r == 0)
		r = receive_replies(cli->link, call, ret_reply, err);
	if (r == CLI_ERROR_UNREACHABLE)
		/* Whatever comes next would be the answer to something else. */
		link_drop(cli);
	json_decref(call->parameters);
	return r;
}

int operator_ask(struct cli *cli, const char *method, json_t *parameters, json_t **ret_reply,
	struct mayfly_error *err)
{
	const struct operator_call call = { .method = method, .parameters = parameters };

	return operator_call(cli, &call, ret_reply, err);
}

int operator_require_no_store(struct cli *cli, const char *advice, struct mayfly_error *err)
{
	AUTO_JSON json_t *status = NULL;
	int r = operator_ask(cli, "Status", NULL, &status, err);

	if (r < 0 || strcmp(json_text(status, "state"), "uninitialised") == 0)
		return r;
	return error_set(err, -EALREADY, "there is a store already, it is %s%s",
		json_text(status, "state"), advice);
}

int operator_ask_and_print(
	struct cli *cli, const char *method, json_t *parameters, struct mayfly_error *err)
{
	json_t *reply = NULL;
	const int r = operator_ask(cli, method, parameters, &reply, err);

	return r < 0 ? r : print_json(reply);
}
