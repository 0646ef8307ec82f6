#include "daemon/broker/listen/docker_volume.h"

#include "daemon/broker/lease/lease_index.h"
#include "daemon/broker/request/engine_process.h"
#include "daemon/broker/request/request_flow.h"
#include "daemon/broker/wire/http_server.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct docker_volume {
	struct broker *broker;
	struct broker_engine *engine;
	struct volume_table *table;
	struct http_server *server;
};

/* One request whose answer comes later. */
struct pending {
	struct http_exchange *exchange; /* NULL: its client has gone */
	struct mount_request *mount;	/* until it has answered */
};

static void answer_ok(struct http_exchange *exchange)
{
	http_answer(exchange, 200, json_pack("{s:s}", "Err", ""));
}

static void answer_error(struct http_exchange *exchange, int status, const char *why)
{
	http_answer(exchange, status, json_pack("{s:s+}", "Err", "mayfly: ", why));
}

static struct pending *pending_new(struct http_exchange *exchange)
{
	struct pending *pending = calloc(1, sizeof *pending);

	if (!pending) {
		answer_error(exchange, 500, "out of memory");
		return NULL;
	}
	pending->exchange = exchange;
	http_exchange_set(exchange, pending);
	return pending;
}

static void on_changed(void *data, int status, const char *why)
{
	struct pending *pending = data;

	if (pending->exchange && status < 0)
		answer_error(pending->exchange, 500, why);
	else if (pending->exchange)
		answer_ok(pending->exchange);
	free(pending);
}

static void on_activate(struct docker_volume *front, struct http_exchange *exchange, json_t *body)
{
	(void)front;
	(void)body;
	http_answer(exchange, 200, json_pack("{s:[s]}", "Implements", "VolumeDriver"));
}

static void on_capabilities(
	struct docker_volume *front, struct http_exchange *exchange, json_t *body)
{
	(void)front;
	(void)body;
	http_answer(exchange, 200, json_pack("{s:{s:s}}", "Capabilities", "Scope", "local"));
}

static const char *name_of(json_t *body)
{
	const char *name = json_string_value(json_object_get(body, "Name"));

	return name ? name : "";
}

static void on_create(struct docker_volume *front, struct http_exchange *exchange, json_t *body)
{
	struct pending *pending = pending_new(exchange);
	struct mayfly_error err;
	bool is_same = false;
	int r;

	if (!pending)
		return;
	r = volume_table_define(front->table, front->engine->name, name_of(body),
		json_object_get(body, "Opts"), on_changed, pending, &is_same, &err);
	if (r == 0)
		return;
	free(pending);
	http_exchange_set(exchange, NULL);
	if (r == -EEXIST && is_same)
		answer_ok(exchange);
	else
		answer_error(exchange, 500, err.text);
}

static void on_remove(struct docker_volume *front, struct http_exchange *exchange, json_t *body)
{
	struct pending *pending = pending_new(exchange);
	struct mayfly_error err;

	if (!pending)
		return;
	if (volume_table_remove(front->table, front->engine->name, name_of(body), on_changed,
		    pending, &err) < 0) {
		free(pending);
		http_exchange_set(exchange, NULL);
		answer_error(exchange, 500, err.text);
	}
}

/* CreatedAt must be RFC 3339: one bad character makes the whole answer undecodable, and the volume
 * lost. */
static json_t *volume_to_json(
	const struct docker_volume *front, const struct volume_definition *definition)
{
	const char *environment = front->broker->config->environment;
	const char *set = environment ? environment : "";

	return json_pack("{s:s, s:s, s:s, s:{s:s, s:s}}", "Name", definition->name, "Mountpoint",
		"", "CreatedAt", definition->created, "Status", "environment", set, "grant",
		definition->parsed.grant);
}

static struct volume_definition *find_or_answer(
	const struct docker_volume *front, struct http_exchange *exchange, json_t *body)
{
	struct volume_definition *definition =
		volume_table_find(front->table, front->engine->name, name_of(body));

	/* For a name that we do not know this must be an error: the engine asks every driver for
	 * unknown names. */
	if (!definition)
		answer_error(exchange, 500, "no such volume");
	return definition;
}

static void on_get(struct docker_volume *front, struct http_exchange *exchange, json_t *body)
{
	const struct volume_definition *definition = find_or_answer(front, exchange, body);

	if (definition)
		http_answer(exchange, 200,
			json_pack("{s:o, s:s}", "Volume", volume_to_json(front, definition), "Err",
				""));
}

static void on_list(struct docker_volume *front, struct http_exchange *exchange, json_t *body)
{
	const struct volume_definition *definition;
	json_t *volumes = json_array();

	(void)body;
	TAILQ_FOREACH(definition, &front->table->definitions, entry)
	if (strcmp(definition->engine, front->engine->name) == 0)
		(void)json_array_append_new(volumes, volume_to_json(front, definition));
	http_answer(exchange, 200, json_pack("{s:o, s:s}", "Volumes", volumes, "Err", ""));
}

static void on_path(struct docker_volume *front, struct http_exchange *exchange, json_t *body)
{
	if (find_or_answer(front, exchange, body))
		http_answer(exchange, 200, json_pack("{s:s, s:s}", "Mountpoint", "", "Err", ""));
}

static void on_mounted(void *data, const char *path, const char *why)
{
	struct pending *pending = data;

	if (path)
		http_answer(pending->exchange, 200,
			json_pack("{s:s, s:s}", "Mountpoint", path, "Err", ""));
	else
		answer_error(pending->exchange, 500, why);
	free(pending);
}

/* Which process the engine is decides in which mount namespace its host paths are. A new one is
 * noticed by its connection. */
static void note_engine_process(struct docker_volume *front, struct http_exchange *exchange)
{
	pid_t pid = 0;
	const int pidfd = http_exchange_peer(exchange, &pid);

	if (pidfd >= 0)
		engine_process_note(front->engine, pidfd, pid);
}

static void on_mount(struct docker_volume *front, struct http_exchange *exchange, json_t *body)
{
	const struct volume_definition *definition = find_or_answer(front, exchange, body);
	const char *mount_id = json_string_value(json_object_get(body, "ID"));
	struct volume_options parsed;
	struct pending *pending;
	struct mayfly_error err;

	if (!definition)
		return;
	if (volume_options_parse(definition->options, &parsed, &err) < 0) {
		answer_error(exchange, 500, err.text);
		return;
	}
	note_engine_process(front, exchange);
	pending = pending_new(exchange);
	if (pending &&
		mount_request_start(front->broker, front->engine->index, definition->name, &parsed,
			mount_id ? mount_id : "", on_mounted, pending, &pending->mount, &err) < 0) {
		free(pending);
		http_exchange_set(exchange, NULL);
		answer_error(exchange, 500, err.text);
	}
	volume_options_done(&parsed);
}

static void on_forgotten(struct lease *lease, void *data)
{
	struct pending *pending = data;

	(void)lease;
	if (pending->exchange)
		answer_ok(pending->exchange);
	free(pending);
}

static void on_unmount(struct docker_volume *front, struct http_exchange *exchange, json_t *body)
{
	const char *mount_id = json_string_value(json_object_get(body, "ID"));
	struct lease *lease = mount_id ? lease_find(&front->broker->leases, mount_id) : NULL;
	struct pending *pending;

	/* An id that is not known (any more) has nothing mounted: that is what the engine wants. */
	if (!lease) {
		answer_ok(exchange);
		return;
	}
	pending = pending_new(exchange);
	if (pending)
		lease_on_unmount(lease, on_forgotten, pending);
}

static const struct {
	const char *path;
	void (*run)(struct docker_volume *front, struct http_exchange *exchange, json_t *body);
	bool needs_body;
} endpoints[] = {
	/* Podman sends List without a body, both send Activate so. */
	{ "/Plugin.Activate", on_activate, false },
	{ "/VolumeDriver.Capabilities", on_capabilities, false },
	{ "/VolumeDriver.List", on_list, false },
	{ "/VolumeDriver.Create", on_create, true },
	{ "/VolumeDriver.Remove", on_remove, true },
	{ "/VolumeDriver.Get", on_get, true },
	{ "/VolumeDriver.Path", on_path, true },
	{ "/VolumeDriver.Mount", on_mount, true },
	{ "/VolumeDriver.Unmount", on_unmount, true },
};

static void run_endpoint(struct docker_volume *front, struct http_exchange *exchange,
	const struct http_request *request, size_t i)
{
	json_t *body =
		json_loadb(request->body, request->body_length, JSON_REJECT_DUPLICATES, NULL);

	if (endpoints[i].run == on_get && request->body_length == 0)
		/* An error would tell the engine that the volume does not exist: it would forget
		 * its driver, and the next container would get an empty volume of its own. What
		 * fails on the way tells it nothing. */
		http_hang_up(exchange);
	else if (endpoints[i].needs_body && request->body_length == 0)
		answer_error(exchange, 400, "empty request (a retry after a broken connection)");
	else if (endpoints[i].needs_body && !json_is_object(body))
		answer_error(exchange, 400, "the request's body is no JSON object");
	else if (endpoints[i].needs_body && !json_is_string(json_object_get(body, "Name")))
		answer_error(exchange, 400, "the request names no volume");
	else
		endpoints[i].run(front, exchange, body);
	json_decref(body);
}

static void on_request(
	struct http_exchange *exchange, const struct http_request *request, void *data)
{
	struct docker_volume *front = data;

	if (!broker_caller_is_of_host(front->broker, http_exchange_socket(exchange), "plugin")) {
		answer_error(exchange, 403, "only the container engine may ask");
		return;
	}
	if (strcmp(request->method, "POST") != 0) {
		answer_error(exchange, 405, "the volume plugin protocol knows POST only");
		return;
	}
	for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++)
		if (strcmp(request->path, endpoints[i].path) == 0) {
			run_endpoint(data, exchange, request, i);
			return;
		}
	answer_error(exchange, 404, "no such endpoint");
}

/* The engine has given up, or has died. No Unmount follows: what was armed is taken back. */
static void on_gone(struct http_exchange *exchange, void *data)
{
	struct pending *pending = http_exchange_get(exchange);

	(void)data;
	if (!pending)
		return;
	if (pending->mount) {
		mount_request_abandon(pending->mount);
		free(pending);
	} else {
		/* A change or an end that is under way: it tells nobody. */
		pending->exchange = NULL;
	}
}

int docker_volume_serve(struct broker *broker, struct broker_engine *engine,
	struct volume_table *table, struct docker_volume **ret_front, struct mayfly_error *err)
{
	struct docker_volume *front = calloc(1, sizeof *front);
	const struct http_handler handler = {
		.on_request = on_request, .on_gone = on_gone, .data = front
	};
	int r;

	if (!front)
		return error_errno(err, -ENOMEM, "serve a plugin socket");
	*front = (struct docker_volume){ .broker = broker, .engine = engine, .table = table };
	r = http_server_new(broker->loop, engine->plugin_socket, &handler, &front->server, err);
	if (r < 0) {
		free(front);
		return r;
	}
	*ret_front = front;
	return 0;
}

void docker_volume_close(struct docker_volume *front)
{
	http_server_close(front->server);
	free(front);
}
