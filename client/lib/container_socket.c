/* The calls on a connection: mayfly_open() to mayfly_close(). */
#include "client/lib/delivery.h"
#include "client/lib/identity.h"
#include "client/lib/socket_path.h"
#include "client/lib/wire/call.h"
#include "client/lib/wire/cleanup.h"
#include "client/lib/wire/failure.h"
#include "client/lib/wire/utf8.h"
#include "include/mayfly/limits.h"
#include "include/mayfly/mayfly.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* The broker's own end of a wait comes before the caller's deadline by a tenth of what is left, but
 * at most by this. */
#define WAIT_MARGIN_MAX_MS 1000

struct mayfly {
	char *path;
	struct connection connection;
};

/* For the parameters of a Request. */
struct wanted_until {
	const struct mayfly_wanted *wanted;
	struct deadline wait_end;
};

const char *mayfly_version(void)
{
	return MAYFLY_VERSION;
}

enum mayfly_status socket_path_settle(
	const char *socket_path, char **ret_path, struct mayfly_failure *failure)
{
	const char *path = socket_path;
	char *copy;

	if (!path)
		path = secure_getenv("MAYFLY_SOCKET");
	if (!path)
		path = MAYFLY_SOCKET_PATH;
	if (!path[0] || strlen(path) >= sizeof((struct sockaddr_un *)0)->sun_path)
		return failure_set(failure, MAYFLY_INVALID_ARGUMENT,
			"a socket's path has 1 to %zu bytes, not %zu",
			sizeof((struct sockaddr_un *)0)->sun_path - 1, strlen(path));
	copy = strdup(path);
	if (!copy)
		return failure_no_memory(failure);
	*ret_path = copy;
	return MAYFLY_OK;
}

enum mayfly_status mayfly_open(
	const char *socket_path, struct mayfly **ret_mayfly, struct mayfly_failure *failure)
{
	struct mayfly *mayfly = calloc(1, sizeof *mayfly);
	enum mayfly_status status;

	if (!mayfly)
		return failure_no_memory(failure);
	mayfly->connection = (struct connection)CONNECTION_CLOSED;
	status = socket_path_settle(socket_path, &mayfly->path, failure);
	if (status != MAYFLY_OK) {
		mayfly_close(mayfly);
		return status;
	}
	*ret_mayfly = mayfly;
	return MAYFLY_OK;
}

void mayfly_close(struct mayfly *mayfly)
{
	if (!mayfly)
		return;
	connection_close(&mayfly->connection);
	free(mayfly->path);
	free(mayfly);
}

static void write_nothing(const struct call *call, int left_ms, struct text_buffer *out)
{
	(void)call;
	(void)left_ms;
	text_buffer_add_text(out, "{}");
}

/* How long the broker may wait when LEFT_MS of the caller's deadline are left. */
static int wait_of(const struct wanted_until *until, int left_ms)
{
	const int wait_ms = deadline_left_ms(&until->wait_end);
	const int margin_ms = left_ms / 10 < WAIT_MARGIN_MAX_MS ? left_ms / 10 : WAIT_MARGIN_MAX_MS;

	return left_ms >= 0 && wait_ms > left_ms - margin_ms ? left_ms - margin_ms : wait_ms;
}

static void write_request(const struct call *call, int left_ms, struct text_buffer *out)
{
	const struct wanted_until *until = call->data;
	const struct mayfly_wanted *wanted = until->wanted;
	const int wait_ms = wait_of(until, left_ms);
	const char *before = "";

	text_buffer_add_text(out, "{");
	if (wanted->grant) {
		text_buffer_add_text(out, "\"grant\":");
		text_buffer_add_json(out, wanted->grant);
		before = ",";
	}
	if (wanted->names) {
		text_buffer_add_text(out, before);
		text_buffer_add_text(out, "\"names\":[");
		for (size_t i = 0; wanted->names[i]; i++) {
			text_buffer_add_text(out, i ? "," : "");
			text_buffer_add_json(out, wanted->names[i]);
		}
		text_buffer_add_text(out, "]");
		before = ",";
	}
	if (wait_ms > 0) {
		text_buffer_add_text(out, before);
		text_buffer_add_text(out, "\"wait_ms\":");
		text_buffer_add_number(out, (unsigned)wait_ms);
	}
	text_buffer_add_text(out, "}");
}

static bool is_name(const char *text)
{
	const size_t length = strlen(text);

	return length > 0 && length <= MAYFLY_REFERENCE_MAX && utf8_is_valid(text, length);
}

static enum mayfly_status check_wanted(
	const struct mayfly_wanted *wanted, struct mayfly_failure *failure)
{
	size_t count = 0;

	if (wanted->grant && !is_name(wanted->grant))
		return failure_set(failure, MAYFLY_INVALID_ARGUMENT,
			"a grant's name is text of 1 to %d bytes", MAYFLY_REFERENCE_MAX);
	for (; wanted->names && wanted->names[count]; count++)
		if (!is_name(wanted->names[count]))
			return failure_set(failure, MAYFLY_INVALID_ARGUMENT,
				"a secret's name is text of 1 to %d bytes", MAYFLY_REFERENCE_MAX);
	if (count > MAYFLY_DELIVERY_MAX_FILES)
		return failure_set(failure, MAYFLY_INVALID_ARGUMENT,
			"%zu names are wanted, at most %d can be", count,
			MAYFLY_DELIVERY_MAX_FILES);
	if (wanted->wait_ms > MAYFLY_WAIT_MAX_MS)
		return failure_set(failure, MAYFLY_INVALID_ARGUMENT, "a wait of %u ms, at most %d",
			wanted->wait_ms, MAYFLY_WAIT_MAX_MS);
	return MAYFLY_OK;
}

/* Makes one call of MAYFLY. The caller owns *RET_REPLY. */
static enum mayfly_status make(struct mayfly *mayfly, const struct call *call, int timeout_ms,
	struct reply *ret_reply, struct mayfly_failure *failure)
{
	const struct deadline deadline = deadline_in(timeout_ms);

	return call_make(&mayfly->connection, mayfly->path, call, &deadline, ret_reply, failure);
}

enum mayfly_status mayfly_request(struct mayfly *mayfly, const struct mayfly_wanted *wanted,
	int timeout_ms, struct mayfly_delivery **ret_delivery, struct mayfly_failure *failure)
{
	static const struct mayfly_wanted everything;
	const struct wanted_until until = { .wanted = wanted ? wanted : &everything,
		.wait_end = deadline_in(wanted ? (int)wanted->wait_ms : 0) };
	const struct call call = { "Request", write_request, &until, &until.wait_end };
	MAYFLY_CLEANUP(reply_done) struct reply reply = { 0 };
	enum mayfly_status status = check_wanted(until.wanted, failure);

	if (status == MAYFLY_OK)
		status = make(mayfly, &call, timeout_ms, &reply, failure);
	if (status == MAYFLY_OK)
		status = delivery_read(&reply, call.method, ret_delivery, failure);
	return status;
}

static void write_release(const struct call *call, int left_ms, struct text_buffer *out)
{
	(void)left_ms;
	text_buffer_add_text(out, "{\"lease\":");
	text_buffer_add_json(out, call->data);
	text_buffer_add_text(out, "}");
}

enum mayfly_status mayfly_release(
	struct mayfly *mayfly, const char *lease, int timeout_ms, struct mayfly_failure *failure)
{
	const struct call call = { "Release", write_release, lease, NULL };
	MAYFLY_CLEANUP(reply_done) struct reply reply = { 0 };

	if (!lease || !is_name(lease))
		return failure_set(failure, MAYFLY_INVALID_ARGUMENT,
			"a lease's name is text of 1 to %d bytes", MAYFLY_REFERENCE_MAX);
	return make(mayfly, &call, timeout_ms, &reply, failure);
}

enum mayfly_status mayfly_whoami(struct mayfly *mayfly, int timeout_ms,
	struct mayfly_identity **ret_identity, struct mayfly_failure *failure)
{
	const struct call call = { "WhoAmI", write_nothing, NULL, NULL };
	MAYFLY_CLEANUP(reply_done) struct reply reply = { 0 };
	enum mayfly_status status = make(mayfly, &call, timeout_ms, &reply, failure);

	return status == MAYFLY_OK ? identity_read(&reply, ret_identity, failure) : status;
}
