#include "daemon/broker/vault/vault_link.h"

#include "daemon/broker/loop/backoff.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONNECT_TIMEOUT_MS 1500
/* With others to be tried no address may use up all the time. */
#define SHARE_TIMEOUT_MS   2500
/* In a row, until an address is left alone. */
#define FAILURES_MAX	   3
#define URL_SIZE	   1024
#define NOT_LISTED	   SIZE_MAX

struct vault_exchange {
	TAILQ_ENTRY(vault_exchange) entry;
	struct vault_link *link;
	char *method, *path;
	struct vault_token *token;
	struct secret body;
	uint64_t ends_ms; /* of uv_now() */
	bool is_once, is_under_way, is_redirected;
	size_t address; /* that is asked */
	unsigned tried; /* one bit for each address */
	struct https_call *call;
	void *context;
	void (*on_answer)(void *context, const struct vault_answer *answer);
	struct vault_answer last; /* of the first address that failed; no document */
};

struct vault_token *vault_token_ref(struct vault_token *token)
{
	token->refs++;
	return token;
}

void vault_token_unref(struct vault_token *token)
{
	if (!token || --token->refs > 0)
		return;
	secret_done(&token->secret);
	free(token);
}

static void exchange_free(struct vault_exchange *exchange)
{
	vault_token_unref(exchange->token);
	secret_done(&exchange->body);
	free(exchange->method);
	free(exchange->path);
	free(exchange);
}

static void leave(struct vault_exchange *exchange)
{
	struct vault_link *link = exchange->link;

	if (exchange->is_under_way) {
		TAILQ_REMOVE(&link->under_way, exchange, entry);
		link->in_flight--;
	} else {
		TAILQ_REMOVE(&link->waiting, exchange, entry);
	}
	/* Others may have waited for a place. */
	if (!TAILQ_EMPTY(&link->waiting))
		deadline_arm(&link->wake, 0);
}

static void finish(struct vault_exchange *exchange, const struct vault_answer *answer)
{
	leave(exchange);
	exchange->on_answer(exchange->context, answer);
	exchange_free(exchange);
}

/* ---- Addresses and their breakers. ---- */

static bool is_broken(const struct vault_address *address)
{
	return address->failures >= FAILURES_MAX;
}

static bool may_be_asked(const struct vault_link *link, const struct vault_address *address)
{
	return !is_broken(address) ||
	       (!address->is_tried && uv_now(link->loop) >= address->paused_until_ms);
}

bool vault_link_is_open(const struct vault_link *link)
{
	for (size_t i = 0; i < link->config->addresses_count; i++)
		if (may_be_asked(link, &link->addresses[i]))
			return true;
	return false;
}

static size_t next_address(const struct vault_exchange *exchange)
{
	const struct vault_link *link = exchange->link;

	for (size_t i = 0; i < link->config->addresses_count; i++)
		if (!(exchange->tried & (1u << i)) && may_be_asked(link, &link->addresses[i]))
			return i;
	return NOT_LISTED;
}

static void note_failure(
	struct vault_link *link, struct vault_address *address, const struct vault_answer *answer)
{
	(void)snprintf(address->problem, sizeof address->problem, "%s", answer->text);
	address->error = answer->error;
	if (is_broken(address) && !address->is_tried)
		/* It was under way when the others failed: one step with them. */
		return;
	address->failures++;
	/* Nobody has the time to find that out three times. */
	if (answer->error == -ETIMEDOUT && !is_broken(address))
		address->failures = FAILURES_MAX;
	address->is_tried = false;
	if (is_broken(address))
		address->paused_until_ms =
			uv_now(link->loop) + backoff_ms(address->failures - FAILURES_MAX + 1,
						     BACKOFF_ADDRESS_CAP_MS, randombytes_random());
}

static void note_answer(struct vault_address *address)
{
	address->failures = 0;
	address->is_tried = false;
	address->answered_unix_s = time(NULL);
	address->problem[0] = '\0';
}

/* The listed address that the URL LOCATION begins with. */
static size_t address_of(const struct vault_link *link, const char *location)
{
	for (size_t i = 0; i < link->config->addresses_count; i++) {
		const char *url = link->config->addresses[i];
		const size_t length = strlen(url);

		if (strncmp(location, url, length) == 0 && strchr("/?", location[length]))
			return i;
	}
	return NOT_LISTED;
}

/* ---- Asking. ---- */

static void try_next(struct vault_exchange *exchange);

static void on_call_done(void *context, struct https_answer *from)
{
	struct vault_exchange *exchange = context;
	struct vault_link *link = exchange->link;
	struct vault_address *address = &link->addresses[exchange->address];
	struct vault_answer answer;
	size_t elsewhere;

	exchange->call = NULL;
	vault_answer_read(from, &answer);
	switch (answer.outcome) {
	case VAULT_REDIRECT:
		note_answer(address);
		elsewhere = address_of(link, answer.location);
		if (elsewhere != NOT_LISTED && !exchange->is_redirected) {
			exchange->is_redirected = true;
			exchange->tried &= ~(1u << elsewhere);
			/* Only there: whoever redirects does not do it itself. */
			exchange->tried |= ~(1u << elsewhere);
		} else {
			(void)snprintf(answer.text, sizeof answer.text,
				elsewhere == NOT_LISTED
					? "it redirects to a server that is not listed"
					: "it redirects a second time");
		}
		break;
	case VAULT_SEALED:
	case VAULT_UNAVAILABLE:
	case VAULT_NONSENSE:
		note_failure(link, address, &answer);
		if (exchange->is_once && answer.was_sent) {
			finish(exchange, &answer);
			return;
		}
		break;
	case VAULT_BUSY:
		link->busy_until_ms = uv_now(link->loop) +
				      (answer.retry_after_s ? answer.retry_after_s * UINT64_C(1000)
							    : BACKOFF_BASE_MS);
		note_answer(address);
		finish(exchange, &answer);
		return;
	default:
		note_answer(address);
		finish(exchange, &answer);
		return;
	}
	/* What the first one says is told if the others do no better. */
	if (exchange->last.outcome == VAULT_INVALID || exchange->is_redirected) {
		exchange->last = answer;
		exchange->last.document = (struct json_slice){ 0 };
	}
	try_next(exchange);
}

/* A body for each address: a call takes the one that it is given. */
static int copy_body(const struct vault_exchange *exchange, struct secret *ret_body)
{
	if (exchange->body.length == 0)
		return 0;
	if (secret_new(exchange->link->arena, exchange->body.length, ret_body, NULL) < 0)
		return -ENOMEM;
	memcpy(ret_body->bytes, exchange->body.bytes, exchange->body.length);
	return 0;
}

static int call_address(struct vault_exchange *exchange, uint32_t left_ms, struct mayfly_error *err)
{
	struct vault_link *link = exchange->link;
	struct vault_address *address = &link->addresses[exchange->address];
	const bool has_others = next_address(exchange) != NOT_LISTED;
	AUTO_SECRET body = { 0 };
	char url[URL_SIZE];
	struct https_request request = {
		.method = exchange->method,
		.url = url,
		.name_space = link->config->name_space,
		.token = exchange->token ? &exchange->token->secret : NULL,
		.body = &body,
		.timeout_ms = has_others && left_ms > SHARE_TIMEOUT_MS ? SHARE_TIMEOUT_MS : left_ms,
		.connect_timeout_ms = CONNECT_TIMEOUT_MS,
		.is_once = exchange->is_once,
		.context = exchange,
		.on_done = on_call_done,
	};

	if (copy_body(exchange, &body) < 0)
		return error_errno(err, -ENOMEM, "call %s", address->url);
	if ((size_t)snprintf(url, sizeof url, "%s/v1/%s", address->url, exchange->path) >=
		sizeof url)
		return error_errno(err, -ENAMETOOLONG, "call %s", address->url);
	address->is_tried = is_broken(address);
	link->requests++;
	return https_call_start(link->client, &request, &exchange->call, err);
}

static void give_up(struct vault_exchange *exchange)
{
	const struct vault_address *first = &exchange->link->addresses[0];
	struct vault_answer answer = exchange->last;

	/* The first one was left alone, or all were: what it said last is why it goes wrong. */
	if (answer.outcome == VAULT_INVALID || (first->failures > 0 && !(exchange->tried & 1u))) {
		answer.outcome = VAULT_UNAVAILABLE;
		answer.error = first->error;
		(void)snprintf(answer.text, sizeof answer.text, "%s", first->problem);
	}
	finish(exchange, &answer);
}

static void try_next(struct vault_exchange *exchange)
{
	struct vault_link *link = exchange->link;
	const uint64_t now = uv_now(link->loop);
	struct mayfly_error err = { 0 };

	exchange->address = next_address(exchange);
	if (exchange->address == NOT_LISTED || now >= exchange->ends_ms) {
		give_up(exchange);
		return;
	}
	exchange->tried |= 1u << exchange->address;
	if (call_address(exchange, (uint32_t)(exchange->ends_ms - now), &err) < 0) {
		exchange->last = (struct vault_answer){ .outcome = VAULT_UNAVAILABLE };
		(void)snprintf(exchange->last.text, sizeof exchange->last.text, "%.250s", err.text);
		link->addresses[exchange->address].is_tried = false;
		give_up(exchange);
	}
}

/* ---- Places. ---- */

static void expire(struct vault_exchange *exchange, enum vault_outcome outcome, const char *text)
{
	struct vault_answer answer = { .outcome = outcome };

	(void)snprintf(answer.text, sizeof answer.text, "%s", text);
	if (outcome == VAULT_BUSY)
		answer.retry_after_s =
			1 +
			(uint32_t)((exchange->link->busy_until_ms - uv_now(exchange->link->loop)) /
				   1000);
	finish(exchange, &answer);
}

/* Starts what has a place; ends what waits in vain. */
static void on_wake(struct deadline *wake)
{
	struct vault_link *link = container_of(wake, struct vault_link, wake);
	const uint64_t now = uv_now(link->loop);
	struct vault_exchange *exchange;

	while ((exchange = TAILQ_FIRST(&link->waiting))) {
		if (now >= exchange->ends_ms) {
			expire(exchange, VAULT_EXPIRED,
				"other requests took all of the time that there was");
		} else if (now < link->busy_until_ms) {
			expire(exchange, VAULT_BUSY, "its quota is used up");
		} else if (link->in_flight < VAULT_IN_FLIGHT_MAX) {
			TAILQ_REMOVE(&link->waiting, exchange, entry);
			TAILQ_INSERT_TAIL(&link->under_way, exchange, entry);
			exchange->is_under_way = true;
			link->in_flight++;
			try_next(exchange);
		} else {
			/* In order of arrival, and all have about the same time. */
			deadline_arm(&link->wake, exchange->ends_ms - now);
			return;
		}
	}
}

int vault_link_send(struct vault_link *link, const struct vault_request *request,
	struct vault_exchange **ret_exchange)
{
	struct vault_exchange *exchange = calloc(1, sizeof *exchange);

	if (exchange) {
		exchange->method = strdup(request->method);
		exchange->path = strdup(request->path);
	}
	if (!exchange || !exchange->method || !exchange->path) {
		if (exchange)
			exchange_free(exchange);
		if (request->body)
			secret_done(request->body);
		return -ENOMEM;
	}
	exchange->link = link;
	exchange->token = request->token ? vault_token_ref(request->token) : NULL;
	if (request->body)
		exchange->body = secret_take(request->body);
	uv_update_time(link->loop);
	exchange->ends_ms = uv_now(link->loop) + request->timeout_ms;
	exchange->is_once = request->is_once;
	exchange->context = request->context;
	exchange->on_answer = request->on_answer;
	TAILQ_INSERT_TAIL(&link->waiting, exchange, entry);
	deadline_arm(&link->wake, 0);
	if (ret_exchange)
		*ret_exchange = exchange;
	return 0;
}

void vault_exchange_cancel(struct vault_exchange *exchange)
{
	if (exchange->call)
		https_call_cancel(exchange->call);
	if (exchange->is_under_way)
		exchange->link->addresses[exchange->address].is_tried = false;
	leave(exchange);
	exchange_free(exchange);
}

int vault_link_init(struct vault_link *link, uv_loop_t *loop, struct handle_group *group,
	struct arena *arena, const struct config_vault *config, struct mayfly_error *err)
{
	const struct https_trust trust = { .ca_file = config->ca_file,
		.cert_file = config->client_cert_file,
		.key_file = config->client_key_file };
	int r;

	*link = (struct vault_link){
		.loop = loop, .arena = arena, .config = config, .group = group
	};
	r = https_client_new(loop, arena, &trust, &link->client, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < config->addresses_count; i++)
		link->addresses[i].url = config->addresses[i];
	TAILQ_INIT(&link->waiting);
	TAILQ_INIT(&link->under_way);
	deadline_init(&link->wake, loop, group, on_wake);
	return 0;
}

void vault_link_close(struct vault_link *link)
{
	struct vault_exchange *exchange;

	if (!link->client)
		return;
	while ((exchange = TAILQ_FIRST(&link->under_way)))
		vault_exchange_cancel(exchange);
	while ((exchange = TAILQ_FIRST(&link->waiting)))
		vault_exchange_cancel(exchange);
	https_client_close(link->client);
	link->client = NULL;
	deadline_close(&link->wake);
}
