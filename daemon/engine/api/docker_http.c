#include "daemon/engine/api/docker_http.h"

#include "proto/cleanup.h"

#include <ctype.h>
#include <curl/curl.h>
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
	uv_timer_t timer;
	uv_loop_t *loop;
	CURLM *multi;
	const char *socket_path;
	struct docker_call *calls;
	bool is_closed;
};

/* One socket of libcurl's. */
struct socket_watch {
	uv_poll_t poll;
	struct docker_http *http;
	curl_socket_t socket;
};

static void settle(struct docker_http *http);

static void on_watch_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void on_socket_ready(uv_poll_t *poll, int status, int events)
{
	struct socket_watch *watch = poll->data;
	struct docker_http *http = watch->http;
	int running, flags = 0;

	/* Dropping the error would leave the transfer waiting for ever. */
	if (status < 0)
		flags = CURL_CSELECT_ERR;
	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	(void)curl_multi_socket_action(http->multi, watch->socket, flags, &running);
	settle(http);
}

static struct socket_watch *watch_new(struct docker_http *http, curl_socket_t socket)
{
	struct socket_watch *watch = calloc(1, sizeof *watch);

	if (!watch)
		return NULL;
	if (uv_poll_init_socket(http->loop, &watch->poll, socket) < 0) {
		free(watch);
		return NULL;
	}
	watch->poll.data = watch;
	watch->http = http;
	watch->socket = socket;
	(void)curl_multi_assign(http->multi, socket, watch); /* fails for unknown sockets only */
	return watch;
}

static int on_socket_change(CURL *easy, curl_socket_t socket, int what, void *context, void *known)
{
	struct docker_http *http = context;
	struct socket_watch *watch = known;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (watch)
			/* Stops polling at once: the number may be used again right after. */
			uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
		(void)curl_multi_assign(http->multi, socket, NULL); /* as above */
		return 0;
	}
	if (!watch)
		watch = watch_new(http, socket);
	if (!watch)
		return -1;
	return uv_poll_start(&watch->poll,
		       (what & CURL_POLL_IN ? UV_READABLE : 0) |
			       (what & CURL_POLL_OUT ? UV_WRITABLE : 0),
		       on_socket_ready) == 0
		       ? 0
		       : -1;
}

static void on_timer(uv_timer_t *timer)
{
	struct docker_http *http = timer->data;
	int running;

	(void)curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	settle(http);
}

static int on_timer_change(CURLM *multi, long timeout_ms, void *context)
{
	struct docker_http *http = context;

	(void)multi;
	if (timeout_ms < 0)
		return uv_timer_stop(&http->timer);
	return uv_timer_start(&http->timer, on_timer, (uint64_t)timeout_ms, 0);
}

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
	(void)curl_multi_remove_handle(call->http->multi, call->easy); /* it is in there */
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
static void settle(struct docker_http *http)
{
	struct docker_call *call;
	CURLMsg *message;
	int left;

	while (!http->is_closed && (call = with_news(http))) {
		call->has_news = false;
		if (call->request.on_news)
			call->request.on_news(call->request.context, call->status);
	}
	while (!http->is_closed && (message = curl_multi_info_read(http->multi, &left))) {
		/* The message is gone once its handle is removed. */
		const CURLcode code = message->data.result;
		char *private = NULL;

		if (message->msg == CURLMSG_DONE && curl_easy_getinfo(message->easy_handle,
							    CURLINFO_PRIVATE, &private) == CURLE_OK)
			finish((struct docker_call *)(void *)private, code);
	}
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
	if (curl_multi_add_handle(http->multi, call->easy) != CURLM_OK) {
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
	http->multi = curl_multi_init();
	if (!http->multi) {
		free(http);
		return error_errno(err, -ENOMEM, "prepare for HTTP");
	}
	http->loop = loop;
	http->socket_path = socket_path;
	(void)uv_timer_init(loop, &http->timer); /* cannot fail */
	http->timer.data = http;
	/* None of these can fail for a handle that was made here. */
	(void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket_change);
	(void)curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, (void *)http);
	(void)curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer_change);
	(void)curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, (void *)http);
	(void)curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS);
	*ret_http = http;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void docker_http_close(struct docker_http *http)
{
	if (!http || http->is_closed)
		return;
	http->is_closed = true;
	while (http->calls)
		docker_call_cancel(http->calls);
	(void)curl_multi_cleanup(http->multi); /* closes its sockets through on_socket_change() */
	http->multi = NULL;
	uv_close((uv_handle_t *)&http->timer, on_closed);
}
