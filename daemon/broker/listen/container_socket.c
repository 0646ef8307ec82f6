#include "daemon/broker/listen/container_connection.h"

#include "container_interface_generated.h"
#include "daemon/broker/lease/lease_index.h"
#include "daemon/broker/wire/peer_process.h"
#include "proto/cleanup.h"
#include "proto/fd_passing.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS_MAX	 12000
#define UNREAD_MAX_BYTES (128 * 1024)
#define TICK_MS		 5

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
	if (connection->is_watching)
		TAILQ_REMOVE(&connection->socket->watching, connection, watching);
	connection->is_counted = connection->is_delayed = connection->is_watching = false;
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
	return lease && lease->state == LEASE_RELEASED && !lease->end_reason && !lease->change &&
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
	} else {
		container_fail(connection,
			status == -EAGAIN ? CONTAINER_ERROR("NotYet")
					  : CONTAINER_ERROR("NotAttested"),
			why);
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
		container_fail(connection, CONTAINER_ERROR("NotAttested"),
			"the process that has connected has ended");
}

static void reply_again(struct container_connection *connection)
{
	struct varlink_exchange *exchange = connection->exchange;

	container_forget_call(connection);
	varlink_reply_text(exchange, connection->memory.text, connection->memory.length);
}

static void run(struct container_connection *connection)
{
	if (!connection->socket->broker->is_adopted)
		container_fail(connection, CONTAINER_ERROR("NotYet"), "Mayfly is being started");
	else if (!connection->who)
		attest(connection);
	else if (is_remembered(connection))
		reply_again(connection);
	else
		connection->method->run(connection);
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
		run(connection);
	}
	if (!TAILQ_EMPTY(&socket->delayed))
		deadline_arm(&socket->tick, TICK_MS);
}

/* Who asks faster than its share is answered slower: it is not refused, and costs nobody else. */
static void run_in_turn(struct container_connection *connection)
{
	struct container_socket *socket = connection->socket;
	const struct fair_limits limits = container_limits(socket);
	const uint64_t now = uv_now(socket->broker->loop);
	const uint64_t wait_ms = fair_share_take(connection->share, &limits, now);

	if (wait_ms == 0) {
		run(connection);
		return;
	}
	connection->not_before_ms = now + wait_ms;
	connection->is_delayed = true;
	TAILQ_INSERT_TAIL(&socket->delayed, connection, delayed);
	if (!deadline_is_armed(&socket->tick))
		deadline_arm(&socket->tick, TICK_MS);
}

/* The kernel has stamped this message with the pid that has connected, whose process still lives: the
 * number cannot have been another's in between. */
static void on_echo(struct container_connection *connection, json_t *parameters)
{
	const char *nonce = json_string_value(json_object_get(parameters, "nonce"));

	if (connection->nonce[0] && nonce && strcmp(nonce, connection->nonce) == 0)
		connection->nonce[0] = '\0';
	if (connection->nonce[0])
		varlink_fail(connection->exchange, CONTAINER_ERROR("EchoRequired"),
			json_pack("{s:s}", "nonce", connection->nonce));
	else
		varlink_reply(connection->exchange, NULL);
}

static void on_call(struct varlink_exchange *exchange, struct varlink_call *call,
	struct fd_set_passed *fds, void *data)
{
	const size_t prefix = sizeof CONTAINER_INTERFACE; /* with the dot in place of the NUL */
	struct container_connection *connection = varlink_connection_get(exchange);
	const bool is_ours = strncmp(call->method, CONTAINER_INTERFACE ".", prefix) == 0;

	(void)fds;
	(void)data;
	if (!is_ours) {
		varlink_answer_service(exchange, call, CONTAINER_INTERFACE, container_interface);
	} else if (varlink_exchange_is_foreign(exchange)) {
		varlink_fail(exchange, CONTAINER_ERROR("NotAttested"),
			json_pack("{s:s}", "text",
				"this connection is used by another process than the one that "
				"has connected"));
	} else if (strcmp(call->method + prefix, "Echo") == 0) {
		on_echo(connection, call->parameters);
	} else if (connection->nonce[0]) {
		varlink_fail(exchange, CONTAINER_ERROR("EchoRequired"),
			json_pack("{s:s}", "nonce", connection->nonce));
	} else if (!(connection->method = container_method_find(call->method + prefix))) {
		varlink_fail(exchange, VARLINK_ERROR_METHOD_NOT_FOUND,
			json_pack("{s:s}", "method", call->method));
	} else {
		connection->parameters = json_incref(call->parameters);
		connection->wants_more = call->more;
		varlink_exchange_set(exchange, connection);
		run_in_turn(connection);
	}
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
	static const struct varlink_limits limits = { .connections = CONNECTIONS_MAX,
		.unread_bytes = UNREAD_MAX_BYTES };
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
	TAILQ_INIT(&socket->watching);
	handle_group_init(&socket->handles, on_empty);
	deadline_init(&socket->tick, broker->loop, &socket->handles, on_tick);
	*ret_socket = socket;
	return 0;
}

void container_socket_close(struct container_socket *socket)
{
	if (!handle_group_end(&socket->handles))
		return;
	varlink_server_close(socket->server);
	deadline_close(&socket->tick);
	handle_group_release(&socket->handles);
}
