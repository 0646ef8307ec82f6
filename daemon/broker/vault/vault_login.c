#include "daemon/broker/vault/vault_login.h"

#include "daemon/broker/loop/backoff.h"
#include "daemon/broker/vault/vault_body.h"
#include "proto/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOGIN_TIMEOUT_MS  5000
#define REVOKE_TIMEOUT_MS 300
#define PATH(...)	  ((const char *const[]){ __VA_ARGS__, NULL })
#define NEVER		  UINT64_MAX

static void start_login(struct vault_login *login);

static void add_waiter(struct vault_login *login, struct vault_login_waiter *waiter)
{
	assert(!waiter->is_waiting);
	TAILQ_INSERT_TAIL(&login->waiters, waiter, entry);
	waiter->is_waiting = true;
}

static bool is_own(const struct vault_login *login)
{
	/* A token from a file is somebody else's to give back. */
	return login->link->config->auth != VAULT_AUTH_TOKEN;
}

/* ---- Whoever waits. ---- */

static void on_tell(struct deadline *deadline)
{
	struct vault_login *login = container_of(deadline, struct vault_login, tell);
	struct vault_login_waiters told;
	struct vault_login_waiter *waiter;

	if (login->is_checking || (!login->token && login->is_working))
		return;
	/* Whoever comes while these are told waits for the next time. */
	TAILQ_INIT(&told);
	TAILQ_CONCAT(&told, &login->waiters, entry);
	while ((waiter = TAILQ_FIRST(&told))) {
		TAILQ_REMOVE(&told, waiter, entry);
		waiter->is_waiting = false;
		waiter->on_token(waiter, login->token, login->is_refused, login->problem);
	}
}

static void tell(struct vault_login *login)
{
	deadline_arm(&login->tell, 0);
}

void vault_login_begin(struct vault_login *login)
{
	if (!login->token && !login->is_working && !login->is_closed &&
		uv_now(login->loop) >= login->not_before_ms)
		start_login(login);
}

void vault_login_want(struct vault_login *login, struct vault_login_waiter *waiter)
{
	add_waiter(login, waiter);
	vault_login_begin(login);
	tell(login);
}

void vault_login_forget(struct vault_login *login, struct vault_login_waiter *waiter)
{
	if (waiter->is_waiting)
		TAILQ_REMOVE(&login->waiters, waiter, entry);
	waiter->is_waiting = false;
}

/* ---- Results. ---- */

static void drop_token(struct vault_login *login)
{
	vault_token_unref(login->token);
	login->token = NULL;
	login->expires_ms = 0;
}

/* The next try, after a failure. While the old token lives it serves on. */
static void fail(struct vault_login *login, bool is_refused, const char *text)
{
	const uint64_t now = uv_now(login->loop);
	uint64_t pause;

	login->is_working = false;
	login->is_refused = is_refused;
	login->failures++;
	pause = backoff_ms(login->failures,
		is_refused ? BACKOFF_LOGIN_CAP_MS : BACKOFF_ADDRESS_CAP_MS, randombytes_random());
	login->not_before_ms = now + pause;
	(void)snprintf(login->problem, sizeof login->problem, "%s", text);
	deadline_arm(&login->next, pause);
	tell(login);
}

static void schedule(struct vault_login *login)
{
	const uint64_t life_ms = login->life_s * UINT64_C(1000);

	if (login->life_s == 0) {
		login->expires_ms = NEVER;
		deadline_cancel(&login->next);
		return;
	}
	login->expires_ms = uv_now(login->loop) + life_ms;
	deadline_arm(&login->next, renew_after_ms(life_ms, randombytes_random()));
}

static void succeed(struct vault_login *login)
{
	login->is_working = false;
	login->is_refused = false;
	login->failures = 0;
	login->not_before_ms = 0;
	login->problem[0] = '\0';
	schedule(login);
	tell(login);
}

static int take_token(struct vault_login *login, struct json_slice text)
{
	struct vault_token *token = calloc(1, sizeof *token);
	const ssize_t length = json_slice_decode(text, NULL);

	if (!token || length <= 0 ||
		secret_new(login->link->arena, (size_t)length, &token->secret, NULL) < 0) {
		free(token);
		return -ENOMEM;
	}
	token->refs = 1;
	(void)json_slice_decode(text, (char *)token->secret.bytes);
	drop_token(login);
	login->token = token;
	return 0;
}

/* ---- Logging in. ---- */

static void explain(char *text, size_t size, const struct vault_login *login, const char *what,
	const struct vault_answer *answer)
{
	(void)snprintf(text, size, "%s %s: %s", login->link->addresses[0].url, what, answer->text);
}

static void on_logged_in(void *context, const struct vault_answer *answer)
{
	struct vault_login *login = context;
	struct vault_auth_answer auth;
	char text[512];

	login->exchange = NULL;
	if (answer->outcome == VAULT_OK && vault_answer_auth(answer, &auth) &&
		take_token(login, auth.token) == 0) {
		login->life_s = login->full_life_s = auth.lease_s;
		login->is_renewable = auth.is_renewable;
		login->logins++;
		succeed(login);
		if (login->logins > 1 && login->on_new_token)
			login->on_new_token(login->context);
		return;
	}
	explain(text, sizeof text, login,
		answer->outcome == VAULT_OK		      ? "gave no token for a login"
		: vault_outcome_is_transient(answer->outcome) ? "did not answer a login"
							      : "refuses the login",
		answer);
	fail(login, !vault_outcome_is_transient(answer->outcome), text);
}

/* Of method `token`: what is it worth? */
static void on_token_known(void *context, const struct vault_answer *answer)
{
	struct vault_login *login = context;
	struct json_slice ttl, renewable;
	int64_t seconds;
	char text[512];

	login->exchange = NULL;
	if (answer->outcome == VAULT_OK &&
		json_slice_path(answer->document, PATH("data", "ttl"), &ttl) &&
		json_slice_integer(ttl, &seconds) && seconds >= 0 && seconds < UINT32_MAX) {
		login->life_s = login->full_life_s = (uint32_t)seconds;
		login->is_renewable =
			json_slice_path(answer->document, PATH("data", "renewable"), &renewable) &&
			json_slice_kind(renewable) == JSON_SLICE_TRUE;
		login->logins++;
		succeed(login);
		return;
	}
	drop_token(login);
	explain(text, sizeof text, login,
		vault_outcome_is_transient(answer->outcome)
			? "did not answer"
			: "does not know the token of 'token_file' any more",
		answer);
	fail(login, !vault_outcome_is_transient(answer->outcome), text);
}

static int send_own(struct vault_login *login, const char *method, const char *path,
	struct secret *body, uint32_t timeout_ms,
	void (*on_answer)(void *, const struct vault_answer *))
{
	const struct vault_request request = { .method = method,
		.path = path,
		.token = login->token,
		.body = body,
		.timeout_ms = timeout_ms,
		.context = login,
		.on_answer = on_answer };

	return vault_link_send(login->link, &request, &login->exchange);
}

static void use_token_of_file(struct vault_login *login, struct secret *secret)
{
	struct vault_token *token = calloc(1, sizeof *token);

	if (!token) {
		fail(login, false, "there is no memory to log in");
		return;
	}
	token->refs = 1;
	token->secret = secret_take(secret);
	drop_token(login);
	login->token = token;
	if (send_own(login, "GET", "auth/token/lookup-self", NULL, LOGIN_TIMEOUT_MS,
		    on_token_known) < 0)
		fail(login, false, "there is no memory to log in");
}

static void on_credentials(
	void *context, int status, struct secret *secret, const struct mayfly_error *err)
{
	struct vault_login *login = context;
	char path[320];
	const struct vault_request request = { .method = "POST",
		.path = path,
		.body = secret,
		.timeout_ms = LOGIN_TIMEOUT_MS,
		.is_once = true, /* a secret_id may be good for one login */
		.context = login,
		.on_answer = on_logged_in };

	if (status < 0) {
		fail(login, status != -EAGAIN, err->text);
	} else if (!is_own(login)) {
		use_token_of_file(login, secret);
	} else {
		(void)snprintf(path, sizeof path, "auth/%s/login", login->link->config->auth_mount);
		if (vault_link_send(login->link, &request, &login->exchange) < 0)
			fail(login, false, "there is no memory to log in");
	}
}

static void start_login(struct vault_login *login)
{
	struct mayfly_error err;

	login->is_working = true;
	if (vault_credentials_get(&login->credentials, &err) < 0)
		fail(login, false, err.text);
}

/* ---- Renewing. ---- */

static void on_renewed(void *context, const struct vault_answer *answer)
{
	struct vault_login *login = context;
	struct vault_auth_answer auth;

	login->exchange = NULL;
	login->is_working = false;
	if (vault_answer_auth(answer, &auth)) {
		/* Near its end a token is renewed by less each time: another one, while this one
		 * still serves. */
		if (auth.lease_s * UINT64_C(10) < login->full_life_s * UINT64_C(9)) {
			start_login(login);
			return;
		}
		login->renewals++;
		login->life_s = auth.lease_s;
		if (auth.lease_s > login->full_life_s)
			login->full_life_s = auth.lease_s;
		succeed(login);
		return;
	}
	if (vault_outcome_is_transient(answer->outcome)) {
		fail(login, false, answer->text);
		return;
	}
	if (answer->outcome == VAULT_DENIED)
		drop_token(login);
	start_login(login);
}

static void renew(struct vault_login *login)
{
	AUTO_SECRET body = { 0 };
	int r = vault_body_make(login->link->arena, NULL, 0, &body, NULL);

	if (r == 0)
		r = send_own(login, "POST", "auth/token/renew-self", &body, LOGIN_TIMEOUT_MS,
			on_renewed);
	if (r < 0)
		fail(login, false, "there is no memory to renew the token");
	else
		login->is_working = true;
}

/* The time for the next step. */
static void on_next(struct deadline *deadline)
{
	struct vault_login *login = container_of(deadline, struct vault_login, next);

	if (login->is_working || login->is_closed)
		return;
	if (login->token && uv_now(login->loop) >= login->expires_ms)
		drop_token(login);
	if (login->token && login->is_renewable)
		renew(login);
	else
		start_login(login);
}

/* ---- A token that was refused. ---- */

static void on_checked(void *context, const struct vault_answer *answer)
{
	struct vault_login *login = context;

	login->check = NULL;
	login->is_checking = false;
	/* Meanwhile there may be another one, which is good. */
	if (answer->outcome == VAULT_DENIED && login->token == login->checked) {
		drop_token(login);
		if (!login->is_working && uv_now(login->loop) >= login->not_before_ms) {
			/* A server that gives tokens and knows none of them is not to be asked in a
			 * loop: this counts until a login has lasted. */
			login->failures++;
			login->not_before_ms = uv_now(login->loop) + backoff_ms(login->failures,
									     BACKOFF_LOGIN_CAP_MS,
									     randombytes_random());
			start_login(login);
		}
	}
	vault_token_unref(ptr_take(&login->checked));
	tell(login);
}

void vault_login_check(
	struct vault_login *login, struct vault_token *token, struct vault_login_waiter *waiter)
{
	const struct vault_request request = { .method = "GET",
		.path = "auth/token/lookup-self",
		.token = token,
		.timeout_ms = LOGIN_TIMEOUT_MS / 2,
		.context = login,
		.on_answer = on_checked };

	add_waiter(login, waiter);
	if (login->token == token && !login->is_checking &&
		vault_link_send(login->link, &request, &login->check) == 0) {
		login->is_checking = true;
		login->checked = vault_token_ref(token);
	}
	tell(login);
}

/* ---- The end. ---- */

static void on_revoked(void *context, const struct vault_answer *answer)
{
	struct vault_login *login = context;

	(void)answer;
	login->exchange = NULL;
	login->on_stopped(login->context);
}

static void on_nothing_to_revoke(struct deadline *deadline)
{
	struct vault_login *login = container_of(deadline, struct vault_login, tell);

	login->on_stopped(login->context);
}

void vault_login_stop(struct vault_login *login, void (*on_stopped)(void *context))
{
	AUTO_SECRET body = { 0 };

	login->on_stopped = on_stopped;
	login->is_closed = true;
	deadline_cancel(&login->next);
	vault_credentials_close(&login->credentials);
	if (login->exchange)
		vault_exchange_cancel(login->exchange);
	login->exchange = NULL;
	login->tell.on_passed = on_nothing_to_revoke;
	if (login->token && is_own(login) && login->dependents == 0 &&
		vault_body_make(login->link->arena, NULL, 0, &body, NULL) == 0 &&
		send_own(login, "POST", "auth/token/revoke-self", &body, REVOKE_TIMEOUT_MS,
			on_revoked) == 0) {
		deadline_cancel(&login->tell);
		return;
	}
	deadline_arm(&login->tell, 0);
}

void vault_login_close(struct vault_login *login)
{
	login->is_closed = true;
	vault_credentials_close(&login->credentials);
	if (login->exchange)
		vault_exchange_cancel(login->exchange);
	if (login->check)
		vault_exchange_cancel(login->check);
	login->exchange = login->check = NULL;
	vault_token_unref(ptr_take(&login->checked));
	drop_token(login);
	deadline_close(&login->next);
	deadline_close(&login->tell);
}

static void on_alarm(void *context, const char *text)
{
	struct vault_login *login = context;

	login->on_alarm(login->context, text);
}

void vault_login_init(struct vault_login *login, uv_loop_t *loop, struct vault_link *link,
	struct store *store, const char *set, struct handle_group *group)
{
	login->loop = loop;
	login->link = link;
	TAILQ_INIT(&login->waiters);
	vault_credentials_init(&login->credentials, link, store, set, group);
	login->credentials.context = login;
	login->credentials.on_ready = on_credentials;
	login->credentials.on_alarm = on_alarm;
	deadline_init(&login->next, loop, group, on_next);
	deadline_init(&login->tell, loop, group, on_tell);
}
