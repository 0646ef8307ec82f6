/* The engine's API over its unix socket: short calls, each with a deadline and a limit, and
 * streams. libcurl does HTTP, the loop does the waiting. Callbacks come from the loop, never from
 * within a function of this header, and never from within libcurl: they may start and cancel calls.
 */
#pragma once

#include "proto/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct docker_http;
struct docker_call;

#define DOCKER_API_VERSION_SIZE 16

struct docker_answer {
	int error;	 /* 0 or a negative errno */
	const char *why; /* words for the error; valid during the callback, as all of this */
	long status;	 /* 0 while no answer has come */
	const char *body;
	size_t length;
	char api_version[DOCKER_API_VERSION_SIZE]; /* of the header Api-Version, or "" */
};

struct docker_request {
	const char *path;    /* "/v1.41/info" */
	uint32_t timeout_ms; /* 0 for a stream: the owner watches it */
	size_t limit_bytes;  /* of the body, -EFBIG beyond; unused for a stream */
	void *context;
	/* The end, whatever it is. The call is gone afterwards. */
	void (*on_done)(void *context, const struct docker_answer *answer);
	/* For a stream, NULL for a short call. Bytes came; false: not now, keep them until
	 * docker_call_resume(). This one does come from within libcurl: it only puts them away. */
	bool (*on_bytes)(void *context, const char *bytes, size_t length);
	/* For a stream: the answer's head or bytes have come since. */
	void (*on_news)(void *context, long status);
};

/* SOCKET_PATH must live as long. Returns 0 or a negative errno. */
int docker_http_new(uv_loop_t *loop, const char *socket_path, struct docker_http **ret_http,
	struct mayfly_error *err);

/* Cancels every call without callbacks. NULL is fine. The memory is freed by the loop. */
void docker_http_close(struct docker_http *http);

/* Starts REQUEST, whose strings are copied. *RET_CALL is valid until on_done() or the cancel. */
int docker_http_get(struct docker_http *http, const struct docker_request *request,
	struct docker_call **ret_call, struct mayfly_error *err);

/* The same with POST and nothing in it: changes something, so it is sent once at most. */
int docker_http_post(struct docker_http *http, const struct docker_request *request,
	struct docker_call **ret_call, struct mayfly_error *err);

/* No callback follows. */
void docker_call_cancel(struct docker_call *call);

/* Appends TEXT, percent-encoded as the value of a query, to the string in BUFFER of SIZE bytes.
 * Returns 0 or -ENAMETOOLONG. */
int docker_query_append(char *buffer, size_t size, const char *text);

/* Delivers what on_bytes() would not take. */
void docker_call_resume(struct docker_call *call);
