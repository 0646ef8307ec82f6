#include "daemon/broker/https/https_client.h"

#include "daemon/http/curl_loop.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define IDLE_CONNECTIONS  8L
#define CONNECTION_AGE_S  100L /* servers close idle ones after 5 minutes, some proxies after 2 */
#define FIRST_BODY_BYTES  ((size_t)8192)
#define HEADER_LINE_BYTES 2048 /* a batch token has some 250 characters */

struct https_call {
	struct https_call *next;
	struct https_client *client;
	void *context;
	void (*on_done)(void *context, struct https_answer *answer);
	CURL *easy;
	struct curl_slist *headers;
	struct secret sent, body;
	size_t length;
	bool is_too_large, is_out_of_memory;
	long retry_after_s;
	char location[HTTPS_LOCATION_SIZE];
	char why[CURL_ERROR_SIZE];
};

struct https_client {
	struct curl_loop curl;
	struct arena *arena;
	struct https_trust trust;
	struct https_call *calls;
};

/* The arena has no realloc: what has come moves to twice the room, and the old room is wiped. */
static int make_room(struct https_call *call, size_t more)
{
	AUTO_SECRET grown = { 0 };
	size_t room = call->body.length ? call->body.length : FIRST_BODY_BYTES;

	if (more > HTTPS_ANSWER_MAX_BYTES - call->length)
		return -EFBIG;
	while (room < call->length + more)
		room *= 2;
	if (room == call->body.length)
		return 0;
	if (secret_new(call->client->arena, room, &grown, NULL) < 0)
		return -ENOMEM;
	if (call->length > 0)
		memcpy(grown.bytes, call->body.bytes, call->length);
	secret_done(&call->body);
	call->body = secret_take(&grown);
	return 0;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
	struct https_call *call = context;
	const size_t length = size * count;
	const int r = make_room(call, length);

	call->is_too_large = r == -EFBIG;
	call->is_out_of_memory = r == -ENOMEM;
	if (r < 0)
		return 0;
	memcpy(call->body.bytes + call->length, bytes, length);
	call->length += length;
	return length;
}

/* The value of the header NAME ("Location:") in the line BYTES; NULL when it is another. */
static const char *value_of(const char *bytes, size_t length, const char *name, size_t *ret_length)
{
	const size_t skip = strlen(name);

	if (length < skip || strncasecmp(bytes, name, skip) != 0)
		return NULL;
	bytes += skip;
	length -= skip;
	while (length > 0 && *bytes == ' ') {
		bytes++;
		length--;
	}
	while (length > 0 && (bytes[length - 1] == '\r' || bytes[length - 1] == '\n'))
		length--;
	*ret_length = length;
	return bytes;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *context)
{
	struct https_call *call = context;
	const size_t length = size * count;
	size_t value_length;
	const char *value = value_of(bytes, length, "Location:", &value_length);

	if (value && value_length < sizeof call->location) {
		memcpy(call->location, value, value_length);
		call->location[value_length] = '\0';
	}
	value = value_of(bytes, length, "Retry-After:", &value_length);
	if (value) {
		call->retry_after_s = 0;
		for (size_t i = 0; i < value_length && value[i] >= '0' && value[i] <= '9' &&
				   call->retry_after_s < 100000;
			i++)
			call->retry_after_s = call->retry_after_s * 10 + (value[i] - '0');
	}
	return length;
}

static void call_free(struct https_call *call)
{
	if (call->easy)
		curl_easy_cleanup(call->easy);
	curl_slist_free_all(call->headers);
	secret_done(&call->sent);
	secret_done(&call->body);
	free(call);
}

static void retire(struct https_call *call)
{
	struct https_call **place = &call->client->calls;

	(void)curl_multi_remove_handle(call->client->curl.multi, call->easy); /* it is in there */
	while (*place != call)
		place = &(*place)->next;
	*place = call->next;
}

static int error_of(const struct https_call *call, CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_COULDNT_CONNECT:
		return -ECONNREFUSED;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -EHOSTUNREACH;
	case CURLE_WRITE_ERROR:
		return call->is_too_large ? -EFBIG : -ENOMEM;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_ISSUER_ERROR:
	case CURLE_SSL_INVALIDCERTSTATUS:
		return -EKEYREJECTED;
	default:
		return -ECONNRESET;
	}
}

/* Whether the server may have begun to do what was asked. */
static bool may_have_been_sent(const struct https_call *call)
{
	long sent = 0;

	return curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &sent) != CURLE_OK || sent > 0;
}

static void finish(struct https_call *call, CURLcode code)
{
	struct https_answer answer = {
		.error = error_of(call, code),
		.why = call->is_too_large	? "the answer is larger than 2 MiB"
		       : call->is_out_of_memory ? "there is no room for the answer"
		       : call->why[0]		? call->why
						: curl_easy_strerror(code),
		.was_sent = may_have_been_sent(call),
		.body = &call->body,
		.body_length = call->length,
		.retry_after_s = (uint32_t)call->retry_after_s,
	};

	(void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &answer.status);
	memcpy(answer.location, call->location, sizeof answer.location);
	retire(call);
	call->on_done(call->context, &answer);
	call_free(call);
}

/* After every action of libcurl's, outside of it. A callback may close CLIENT, which the loop frees
 * later. */
static void on_action(void *owner)
{
	struct https_client *client = owner;
	struct https_call *call;
	CURLcode code;

	while ((call = curl_loop_next_done(&client->curl, &code)))
		finish(call, code);
}

/* ---- Starting. ---- */

static bool add_header(struct https_call *call, const char *name, const void *value, size_t length)
{
	char line[HEADER_LINE_BYTES];
	const size_t start = strlen(name);
	struct curl_slist *grown = NULL;

	/* A line's end inside would begin a header of somebody else's choice. */
	if (start + length < sizeof line && !memchr(value, '\r', length) &&
		!memchr(value, '\n', length) && !memchr(value, '\0', length)) {
		memcpy(line, name, start);
		memcpy(line + start, value, length);
		line[start + length] = '\0';
		grown = curl_slist_append(call->headers, line);
	}
	explicit_bzero(line, sizeof line);
	if (grown)
		call->headers = grown;
	return grown != NULL;
}

static bool add_headers(struct https_call *call, const struct https_request *request)
{
	static const char json[] = "application/json", yes[] = "true", none[] = "";
	bool fine = add_header(call, "X-Vault-Request: ", yes, sizeof yes - 1);

	if (request->name_space)
		fine = fine && add_header(call, "X-Vault-Namespace: ", request->name_space,
				       strlen(request->name_space));
	if (request->token)
		fine = fine && add_header(call, "X-Vault-Token: ", request->token->bytes,
				       request->token->length);
	if (call->sent.length > 0)
		/* No waiting for "100 Continue". */
		fine = fine && add_header(call, "Content-Type: ", json, sizeof json - 1) &&
		       add_header(call, "Expect:", none, 0);
	return fine;
}

#define SET(easy, option, value) (curl_easy_setopt(easy, option, value) == CURLE_OK)

static bool set_trust(CURL *easy, const struct https_trust *trust)
{
	bool fine = SET(easy, CURLOPT_SSL_VERIFYPEER, 1L) &&
		    SET(easy, CURLOPT_SSL_VERIFYHOST, 2L) &&
		    SET(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);

	if (trust->ca_file)
		/* This one and no other: without the second line the host's own count too. */
		fine = fine && SET(easy, CURLOPT_CAINFO, trust->ca_file) &&
		       SET(easy, CURLOPT_CAPATH, NULL);
	if (trust->cert_file)
		fine = fine && SET(easy, CURLOPT_SSLCERT, trust->cert_file) &&
		       SET(easy, CURLOPT_SSLKEY,
			       trust->key_file ? trust->key_file : trust->cert_file);
	return fine;
}

static bool set_options(struct https_call *call, const struct https_request *request)
{
	CURL *easy = call->easy;

	return SET(easy, CURLOPT_URL, request->url) && SET(easy, CURLOPT_PRIVATE, (char *)call) &&
	       SET(easy, CURLOPT_CUSTOMREQUEST, request->method) &&
	       SET(easy, CURLOPT_ERRORBUFFER, call->why) &&
	       SET(easy, CURLOPT_HTTPHEADER, call->headers) &&
	       SET(easy, CURLOPT_WRITEFUNCTION, on_body) &&
	       SET(easy, CURLOPT_WRITEDATA, (void *)call) &&
	       SET(easy, CURLOPT_HEADERFUNCTION, on_header) &&
	       SET(easy, CURLOPT_HEADERDATA, (void *)call) && SET(easy, CURLOPT_NOSIGNAL, 1L) &&
	       /* Or the loop would wait, whenever a call ends first, for the thread that looks up
		* its name: for as long as a name server does not answer. */
	       SET(easy, CURLOPT_QUICK_EXIT, 1L) &&
	       SET(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_ms) &&
	       SET(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms) &&
	       SET(easy, CURLOPT_FOLLOWLOCATION, 0L) &&
	       SET(easy, CURLOPT_PROTOCOLS_STR, "http,https") &&
	       SET(easy, CURLOPT_USERAGENT, "mayfly/" MAYFLY_VERSION) &&
	       /* No variable of the environment and no file may lead elsewhere. */
	       SET(easy, CURLOPT_PROXY, "") && SET(easy, CURLOPT_NOPROXY, "*") &&
	       SET(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) &&
	       SET(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
	       SET(easy, CURLOPT_MAXAGE_CONN, CONNECTION_AGE_S) &&
	       SET(easy, CURLOPT_FRESH_CONNECT, request->is_once ? 1L : 0L) &&
	       set_trust(easy, &call->client->trust);
}

/* The body is not copied: it lies in the arena until the call's end. */
static bool set_body(struct https_call *call)
{
	if (call->sent.length == 0)
		return true;
	return SET(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->sent.length) &&
	       SET(call->easy, CURLOPT_POSTFIELDS, (char *)call->sent.bytes);
}

int https_call_start(struct https_client *client, const struct https_request *request,
	struct https_call **ret_call, struct mayfly_error *err)
{
	AUTO_SECRET sent = request->body ? secret_take(request->body) : (struct secret){ 0 };
	struct https_call *call = calloc(1, sizeof *call);

	if (!call)
		return error_errno(err, -ENOMEM, "call %s", request->url);
	call->client = client;
	call->context = request->context;
	call->on_done = request->on_done;
	call->sent = secret_take(&sent);
	call->easy = curl_easy_init();
	/* The body before the method: it would set another. */
	if (!call->easy || !add_headers(call, request) || !set_body(call) ||
		!set_options(call, request) ||
		curl_multi_add_handle(client->curl.multi, call->easy) != CURLM_OK) {
		call_free(call);
		return error_set(err, -EINVAL, "call %s: libcurl refuses it", request->url);
	}
	call->next = client->calls;
	client->calls = call;
	*ret_call = call;
	return 0;
}

void https_call_cancel(struct https_call *call)
{
	retire(call);
	call_free(call);
}

int https_client_new(uv_loop_t *loop, struct arena *arena, const struct https_trust *trust,
	struct https_client **ret_client, struct mayfly_error *err)
{
	struct https_client *client = calloc(1, sizeof *client);

	if (!client)
		return error_errno(err, -ENOMEM, "prepare for HTTPS");
	client->curl.owner = client;
	client->curl.on_action = on_action;
	client->curl.on_closed = free;
	if (curl_loop_init(&client->curl, loop, IDLE_CONNECTIONS) < 0) {
		free(client);
		return error_errno(err, -ENOMEM, "prepare for HTTPS");
	}
	client->arena = arena;
	client->trust = *trust;
	*ret_client = client;
	return 0;
}

void https_client_close(struct https_client *client)
{
	if (!client || !client->curl.multi)
		return;
	while (client->calls)
		https_call_cancel(client->calls);
	curl_loop_close(&client->curl);
}
