/* The way to one set's server: its addresses in order, a breaker for each, at most so many requests
 * at once, and deadlines. Knows HTTP's outcomes, not what is asked. Loop thread only.
 *
 * Glossary
 *   exchange  one request and its one answer, whatever addresses are tried for it
 *   breaker   an address that has failed three times in a row, or that has let a request wait until
 *             its end, is not asked again until its pause is over (1 s, doubled with each failure
 *             that follows, at most 30 s, and up to a quarter more); then one exchange tries it
 *   token     counted, as exchanges may outlive the login that gave it */
#pragma once

#include "daemon/broker/config/config_vault.h"
#include "daemon/broker/loop/deadline.h"
#include "daemon/broker/vault/vault_answer.h"
#include "proto/secret.h"

#include <sys/queue.h>
#include <uv.h>

#define VAULT_IN_FLIGHT_MAX 8

struct vault_token {
	unsigned refs;
	struct secret secret;
};

struct vault_token *vault_token_ref(struct vault_token *token);
void vault_token_unref(struct vault_token *token); /* wipes with the last; NULL is fine */

struct vault_address {
	const char *url;
	unsigned failures;	  /* in a row */
	uint64_t paused_until_ms; /* of uv_now(); 0: not */
	bool is_tried;		  /* an exchange is under way after a failure */
	int64_t answered_unix_s;  /* 0: never */
	int error;		  /* of the same, a negative errno or 0 */
	char problem[256];	  /* of the last failure, "" when it answers */
};

struct vault_exchange;
TAILQ_HEAD(vault_exchanges, vault_exchange);

struct vault_link {
	uv_loop_t *loop;
	struct arena *arena;
	const struct config_vault *config;
	struct https_client *client;
	struct vault_address addresses[CONFIG_VAULT_ADDRESSES_MAX];
	struct vault_exchanges waiting, under_way;
	unsigned in_flight;
	uint64_t busy_until_ms; /* a quota: nothing is sent before that */
	uint64_t requests;	/* sent since the start */
	struct handle_group *group;
	struct deadline wake;
};

struct vault_request {
	const char *method, *path; /* "secret/data/x", behind /v1/; copied */
	struct vault_token *token; /* NULL: none is sent */
	struct secret *body;	   /* taken over; NULL: none */
	uint32_t timeout_ms;	   /* for all of it */
	bool is_once;		   /* whatever may have reached a server is not sent again */
	void *context;
	/* Once, never before the starting call returns. The answer is valid during the call. */
	void (*on_answer)(void *context, const struct vault_answer *answer);
};

/* LINK is a member of an operation with GROUP. CONFIG outlives it. */
int vault_link_init(struct vault_link *link, uv_loop_t *loop, struct handle_group *group,
	struct arena *arena, const struct config_vault *config, struct mayfly_error *err);
/* Forgets every exchange without a call. Twice is fine, and so is a link of zeros. */
void vault_link_close(struct vault_link *link);

/* Returns 0, and on_answer is called; or -ENOMEM. *RET_EXCHANGE (NULL is fine) is valid until then.
 */
int vault_link_send(struct vault_link *link, const struct vault_request *request,
	struct vault_exchange **ret_exchange);
/* No call follows. */
void vault_exchange_cancel(struct vault_exchange *exchange);

/* Whether any address may be asked now. */
bool vault_link_is_open(const struct vault_link *link);
