/* One set's token: got by logging in, renewed after two thirds of its life, got anew when the server
 * renews it no further, given back at a clean stop. Everything that fails waits longer each time
 * (backoff.h): 30 s at most while no server answers, 5 minutes when one refuses. Loop thread only. */
#pragma once

#include "daemon/broker/vault/vault_credentials.h"

struct vault_login;

/* Somebody who needs a token: a member of the caller's struct. */
struct vault_login_waiter {
	TAILQ_ENTRY(vault_login_waiter) entry;
	bool is_waiting;
	/* TOKEN is valid during the call (ref it to keep it), or NULL and PROBLEM says why there is
	 * none. IS_REFUSED: a server has refused the login; otherwise none answered. */
	void (*on_token)(struct vault_login_waiter *waiter, struct vault_token *token,
		bool is_refused, const char *problem);
};
TAILQ_HEAD(vault_login_waiters, vault_login_waiter);

struct vault_login {
	uv_loop_t *loop;
	struct vault_link *link;
	struct vault_credentials credentials;
	struct vault_token *token;   /* NULL: there is none that is good */
	struct vault_token *checked; /* that a server is asked about */
	bool is_working, is_checking, is_refused, is_renewable, is_closed;
	uint32_t life_s, full_life_s; /* as it was given last, and at most; 0: does not end */
	uint64_t expires_ms;	      /* of uv_now(); UINT64_MAX: never */
	uint64_t not_before_ms;	      /* no login before that */
	unsigned failures;	      /* in a row, of logins or renewals */
	unsigned logins, renewals;    /* since the start */
	char problem[512];
	struct vault_login_waiters waiters;
	struct vault_exchange *exchange, *check;
	struct deadline next; /* renewal, the next try, the token's end */
	struct deadline tell; /* the waiters, from the loop */
	void *context;
	void (*on_alarm)(void *context, const char *text);
	void (*on_new_token)(void *context); /* after the first: the old one will end */
	unsigned dependents; /* leases: they end with the token, which is not given back then */
	void (*on_stopped)(void *context);
};

/* A member of an operation with GROUP; on_alarm and context are set by the caller. */
void vault_login_init(struct vault_login *login, uv_loop_t *loop, struct vault_link *link,
	struct store *store, const char *set, struct handle_group *group);

/* Logs in now, without anybody waiting for it, unless there is a token or a pause. */
void vault_login_begin(struct vault_login *login);

/* WAITER is told once, never before this returns, as soon as there is a token, or that there is
 * none now. */
void vault_login_want(struct vault_login *login, struct vault_login_waiter *waiter);
void vault_login_forget(struct vault_login *login, struct vault_login_waiter *waiter);

/* A request with TOKEN was answered by 403. WAITER is told the same token if the server still knows
 * it (then it may not do what was asked), another one, or none. */
void vault_login_check(
	struct vault_login *login, struct vault_token *token, struct vault_login_waiter *waiter);

/* Gives the token back unless something depends on it, and calls ON_STOPPED (never before this returns), at once where there is
 * none of ours. Then, or instead: close. */
void vault_login_stop(struct vault_login *login, void (*on_stopped)(void *context));
void vault_login_close(struct vault_login *login);
