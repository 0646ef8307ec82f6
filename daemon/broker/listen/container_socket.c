#include "daemon/broker/listen/container_connection.h"

#include "container_interface_generated.h"
#include "daemon/broker/lease/lease_index.h"
#include "daemon/broker/wire/peer_process.h"
#include "proto/cleanup.h"
#include "proto/fd_passing.h"
#include "proto/log.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS_MAX	  12000
#define UNREAD_MAX_BYTES  (128 * 1024)
#define TICK_MS		  5
/* Every file of a delivery by its name. What may come in is parsed before anybody is asked who it
 * is: less than an operator may send. */
#define MESSAGE_MAX_BYTES (40 * 1024)

struct fair_limits container_limits(const struct container_socket *socket)
{
	const struct config_container_socket *limits = &socket->broker->config->container_socket;

	return (struct fair_limits){ .connections = limits->connections,
		.requests_per_second = limits->requests_per_second,
		.waits = limits->waits };
}

int container_peer(const struct container_connection *connection)
{
	bool is_proved;
	pid_t pid;

	if (connection->pidfd >= 0) {
		const int copy = fcntl(connection->pidfd, F_DUPFD_CLOEXEC, 0);

		return copy < 0 ? -errno : copy;
	}
	return peer_process_open(varlink_exchange_socket(connection->exchange), &pid, &is_proved);
}

/* --- the end of a call --- */

void container_forget_call(struct container_connection *connection)
{
	if (connection->attestation)
		attestation_abandon(ptr_take(&connection->attestation));
	if (connection->request)
		container_request_abandon(ptr_take(&connection->request));
	if (connection->is_counted)
		fair_share_wait_over(connection->share);
	if (connection->is_delayed)
		TAILQ_REMOVE(&connection->socket->delayed, connection, delayed);
	if (connection->is_in_turn)
		TAILQ_REMOVE(&connection->socket->in_turn, connection, delayed);
	if (connection->is_watching)
		TAILQ_REMOVE(&connection->socket->watching, connection, watching);
	connection->is_counted = connection->is_delayed = connection->is_in_turn =
		connection->is_watching = false;
	free(connection->called);
	connection->called = NULL;
	json_decref(connection->parameters);
	connection->parameters = NULL;
	connection->method = NULL;
}

void container_reply(struct container_connection *connection, json_t *parameters)
{
	struct varlink_exchange *exchange = connection->exchange;

	container_forget_call(connection);
	varlink_reply(exchange, parameters);
}

static void forget_memory(struct container_memory *memory)
{
	json_decref(memory->parameters);
	free(memory->text);
	*memory = (struct container_memory){ 0 };
}

void container_reply_remembered(
	struct container_connection *connection, json_t *parameters, const struct lease *lease)
{
	struct container_memory *memory = &connection->memory;
	struct varlink_exchange *exchange = connection->exchange;

	forget_memory(memory);
	if (varlink_reply_encode(parameters, false, &memory->text, &memory->length) < 0) {
		container_reply(connection, parameters);
		return;
	}
	json_decref(parameters);
	memory->method = connection->method;
	memory->parameters = json_incref(connection->parameters);
	memory->epoch = connection->socket->broker->files_epoch;
	if (lease) {
		memcpy(memory->lease, lease->delivery.hex, sizeof memory->lease);
		memory->generation = lease->delivery.generation;
	}
	container_forget_call(connection);
	varlink_reply_text(exchange, memory->text, memory->length);
}

/* Nothing is released by it: what is remembered is what the container has. */
static bool is_remembered(const struct container_connection *connection)
{
	const struct container_memory *memory = &connection->memory;
	struct broker *broker = connection->socket->broker;
	const struct lease *lease;

	if (memory->method != connection->method || memory->epoch != broker->files_epoch ||
		!json_equal(memory->parameters, connection->parameters))
		return false;
	if (!memory->lease[0])
		return true;
	lease = lease_find(&broker->leases, memory->lease);
	return lease && lease_is_released(lease) && !lease->change &&
	       lease->delivery.generation == memory->generation;
}

void container_fail_with(
	struct container_connection *connection, const char *error, json_t *parameters)
{
	struct varlink_exchange *exchange = connection->exchange;

	container_forget_call(connection);
	varlink_fail(exchange, error, parameters);
}

void container_fail(struct container_connection *connection, const char *error, const char *text)
{
	container_fail_with(connection, error, json_pack("{s:s}", "text", text));
}

void container_refuse(struct container_connection *connection, const char *why)
{
	struct broker *broker = connection->socket->broker;
	char reason[320], more[64] = "";
	unsigned unrecorded;

	if (fair_share_record(connection->share, uv_now(broker->loop), &unrecorded)) {
		if (unrecorded > 0)
			(void)snprintf(
				more, sizeof more, " (%u before it are not recorded)", unrecorded);
		(void)snprintf(reason, sizeof reason,
			"a call of process %d at the container socket refused: %s%s",
			connection->pid, why, more);
		log_warning("%s", reason);
		broker_audit(broker, json_pack("{s:s, s:s, s:s}", "action", "call", "decision",
					     "refused", "reason", reason));
	}
	container_fail(connection, CONTAINER_ERROR("NotAttested"), why);
}

bool container_count_wait(struct container_connection *connection)
{
	const struct fair_limits limits = container_limits(connection->socket);

	if (connection->is_counted)
		return true;
	if (!fair_share_wait(connection->share, &limits)) {
		container_fail_with(connection, CONTAINER_ERROR("TooMuch"),
			json_pack("{s:s, s:i}", "limit", "waits", "retry_after_ms", 1000));
		return false;
	}
	connection->is_counted = true;
	return true;
}

/* --- a call --- */

static void on_attested(void *data, int status, struct attested *attested, const char *why)
{
	struct container_connection *connection = data;

	connection->attestation = NULL;
	if (status == 0) {
		connection->who = malloc(sizeof *connection->who);
		status = connection->who ? 0 : -EAGAIN;
		why = "out of memory";
	}
	if (status == 0) {
		*connection->who = *attested;
		*attested = (struct attested){ .init.pidfd = -1 };
		connection->method->run(connection);
	} else if (status == -EAGAIN) {
		container_fail(connection, CONTAINER_ERROR("NotYet"), why);
	} else {
		container_refuse(connection, why);
	}
}

static void attest(struct container_connection *connection)
{
	AUTO_FD peer = container_peer(connection);
	const int r = peer < 0
			      ? peer
			      : attestation_start(connection->socket->broker, peer, connection->pid,
					on_attested, connection, &connection->attestation);

	if (r < 0)
		container_refuse(connection, "the process that has connected has ended");
}

static void reply_again(struct container_connection *connection)
{
	struct varlink_exchange *exchange = connection->exchange;

	container_forget_call(connection);
	varlink_reply_text(exchange, connection->memory.text, connection->memory.length);
}

static void run(struct container_connection *connection)
{
	if (connection->method->is_for_anybody)
		connection->method->run(connection);
	else if (!connection->socket->broker->is_adopted)
		container_fail(connection, CONTAINER_ERROR("NotYet"), "Mayfly is being started");
	else if (!connection->who)
		attest(connection);
	else if (is_remembered(connection))
		reply_again(connection);
	else
		connection->method->run(connection);
}

/* --- whose turn it is --- */

static void on_hurry(uv_idle_t *hurry)
{
	/* That there is one keeps the loop from waiting. */
	(void)hurry;
}

/* At once, unless its container has been answered in this turn of the loop already: then in the
 * next one, beside what others have asked meanwhile. */
static void run_in_turn(struct container_connection *connection)
{
	struct container_socket *socket = connection->socket;

	if (TAILQ_EMPTY(&socket->in_turn) && fair_share_turn(connection->share, socket->turn)) {
		run(connection);
		return;
	}
	connection->is_in_turn = true;
	TAILQ_INSERT_TAIL(&socket->in_turn, connection, delayed);
	if (!socket->handles.is_ending)
		(void)uv_idle_start(&socket->hurry, on_hurry);
}

/* After all that has arrived in this turn was looked at: the others, each at most once. */
static void on_turn(uv_check_t *turns)
{
	struct container_socket *socket = container_of(turns, struct container_socket, turns);
	struct container_connection *connection;
	size_t count = 0;

	socket->turn++;
	TAILQ_FOREACH(connection, &socket->in_turn, delayed)
	count++;
	while (count-- > 0 && (connection = TAILQ_FIRST(&socket->in_turn))) {
		TAILQ_REMOVE(&socket->in_turn, connection, delayed);
		if (!fair_share_turn(connection->share, socket->turn)) {
			TAILQ_INSERT_TAIL(&socket->in_turn, connection, delayed);
			continue;
		}
		connection->is_in_turn = false;
		run(connection);
	}
	if (TAILQ_EMPTY(&socket->in_turn))
		(void)uv_idle_stop(&socket->hurry);
}

/* Those whose time has come, each at most once. */
static void on_tick(struct deadline *deadline)
{
	struct container_socket *socket = container_of(deadline, struct container_socket, tick);
	const uint64_t now = uv_now(socket->broker->loop);
	struct container_connection *connection;
	size_t count = 0;

	TAILQ_FOREACH(connection, &socket->delayed, delayed)
	count++;
	while (count-- > 0 && (connection = TAILQ_FIRST(&socket->delayed))) {
		TAILQ_REMOVE(&socket->delayed, connection, delayed);
		if (connection->not_before_ms > now) {
			TAILQ_INSERT_TAIL(&socket->delayed, connection, delayed);
			continue;
		}
		connection->is_delayed = false;
		run_in_turn(connection);
	}
	if (!TAILQ_EMPTY(&socket->delayed))
		deadline_arm(&socket->tick, TICK_MS);
}

/* Who asks faster than its share is answered slower: it is not refused, and costs nobody else. */
static void run_in_time(struct container_connection *connection)
{
	struct container_socket *socket = connection->socket;
	const struct fair_limits limits = container_limits(socket);
	const uint64_t now = uv_now(socket->broker->loop);
	const uint64_t wait_ms = fair_share_take(connection->share, &limits, now);

	if (wait_ms == 0) {
		run_in_turn(connection);
		return;
	}
	connection->not_before_ms = now + wait_ms;
	connection->is_delayed = true;
	TAILQ_INSERT_TAIL(&socket->delayed, connection, delayed);
	if (!deadline_is_armed(&socket->tick))
		deadline_arm(&socket->tick, TICK_MS);
}

/* --- what anybody may call: it costs as much as anything else --- */

static void on_service(struct container_connection *connection)
{
	struct varlink_exchange *exchange = connection->exchange;
	AUTO_FREE char *called = ptr_take(&connection->called);
	json_t *parameters = ptr_take(&connection->parameters);
	const struct varlink_call call = { .method = called, .parameters = parameters };

	container_forget_call(connection);
	varlink_answer_service(exchange, &call, CONTAINER_INTERFACE, container_interface);
	json_decref(parameters);
}

static void on_foreign(struct container_connection *connection)
{
	container_refuse(connection,
		"this connection is used by another process than the one that has connected");
}

static void on_unknown(struct container_connection *connection)
{
	container_fail_with(connection, VARLINK_ERROR_METHOD_NOT_FOUND,
		json_pack("{s:s}", "method", connection->called));
}

static void want_echo(struct container_connection *connection)
{
	container_fail_with(connection, CONTAINER_ERROR("EchoRequired"),
		json_pack("{s:s}", "nonce", connection->nonce));
}

/* The kernel has stamped this message with the pid that has connected, whose process still lives: the
 * number cannot have been another's in between. */
static void on_echo(struct container_connection *connection)
{
	const char *nonce = json_string_value(json_object_get(connection->parameters, "nonce"));

	if (connection->nonce[0] && nonce && strcmp(nonce, connection->nonce) == 0)
		connection->nonce[0] = '\0';
	if (connection->nonce[0])
		want_echo(connection);
	else
		container_reply(connection, NULL);
}

static const struct container_method *find_method(
	const struct container_connection *connection, const char *called)
{
	static const struct container_method
		service = { .name = "", .run = on_service, .is_for_anybody = true },
		foreign = { .name = "", .run = on_foreign, .is_for_anybody = true },
		unknown = { .name = "", .run = on_unknown, .is_for_anybody = true },
		echo_first = { .name = "", .run = want_echo, .is_for_anybody = true },
		echo = { .name = "Echo", .run = on_echo, .is_for_anybody = true };
	const size_t prefix = sizeof CONTAINER_INTERFACE; /* with the dot in place of the NUL */
	const struct container_method *found;

	if (strncmp(called, CONTAINER_INTERFACE ".", prefix) != 0)
		return &service;
	if (varlink_exchange_is_foreign(connection->exchange))
		return &foreign;
	if (strcmp(called + prefix, echo.name) == 0)
		return &echo;
	if (connection->nonce[0])
		return &echo_first;
	found = container_method_find(called + prefix);
	return found ? found : &unknown;
}

static void on_call(struct varlink_exchange *exchange, struct varlink_call *call,
	struct fd_set_passed *fds, void *data)
{
	struct container_connection *connection = varlink_connection_get(exchange);
	const char *wrong;

	(void)fds;
	(void)data;
	connection->called = strdup(call->method);
	if (!connection->called) {
		varlink_fail(exchange, CONTAINER_ERROR("Failed"),
			json_pack("{s:s}", "text", "out of memory"));
		return;
	}
	connection->method = find_method(connection, call->method);
	wrong = connection->method->is_for_anybody
			? NULL
			: container_parameter_wrong(connection->method, call->parameters);
	if (wrong) {
		container_forget_call(connection);
		varlink_fail(exchange, VARLINK_ERROR_INVALID_PARAMETER,
			json_pack("{s:s}", "parameter", wrong));
		return;
	}
	connection->parameters = json_incref(call->parameters);
	connection->wants_more = call->more;
	varlink_exchange_set(exchange, connection);
	run_in_time(connection);
}

static void on_gone(struct varlink_exchange *exchange, void *state, void *data)
{
	(void)exchange;
	(void)data;
	container_forget_call(state);
}

/* --- a connection --- */

/* The numbers of the process that has connected; before 6.5 its descriptor is held, and it must prove
 * that it is still that one. */
static int note_peer(struct container_connection *connection, int *ret_pidfd)
{
	const int socket = varlink_exchange_socket(connection->exchange);
	unsigned char nonce[(NONCE_HEX_SIZE - 1) / 2];
	bool is_proved;
	AUTO_FD pidfd = peer_process_open(socket, &connection->pid, &is_proved);

	if (pidfd < 0)
		return pidfd;
	if (connection->socket->has_unique_ids)
		connection->unique_id = process_unique_id(pidfd);
	if (!is_proved) {
		randombytes_buf(nonce, sizeof nonce);
		(void)sodium_bin2hex(
			connection->nonce, sizeof connection->nonce, nonce, sizeof nonce);
		connection->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 0);
		if (connection->pidfd < 0)
			return -errno;
	}
	*ret_pidfd = fd_take(&pidfd);
	return 0;
}

static bool on_connect(struct varlink_exchange *exchange, void *data)
{
	struct container_socket *socket = data;
	struct container_connection *connection = calloc(1, sizeof *connection);
	const struct fair_limits limits = container_limits(socket);
	AUTO_FD pidfd = -1;

	if (!connection)
		return false;
	*connection = (struct container_connection){
		.socket = socket, .exchange = exchange, .pidfd = -1
	};
	varlink_connection_set(exchange, connection);
	if (note_peer(connection, &pidfd) < 0)
		return false;
	connection->share = fair_share_join(socket->shares,
		peer_share_key(socket->broker, pidfd, connection->pid,
			varlink_exchange_peer(exchange)->uid),
		&limits, uv_now(socket->broker->loop));
	return connection->share != NULL;
}

static void on_disconnect(struct varlink_exchange *exchange, void *data)
{
	struct container_connection *connection = varlink_connection_get(exchange);
	struct container_socket *socket = data;

	if (!connection)
		return;
	container_forget_call(connection);
	if (connection->share)
		fair_share_leave(socket->shares, connection->share, uv_now(socket->broker->loop));
	if (connection->who)
		attested_done(connection->who);
	free(connection->who);
	forget_memory(&connection->memory);
	fd_close_p(&connection->pidfd);
	free(connection);
}

/* By what cannot be claimed: a pidfd's own number; between 6.5 and 6.9 the pid behind it, and before
 * that the pid that the kernel stamps on the message, while the connected process lives. */
static bool is_connector(
	struct varlink_exchange *exchange, const struct message_sender *sender, void *data)
{
	const struct container_connection *connection = varlink_connection_get(exchange);
	AUTO_FD peer = -1;

	(void)data;
	if (sender->pidfd >= 0 && connection->unique_id)
		return process_unique_id(sender->pidfd) == connection->unique_id;
	if (sender->pidfd >= 0)
		return process_pid(sender->pidfd) == connection->pid &&
		       (peer = container_peer(connection)) >= 0 && process_is_alive(peer);
	return sender->pid == connection->pid && connection->pidfd >= 0 &&
	       process_is_alive(connection->pidfd);
}

static void on_empty(struct handle_group *handles)
{
	struct container_socket *socket = container_of(handles, struct container_socket, handles);

	fair_shares_free(socket->shares);
	free(socket);
}

int container_socket_serve(struct broker *broker, int fd, struct container_socket **ret_socket,
	struct mayfly_error *err)
{
	/* No call here has a use for descriptors: whoever passes some wants ours to run out. */
	static const struct varlink_limits limits = {
		.connections = CONNECTIONS_MAX,
		.unread_bytes = UNREAD_MAX_BYTES,
		.descriptors = 0,
		.message_bytes = MESSAGE_MAX_BYTES,
	};
	struct container_socket *socket = calloc(1, sizeof *socket);
	const struct varlink_handler handler = { .on_connect = on_connect,
		.on_disconnect = on_disconnect,
		.is_connector = is_connector,
		.on_call = on_call,
		.on_gone = on_gone,
		.data = socket };
	int r = -ENOMEM;

	if (socket)
		socket->shares = fair_shares_new();
	if (socket && socket->shares)
		r = varlink_server_new(broker->loop, fd, &limits, &handler, &socket->server, err);
	else
		(void)error_errno(err, r, "serve the container socket");
	if (r < 0) {
		fair_shares_free(socket ? socket->shares : NULL);
		free(socket);
		return r;
	}
	socket->broker = broker;
	socket->has_unique_ids = process_ids_are_unique();
	TAILQ_INIT(&socket->delayed);
	TAILQ_INIT(&socket->in_turn);
	TAILQ_INIT(&socket->watching);
	handle_group_init(&socket->handles, on_empty);
	deadline_init(&socket->tick, broker->loop, &socket->handles, on_tick);
	/* These cannot fail. */
	(void)uv_check_init(broker->loop, &socket->turns);
	(void)uv_idle_init(broker->loop, &socket->hurry);
	handle_group_add(&socket->handles, (uv_handle_t *)&socket->turns);
	handle_group_add(&socket->handles, (uv_handle_t *)&socket->hurry);
	(void)uv_check_start(&socket->turns, on_turn);
	*ret_socket = socket;
	return 0;
}

void container_socket_close(struct container_socket *socket)
{
	if (!handle_group_end(&socket->handles))
		return;
	varlink_server_close(socket->server);
	deadline_close(&socket->tick);
	handle_group_close((uv_handle_t *)&socket->turns);
	handle_group_close((uv_handle_t *)&socket->hurry);
	handle_group_release(&socket->handles);
}
