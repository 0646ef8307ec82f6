#include "daemon/engine/api/docker_http.h"

#include "daemon/http/curl_loop.h"
#include "proto/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define URL_SIZE	   4096
#define CONNECT_TIMEOUT_MS 3000L
#define IDLE_CONNECTIONS   4L

struct docker_call {
	struct docker_call *next;
	struct docker_http *http;
	struct docker_request request;
	CURL *easy;
	char *body;
	size_t length;
	long status;
	bool is_post;
	bool is_too_large;
	bool has_news;
	char api_version[DOCKER_API_VERSION_SIZE];
	char why[CURL_ERROR_SIZE];
};

struct docker_http {
	struct curl_loop curl;
	const char *socket_path;
	struct docker_call *calls;
};

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
	struct docker_call *call = context;
	const size_t length = size * count;
	char *body;

	if (call->request.on_bytes) {
		if (!call->request.on_bytes(call->request.context, bytes, length))
			return CURL_WRITEFUNC_PAUSE;
		call->has_news = true;
		return length;
	}
	if (length > call->request.limit_bytes - call->length) {
		call->is_too_large = true;
		return 0;
	}
	body = realloc(call->body, call->length + length + 1);
	if (!body)
		return 0;
	memcpy(body + call->length, bytes, length);
	call->body = body;
	call->length += length;
	body[call->length] = '\0';
	return length;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *context)
{
	static const char name[] = "Api-Version:";
	struct docker_call *call = context;
	const size_t length = size * count;

	if (length > sizeof name && strncasecmp(bytes, name, sizeof name - 1) == 0) {
		const char *value = bytes + sizeof name - 1;
		const char *end = bytes + length;
		size_t written = 0;

		while (value < end && *value == ' ')
			value++;
		while (value < end && written < sizeof call->api_version - 1 &&
			strchr("0123456789.", *value))
			call->api_version[written++] = *value++;
		call->api_version[written] = '\0';
	}
	/* The empty line that ends the head. */
	if (length <= 2) {
		(void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &call->status);
		call->has_news = true;
	}
	return length;
}

static void unlink_call(struct docker_call *call)
{
	struct docker_call **place = &call->http->calls;

	while (*place != call)
		place = &(*place)->next;
	*place = call->next;
}

static void call_free(struct docker_call *call)
{
	if (call->easy)
		curl_easy_cleanup(call->easy);
	free(call->body);
	free(call);
}

static void retire(struct docker_call *call)
{
	(void)curl_multi_remove_handle(call->http->curl.multi, call->easy); /* it is in there */
	unlink_call(call);
}

static int error_of(const struct docker_call *call, CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_COULDNT_CONNECT:
		return -ECONNREFUSED;
	case CURLE_WRITE_ERROR:
		return call->is_too_large ? -EFBIG : -ENOMEM;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -ECONNRESET;
	}
}

static void finish(struct docker_call *call, CURLcode code)
{
	struct docker_answer answer = {
		.error = error_of(call, code),
		.why = call->is_too_large ? "the answer is too large"
		       : call->why[0]	  ? call->why
					  : curl_easy_strerror(code),
		.status = call->status,
		.body = call->body ? call->body : "",
		.length = call->length,
	};

	memcpy(answer.api_version, call->api_version, sizeof answer.api_version);
	retire(call);
	call->request.on_done(call->request.context, &answer);
	call_free(call);
}

static struct docker_call *with_news(struct docker_http *http)
{
	for (struct docker_call *call = http->calls; call; call = call->next)
		if (call->has_news)
			return call;
	return NULL;
}

/* After every action of libcurl's, outside of it: news first, then ends. A callback may close HTTP,
 * which the loop frees later. */
static void on_action(void *owner)
{
	struct docker_http *http = owner;
	struct docker_call *call;
	CURLcode code;

	while (http->curl.multi && (call = with_news(http))) {
		call->has_news = false;
		if (call->request.on_news)
			call->request.on_news(call->request.context, call->status);
	}
	while ((call = curl_loop_next_done(&http->curl, &code)))
		finish(call, code);
}

static bool set_options(struct docker_call *call, const char *url)
{
	CURL *easy = call->easy;
	const bool is_alone = call->request.on_bytes != NULL || call->is_post;
	bool fine = true;

#define SET(option, value) (fine = fine && curl_easy_setopt(easy, option, value) == CURLE_OK)
	SET(CURLOPT_URL, url);
	SET(CURLOPT_UNIX_SOCKET_PATH, call->http->socket_path);
	SET(CURLOPT_PRIVATE, (char *)call);
	SET(CURLOPT_ERRORBUFFER, call->why);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, (void *)call);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, (void *)call);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	SET(CURLOPT_TIMEOUT_MS, (long)call->request.timeout_ms);
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROTOCOLS_STR, "http");
	/* No variable of the environment may lead elsewhere. */
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NOPROXY, "*");
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	if (call->is_post) {
		SET(CURLOPT_POST, 1L);
		SET(CURLOPT_POSTFIELDSIZE, 0L);
		SET(CURLOPT_POSTFIELDS, "");
	}
	/* A stream has its connection to itself, and short calls never wait for it. A call that
	 * changes something has one too: libcurl sends a call again that it has sent on a used
	 * connection which then ended. */
	SET(CURLOPT_FRESH_CONNECT, is_alone ? 1L : 0L);
	SET(CURLOPT_FORBID_REUSE, is_alone ? 1L : 0L);
#undef SET
	return fine;
}

static int call_new(struct docker_http *http, const struct docker_request *request, bool is_post,
	struct docker_call **ret_call)
{
	char url[URL_SIZE] = "http://engine";
	struct docker_call *call;

	if (strlen(url) + strlen(request->path) >= sizeof url)
		return -ENAMETOOLONG;
	memcpy(url + strlen(url), request->path, strlen(request->path) + 1);
	call = calloc(1, sizeof *call);
	if (!call)
		return -ENOMEM;
	call->http = http;
	call->request = *request;
	call->request.path = NULL;
	call->is_post = is_post;
	call->easy = curl_easy_init();
	if (!call->easy || !set_options(call, url)) {
		call_free(call);
		return -ENOMEM;
	}
	*ret_call = call;
	return 0;
}

static int start(struct docker_http *http, const struct docker_request *request, bool is_post,
	struct docker_call **ret_call, struct mayfly_error *err)
{
	struct docker_call *call;
	const int r = call_new(http, request, is_post, &call);

	if (r < 0)
		return error_errno(err, r, "call the engine");
	if (curl_multi_add_handle(http->curl.multi, call->easy) != CURLM_OK) {
		call_free(call);
		return error_errno(err, -ENOMEM, "call the engine");
	}
	call->next = http->calls;
	http->calls = call;
	*ret_call = call;
	return 0;
}

int docker_http_get(struct docker_http *http, const struct docker_request *request,
	struct docker_call **ret_call, struct mayfly_error *err)
{
	return start(http, request, false, ret_call, err);
}

int docker_http_post(struct docker_http *http, const struct docker_request *request,
	struct docker_call **ret_call, struct mayfly_error *err)
{
	return start(http, request, true, ret_call, err);
}

void docker_call_cancel(struct docker_call *call)
{
	retire(call);
	call_free(call);
}

void docker_call_resume(struct docker_call *call)
{
	/* May deliver at once; the news are told by the timer that it sets. */
	(void)curl_easy_pause(call->easy, CURLPAUSE_CONT);
}

int docker_query_append(char *buffer, size_t size, const char *text)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t length = strlen(buffer);

	for (; *text; text++) {
		const unsigned char c = (unsigned char)*text;

		if (length + sizeof "%XX" > size)
			return -ENAMETOOLONG;
		if (isalnum(c)) {
			buffer[length++] = (char)c;
		} else {
			buffer[length++] = '%';
			buffer[length++] = digits[c >> 4];
			buffer[length++] = digits[c & 15];
		}
		buffer[length] = '\0';
	}
	return 0;
}

int docker_http_new(uv_loop_t *loop, const char *socket_path, struct docker_http **ret_http,
	struct mayfly_error *err)
{
	struct docker_http *http = calloc(1, sizeof *http);

	if (!http)
		return error_errno(err, -ENOMEM, "prepare for HTTP");
	http->curl.owner = http;
	http->curl.on_action = on_action;
	http->curl.on_closed = free;
	if (curl_loop_init(&http->curl, loop, IDLE_CONNECTIONS) < 0) {
		free(http);
		return error_errno(err, -ENOMEM, "prepare for HTTP");
	}
	http->socket_path = socket_path;
	*ret_http = http;
	return 0;
}

void docker_http_close(struct docker_http *http)
{
	if (!http || !http->curl.multi)
		return;
	while (http->calls)
		docker_call_cancel(http->calls);
	curl_loop_close(&http->curl);
}
