#include "daemon/engine/api/engine_link.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The newest version of the API that this was written against. */
#define API_MINOR_MAX 51

/* A booting engine takes a connection and answers when it is ready. */
#define GREETING_TIMEOUT_MS    10000
#define INFO_TIMEOUT_MS	       10000
#define STREAM_HEAD_TIMEOUT_MS 10000
#define GREETING_MAX_BYTES     4096
#define INFO_MAX_BYTES	       (1024 * 1024)

/* Is the socket still the one that we are connected to? */
#define SOCKET_CHECK_MS 1000

/* Events that wait here while they are held back; the rest waits at the engine's end. */
#define HELD_MAX_BYTES (1024 * 1024)

/* A health check's outcome by its whole name, once for each change: a filter for `health_status`
 * alone would bring every single check. */
static const char event_filter[] =
	"{\"type\":[\"container\"],\"event\":[\"create\",\"start\",\"die\",\"destroy\","
	"\"health_status: healthy\",\"health_status: unhealthy\"]}";

static void greet(struct engine_link *link);

static void on_retry(uv_timer_t *timer)
{
	greet(timer->data);
}

static uint64_t retry_delay_ms(unsigned failures)
{
	if (failures == 0)
		return 200;
	return failures <= 8 ? 500 : 2000;
}

static void cancel_calls(struct engine_link *link)
{
	if (link->short_call)
		docker_call_cancel(link->short_call);
	if (link->stream)
		docker_call_cancel(link->stream);
	link->short_call = link->stream = NULL;
	json_values_done(&link->events);
	link->is_paused = false;
}

static void wait_for_engine(struct engine_link *link, const char *detail)
{
	const bool was_connected = link->state == LINK_CONNECTED;
	const bool is_news = was_connected || strcmp(link->detail, detail) != 0;

	cancel_calls(link);
	link->state = LINK_WAITING;
	link->is_held = true;
	/* Fails for a closing timer only. */
	(void)uv_timer_start(
		&link->timer, on_retry, retry_delay_ms(was_connected ? 0 : link->failures), 0);
	link->failures++;
	if (!is_news)
		return;
	(void)snprintf(link->detail, sizeof link->detail, "%s", detail);
	link->owner.on_waiting(link->owner.context, link->detail);
}

/* Words that stay the same as long as the reason does. */
static void fail(struct engine_link *link, const struct docker_answer *answer)
{
	char detail[sizeof link->detail], quoted[128];
	const char *path =
		error_quote(quoted, sizeof quoted, link->socket_path, strlen(link->socket_path));
	struct stat status;

	if (stat(link->socket_path, &status) != 0)
		(void)snprintf(
			detail, sizeof detail, "open '%s': %s", path, strerrordesc_np(errno));
	else if (answer->error == -ECONNREFUSED)
		(void)snprintf(detail, sizeof detail, "nobody listens at '%s'", path);
	else if (answer->error == -ETIMEDOUT)
		(void)snprintf(detail, sizeof detail, "no answer yet at '%s'", path);
	else if (answer->error < 0)
		(void)snprintf(detail, sizeof detail, "'%s': the connection ended", path);
	else
		(void)snprintf(detail, sizeof detail, "'%s': the engine answered with status %ld",
			path, answer->status);
	wait_for_engine(link, detail);
}

static void check_socket(uv_timer_t *timer)
{
	struct engine_link *link = timer->data;
	struct stat status;

	/* It paused for want of memory. */
	if (link->is_paused && !link->is_held)
		engine_link_hold(link, false);
	/* A socket that is gone belongs to an engine that serves on, or that will be back. */
	if (stat(link->socket_path, &status) != 0)
		return;
	if (status.st_dev != link->socket.st_dev || status.st_ino != link->socket.st_ino)
		wait_for_engine(link, "another engine listens at the socket");
}

/* Returns 0 when there is nothing to deliver, 1 after an event, -ENODATA after one that was lost.
 */
static int deliver_one(struct engine_link *link)
{
	struct docker_event event;
	const char *bytes;
	size_t length;
	int r = json_values_next(&link->events, &bytes, &length);

	if (r == 0)
		return 0;
	if (r == -EBADMSG) {
		wait_for_engine(link, "the engine's event stream is no JSON");
		return 0;
	}
	if (r == 1)
		r = docker_event_decode(bytes, length, &event);
	if (r == -ENOENT)
		return 1;
	if (r < 0)
		return -ENODATA;
	link->since_ns = event.time_ns + 1;
	link->owner.on_event(link->owner.context, &event);
	return 1;
}

/* The owner may hold and let go of the events from within its callbacks: the loop here goes on. */
static void deliver_events(struct engine_link *link)
{
	bool is_gap = false;
	int r = 1;

	if (link->is_delivering)
		return;
	link->is_delivering = true;
	while (r != 0 && link->state == LINK_CONNECTED && !link->is_held) {
		r = deliver_one(link);
		is_gap |= r == -ENODATA;
	}
	link->is_delivering = false;
	if (is_gap)
		link->owner.on_gap(link->owner.context);
}

void engine_link_hold(struct engine_link *link, bool held)
{
	link->is_held = held;
	if (held || link->state != LINK_CONNECTED)
		return;
	deliver_events(link);
	if (link->is_held || !link->is_paused || !link->stream)
		return;
	link->is_paused = false;
	docker_call_resume(link->stream);
	/* The engine drops events for a reader that does not read. */
	link->owner.on_gap(link->owner.context);
}

static void copy_text(json_t *json, const char *key, char *buffer, size_t size)
{
	const char *text = json_string_value(json_object_get(json, key));

	(void)snprintf(buffer, size, "%s", text ? text : "");
}

static enum user_namespace user_namespace_of(json_t *options)
{
	json_t *option;
	size_t i;

	json_array_foreach (options, i, option) {
		const char *text = json_string_value(option);

		if (text && strncmp(text, "name=userns", 11) == 0)
			return USER_NAMESPACE_REMAPPED;
	}
	return USER_NAMESPACE_HOST;
}

static int cgroup_version_of(json_t *info)
{
	const char *text = json_string_value(json_object_get(info, "CgroupVersion"));

	if (!text)
		return 0;
	return strcmp(text, "2") == 0 ? 2 : 1;
}

static bool read_info(const struct engine_link *link, const struct docker_answer *answer,
	struct engine_info *ret_info)
{
	json_t *json = json_loadb(answer->body, answer->length, 0, NULL);
	json_t *root = json_object_get(json, "DockerRootDir");
	struct engine_info info = { 0 };
	const bool is_usable = json_is_string(root) && json_string_value(root)[0] == '/' &&
			       json_string_length(root) < sizeof info.data_root;

	if (is_usable) {
		copy_text(json, "DockerRootDir", info.data_root, sizeof info.data_root);
		copy_text(json, "ServerVersion", info.version, sizeof info.version);
		copy_text(json, "Driver", info.storage_driver, sizeof info.storage_driver);
		memcpy(info.api_version, link->api_version, sizeof info.api_version);
		info.cgroup_version = cgroup_version_of(json);
		info.user_namespace = user_namespace_of(json_object_get(json, "SecurityOptions"));
		*ret_info = info;
	}
	json_decref(json);
	return is_usable;
}

static void on_info(void *context, const struct docker_answer *answer)
{
	struct engine_link *link = context;
	struct engine_info info;

	link->short_call = NULL;
	if (answer->error < 0 || answer->status != 200) {
		fail(link, answer);
		return;
	}
	if (!read_info(link, answer, &info)) {
		wait_for_engine(link, "the engine does not say where its directory is");
		return;
	}
	link->state = LINK_CONNECTED;
	link->failures = 0;
	link->detail[0] = '\0';
	(void)uv_timer_start(&link->timer, check_socket, SOCKET_CHECK_MS, SOCKET_CHECK_MS);
	link->owner.on_connected(link->owner.context, &info);
}

static void ask_info(struct engine_link *link)
{
	char path[64];
	const struct docker_request request = {
		.path = path,
		.timeout_ms = INFO_TIMEOUT_MS,
		.limit_bytes = INFO_MAX_BYTES,
		.context = link,
		.on_done = on_info,
	};
	struct mayfly_error error;

	engine_link_path(link, "/info", path, sizeof path);
	link->state = LINK_ASKING;
	(void)uv_timer_stop(&link->timer); /* cannot fail */
	if (docker_http_get(link->http, &request, &link->short_call, &error) < 0)
		wait_for_engine(link, error.text);
}

static bool on_stream_bytes(void *context, const char *bytes, size_t length)
{
	struct engine_link *link = context;

	if ((link->is_held || link->state != LINK_CONNECTED) &&
		json_values_waiting(&link->events) > HELD_MAX_BYTES)
		link->is_paused = true;
	/* Out of memory: the stream is tried again by check_socket(). */
	else if (json_values_add(&link->events, bytes, length) < 0)
		link->is_paused = true;
	return !link->is_paused;
}

static void on_stream_news(void *context, long status)
{
	struct engine_link *link = context;
	const struct docker_answer answer = { .status = status };

	if (status != 200)
		fail(link, &answer);
	else if (link->state == LINK_SUBSCRIBING)
		ask_info(link);
	else
		deliver_events(link);
}

static void on_stream_done(void *context, const struct docker_answer *answer)
{
	struct engine_link *link = context;

	link->stream = NULL;
	fail(link, answer);
}

static void on_head_overdue(uv_timer_t *timer)
{
	const struct docker_answer answer = { .error = -ETIMEDOUT };

	fail(timer->data, &answer);
}

static int64_t now_ns(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_REALTIME, &time);
	return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void subscribe(struct engine_link *link)
{
	char path[512], versioned[544];
	const struct docker_request request = {
		.path = versioned,
		.context = link,
		.on_done = on_stream_done,
		.on_bytes = on_stream_bytes,
		.on_news = on_stream_news,
	};
	struct mayfly_error error;

	if (link->since_ns == 0)
		link->since_ns = now_ns();
	(void)snprintf(path, sizeof path,
		"/events?since=%jd.%09jd&filters=", (intmax_t)(link->since_ns / 1000000000),
		(intmax_t)(link->since_ns % 1000000000));
	(void)docker_query_append(path, sizeof path, event_filter); /* it fits */
	engine_link_path(link, path, versioned, sizeof versioned);
	link->state = LINK_SUBSCRIBING;
	(void)uv_timer_start(&link->timer, on_head_overdue, STREAM_HEAD_TIMEOUT_MS, 0);
	if (docker_http_get(link->http, &request, &link->stream, &error) < 0)
		wait_for_engine(link, error.text);
}

/* An engine speaks the version that it names and older ones. */
static void negotiate(struct engine_link *link, const char *theirs)
{
	unsigned minor = 0;

	if (sscanf(theirs, "1.%u", &minor) != 1)
		link->api_version[0] = '\0';
	else
		(void)snprintf(link->api_version, sizeof link->api_version, "1.%u",
			minor < API_MINOR_MAX ? minor : API_MINOR_MAX);
}

static void on_greeting(void *context, const struct docker_answer *answer)
{
	struct engine_link *link = context;

	link->short_call = NULL;
	if (answer->error < 0 || answer->status != 200) {
		fail(link, answer);
		return;
	}
	negotiate(link, answer->api_version);
	subscribe(link);
}

static void greet(struct engine_link *link)
{
	const struct docker_request request = {
		.path = "/_ping",
		.timeout_ms = GREETING_TIMEOUT_MS,
		.limit_bytes = GREETING_MAX_BYTES,
		.context = link,
		.on_done = on_greeting,
	};
	const struct docker_answer absent = { .error = -ECONNREFUSED };
	struct mayfly_error error;

	if (stat(link->socket_path, &link->socket) != 0) {
		fail(link, &absent);
		return;
	}
	link->state = LINK_GREETING;
	if (docker_http_get(link->http, &request, &link->short_call, &error) < 0)
		wait_for_engine(link, error.text);
}

void engine_link_poke(struct engine_link *link)
{
	if (link->state == LINK_WAITING)
		(void)uv_timer_start(&link->timer, on_retry, 0, 0);
}

void engine_link_reject(struct engine_link *link, const char *detail)
{
	wait_for_engine(link, detail);
}

bool engine_link_is_connected(const struct engine_link *link)
{
	return link->state == LINK_CONNECTED;
}

void engine_link_path(const struct engine_link *link, const char *path, char *buffer, size_t size)
{
	if (link->api_version[0] == '\0')
		(void)snprintf(buffer, size, "%s", path);
	else
		(void)snprintf(buffer, size, "/v%s%s", link->api_version, path);
}

int engine_link_open(struct engine_link *link, uv_loop_t *loop, const char *socket_path,
	const struct engine_link_owner *owner, struct mayfly_error *err)
{
	const int r = docker_http_new(loop, socket_path, &link->http, err);

	if (r < 0)
		return r;
	link->socket_path = socket_path;
	link->owner = *owner;
	link->is_held = true;
	link->is_open = true;
	(void)uv_timer_init(loop, &link->timer); /* cannot fail */
	link->timer.data = link;
	(void)uv_timer_start(&link->timer, on_retry, 0, 0);
	return 0;
}

void engine_link_close(struct engine_link *link)
{
	if (!link->is_open)
		return;
	link->is_open = false;
	link->state = LINK_WAITING;
	link->short_call = link->stream = NULL;
	docker_http_close(link->http);
	json_values_done(&link->events);
	uv_close((uv_handle_t *)&link->timer, NULL);
}
