/* The connection to the engine: when it answers, what it says about itself, and its events.
 *
 * Each connection: ask for the version, subscribe to events, ask what the engine is, and only then
 * tell the owner, who reads the disk and then lets the events come. So nothing falls between the
 * disk and the events; some events come that the disk already told. Events from the last one on are
 * asked for, because the engine opens the stream a moment before it subscribes us. */
#pragma once

#include "daemon/engine/api/docker_events.h"
#include "daemon/engine/api/docker_http.h"
#include "daemon/engine/facts/engine_place.h"
#include "proto/error.h"

#include <stdbool.h>
#include <sys/stat.h>
#include <uv.h>

/* What the engine says about itself. */
struct engine_info {
	char version[64];
	char api_version[DOCKER_API_VERSION_SIZE];
	char data_root[ENGINE_PATH_SIZE];
	char storage_driver[64];
	int cgroup_version; /* 0: it did not say */
	enum user_namespace user_namespace;
};

struct engine_link_owner {
	void *context;
	/* The engine answers; events are held back until engine_link_hold(link, false). */
	void (*on_connected)(void *context, const struct engine_info *info);
	/* It does not, or not any more. On every change of DETAIL. */
	void (*on_waiting)(void *context, const char *detail);
	void (*on_event)(void *context, const struct docker_event *event);
	/* Events were lost: the disk must be read again. */
	void (*on_gap)(void *context);
};

enum link_state {
	LINK_WAITING = 0, /* for the next try */
	LINK_GREETING,	  /* asked for the version */
	LINK_SUBSCRIBING, /* waits for the head of the event stream */
	LINK_ASKING,	  /* asked what the engine is */
	LINK_CONNECTED,
};

struct engine_link {
	struct docker_http *http;
	struct engine_link_owner owner;
	const char *socket_path;
	uv_timer_t timer;
	enum link_state state;
	unsigned failures;
	struct stat socket; /* as it was when the connection was made */
	struct docker_call *short_call, *stream;
	struct json_values events;
	int64_t since_ns;
	char api_version[DOCKER_API_VERSION_SIZE];
	char detail[256];
	bool is_held;
	bool is_delivering;
	bool is_paused; /* the stream waits at the engine's end */
	bool is_open;
};

/* Starts to connect, and goes on for ever. SOCKET_PATH must live as long as LINK, LINK until the
 * loop has closed its handles. Returns 0 or a negative errno. */
int engine_link_open(struct engine_link *link, uv_loop_t *loop, const char *socket_path,
	const struct engine_link_owner *owner, struct mayfly_error *err);

void engine_link_close(struct engine_link *link);

/* There is a sign of life: try now instead of later. */
void engine_link_poke(struct engine_link *link);

/* What the engine said cannot be used, for the reason DETAIL: as if it had not answered. */
void engine_link_reject(struct engine_link *link, const char *detail);

/* Held: events stay where they are, here and then at the engine's end. */
void engine_link_hold(struct engine_link *link, bool held);

bool engine_link_is_connected(const struct engine_link *link);

/* Writes PATH ("/events?...") with the negotiated version before it to BUFFER. */
void engine_link_path(const struct engine_link *link, const char *path, char *buffer, size_t size);
