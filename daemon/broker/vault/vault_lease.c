#include "daemon/broker/vault/vault_lease.h"

#include "daemon/broker/loop/backoff.h"
#include "daemon/broker/vault/vault_body.h"
#include "daemon/broker/vault/vault_sets.h"
#include "proto/cleanup.h"
#include "proto/json_member.h"
#include "proto/log.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LEASE_LIMIT_MS 10000
#define FACT_PREFIX    "vault.lease."
#define NAME_SIZE      64
#define LAST_RENEWAL_S 5

enum lease_state { LEASE_MAKING = 1, LEASE_SAVING, LEASE_HELD, LEASE_GIVING_BACK };

struct vault_lease {
	TAILQ_ENTRY(vault_lease) entry;
	struct handle_group handles;
	struct vault_leases *leases;
	enum lease_state state;
	char set[MAYFLY_SET_NAME_MAX + 1], path[VAULT_PATH_SIZE], holder[VAULT_HOLDER_SIZE];
	char id[VAULT_LEASE_ID_SIZE], name[NAME_SIZE]; /* of its row */
	struct vault_value *value;
	bool is_renewable, is_ending, is_released;
	uint32_t life_s, full_life_s;
	int64_t ends_unix_s;
	unsigned failures;
	struct vault_exchange *exchange;
	struct vault_login_waiter login;
	struct deadline next;
	struct work_item save;
	char *row; /* NULL: the row goes */
	int saved;
	struct mayfly_error err;
	void *context;
	void (*on_lease)(void *context, struct vault_lease *lease, int status,
		struct vault_value *value, const struct mayfly_error *err);
};

static void want_token(struct vault_lease *lease);

static void on_empty(struct handle_group *handles)
{
	struct vault_lease *lease = container_of(handles, struct vault_lease, handles);

	vault_value_unref(lease->value);
	free(lease->row);
	free(lease);
}

static struct vault_backend *backend_of(const struct vault_lease *lease)
{
	return vault_sets_find(lease->leases->sets, lease->set);
}

/* The token of the set must outlive what hangs on it. */
static void count_dependent(const struct vault_lease *lease, int change)
{
	struct vault_backend *backend = backend_of(lease);

	if (backend && (change > 0 || backend->login.dependents > 0))
		backend->login.dependents += (unsigned)change;
}

/* The lease is over, or the process is. */
static void end(struct vault_lease *lease)
{
	struct vault_backend *backend = backend_of(lease);

	if (!handle_group_end(&lease->handles))
		return;
	TAILQ_REMOVE(&lease->leases->leases, lease, entry);
	if (backend)
		vault_login_forget(&backend->login, &lease->login);
	if (lease->exchange)
		vault_exchange_cancel(lease->exchange);
	lease->exchange = NULL;
	deadline_close(&lease->next);
	handle_group_release(&lease->handles);
}

/* ---- Rows. ---- */

static void run_save(struct work_item *work)
{
	struct vault_lease *lease = container_of(work, struct vault_lease, save);
	struct state_db *state = lease->leases->state;

	lease->saved = lease->row ? state_db_fact_put(state, lease->name, lease->row, &lease->err)
				  : state_db_fact_remove(state, lease->name, &lease->err);
}

static char *row_text(const struct vault_lease *lease)
{
	json_t *row = json_pack("{s:s, s:s, s:s, s:s, s:I, s:b, s:b}", "id", lease->id, "set",
		lease->set, "path", lease->path, "holder", lease->holder, "ends",
		(json_int_t)lease->ends_unix_s, "renewable", lease->is_renewable, "released",
		lease->is_released);
	char *text = row ? json_dumps(row, JSON_COMPACT) : NULL;

	json_decref(row);
	return text;
}

/* One at a time for a lease: LEASE is held until it is done. */
static void save(struct vault_lease *lease, bool keep, void (*on_done)(struct work_item *, bool))
{
	free(lease->row);
	lease->row = keep ? row_text(lease) : NULL;
	lease->save.run = run_save;
	lease->save.on_done = on_done;
	handle_group_hold(&lease->handles);
	serial_queue_add(&lease->leases->savings, &lease->save);
}

static void on_row_gone(struct work_item *work, bool is_abandoned)
{
	struct vault_lease *lease = container_of(work, struct vault_lease, save);

	(void)is_abandoned;
	end(lease);
	handle_group_release(&lease->handles);
}

/* ---- Giving back. ---- */

static void wait_a_while(struct vault_lease *lease, uint64_t cap_ms)
{
	lease->failures++;
	deadline_arm(&lease->next, backoff_ms(lease->failures, cap_ms, randombytes_random()));
}

static void on_revoked(void *context, const struct vault_answer *answer)
{
	struct vault_lease *lease = context;

	lease->exchange = NULL;
	/* A token that may not revoke leaves it to the end of its time; so does a refusal. */
	if (answer->outcome == VAULT_OK || answer->outcome == VAULT_REFUSED ||
		time(NULL) >= lease->ends_unix_s) {
		save(lease, false, on_row_gone);
		return;
	}
	if (answer->outcome == VAULT_DENIED && lease->failures == 0)
		log_warning("set %s: the token may not revoke leases: let its policies `update` "
			    "sys/leases/revoke",
			lease->set);
	wait_a_while(lease, BACKOFF_LOGIN_CAP_MS);
}

/* ---- Renewing. ---- */

static void ending(struct vault_lease *lease)
{
	if (lease->is_ending)
		return;
	lease->is_ending = true;
	lease->leases->on_ending(lease->leases->context, lease);
}

static void schedule(struct vault_lease *lease)
{
	/* At its maximum it is renewed by nothing: no loop of that. */
	if (lease->is_ending && lease->life_s < LAST_RENEWAL_S)
		return;
	lease->failures = 0;
	lease->ends_unix_s = time(NULL) + lease->life_s;
	deadline_arm(
		&lease->next, renew_after_ms(lease->life_s * UINT64_C(1000), randombytes_random()));
}

static bool lease_numbers(
	struct vault_lease *lease, const struct vault_answer *answer, uint32_t *ret_life_s)
{
	struct json_slice slice;
	int64_t number;

	if (!json_slice_member(answer->document, "lease_duration", &slice) ||
		!json_slice_integer(slice, &number) || number < 1 || number > UINT32_MAX / 2)
		return false;
	lease->is_renewable = json_slice_member(answer->document, "renewable", &slice) &&
			      json_slice_kind(slice) == JSON_SLICE_TRUE;
	*ret_life_s = (uint32_t)number;
	return true;
}

static void on_renewed(void *context, const struct vault_answer *answer)
{
	struct vault_lease *lease = context;
	uint32_t life_s;

	lease->exchange = NULL;
	if (answer->outcome == VAULT_OK && lease_numbers(lease, answer, &life_s)) {
		lease->life_s = life_s;
		if (lease->full_life_s == 0)
			lease->full_life_s = life_s;
		schedule(lease);
		/* Capped: near its maximum it is renewed by less each time. The first time that it
		 * is leaves the holder most of a life to get another. */
		if (life_s * UINT64_C(10) < lease->full_life_s * UINT64_C(9))
			ending(lease);
	} else if (vault_outcome_is_transient(answer->outcome) && time(NULL) < lease->ends_unix_s) {
		wait_a_while(lease, BACKOFF_ADDRESS_CAP_MS);
	} else {
		ending(lease);
	}
}

/* ---- Making. ---- */

static void fail(struct vault_lease *lease, int status, const char *text)
{
	struct mayfly_error err;

	(void)error_set(&err, status, "set %s, %s: %s", lease->set, lease->path, text);
	if (!lease->is_released)
		lease->on_lease(lease->context, lease, status, NULL, &err);
	end(lease);
}

static void on_saved(struct work_item *work, bool is_abandoned)
{
	struct vault_lease *lease = container_of(work, struct vault_lease, save);
	struct handle_group *handles = &lease->handles;

	if (is_abandoned || handles->is_ending) {
		handle_group_release(handles);
		return;
	}
	if (lease->is_released || lease->saved < 0) {
		/* Without a row nobody would take it back after us: it is not given out. */
		lease->state = LEASE_GIVING_BACK;
		if (!lease->is_released) {
			lease->is_released = true;
			lease->on_lease(lease->context, lease, lease->saved, NULL, &lease->err);
		}
		want_token(lease);
	} else {
		lease->state = LEASE_HELD;
		count_dependent(lease, 1);
		schedule(lease);
		lease->on_lease(lease->context, lease, 0, lease->value, NULL);
	}
	handle_group_release(handles);
}

static int hold(struct vault_lease *lease, struct json_slice data)
{
	struct vault_backend *backend = backend_of(lease);
	AUTO_SECRET map = { 0 };

	lease->value = calloc(1, sizeof *lease->value);
	if (!lease->value || !backend)
		return -ENOMEM;
	lease->value->refs = 1;
	lease->value->fetched_unix_s = time(NULL);
	if (secret_new(backend->arena, data.length, &map, NULL) < 0)
		return -ENOMEM;
	memcpy(map.bytes, data.text, data.length);
	return held_value_seal(backend->keeper, &map, &lease->value->map, NULL);
}

static void on_made(void *context, const struct vault_answer *answer)
{
	struct vault_lease *lease = context;
	struct json_slice data, id;

	lease->exchange = NULL;
	if (answer->outcome != VAULT_OK) {
		fail(lease,
			answer->outcome == VAULT_DENIED		      ? -EACCES
			: vault_outcome_is_transient(answer->outcome) ? -EHOSTDOWN
								      : -EINVAL,
			answer->text);
		return;
	}
	if (!json_slice_member(answer->document, "lease_id", &id) ||
		!json_slice_text(id, lease->id, sizeof lease->id) || !lease->id[0] ||
		!json_slice_member(answer->document, "data", &data) ||
		json_slice_kind(data) != JSON_SLICE_OBJECT ||
		!lease_numbers(lease, answer, &lease->life_s)) {
		fail(lease, -EINVAL, "what lies there is no lease");
		return;
	}
	lease->full_life_s = lease->life_s;
	lease->ends_unix_s = time(NULL) + lease->life_s;
	if (hold(lease, data) < 0)
		lease->is_released = true; /* it is there: it must be given back */
	lease->state = LEASE_SAVING;
	save(lease, true, on_saved);
}

/* ---- Requests. ---- */

static int make_body(const struct vault_lease *lease, struct arena *arena, struct secret *ret_body)
{
	char increment[24];
	const int length = snprintf(increment, sizeof increment, "%u", lease->full_life_s);
	const struct vault_field fields[] = {
		{ .key = "lease_id", .bytes = lease->id, .length = strlen(lease->id) },
		{ .key = "increment",
			.bytes = increment,
			.length = (size_t)length,
			.is_raw = true },
	};

	return vault_body_make(arena, fields,
		lease->state == LEASE_HELD && lease->full_life_s ? 2 : 1, ret_body, NULL);
}

static void on_token(struct vault_login_waiter *waiter, struct vault_token *token, bool is_refused,
	const char *problem)
{
	struct vault_lease *lease = container_of(waiter, struct vault_lease, login);
	struct vault_backend *backend = backend_of(lease);
	const bool is_making = lease->state == LEASE_MAKING;
	AUTO_SECRET body = { 0 };
	const struct vault_request request = { .method = is_making ? "GET" : "PUT",
		.path = is_making		     ? lease->path
			: lease->state == LEASE_HELD ? "sys/leases/renew"
						     : "sys/leases/revoke",
		.token = token,
		.body = &body,
		.timeout_ms = LEASE_LIMIT_MS,
		.is_once = is_making, /* each makes another user */
		.context = lease,
		.on_answer = is_making			  ? on_made
			     : lease->state == LEASE_HELD ? on_renewed
							  : on_revoked };

	(void)is_refused;
	if (token && (is_making || make_body(lease, backend->arena, &body) == 0) &&
		vault_link_send(&backend->link, &request, &lease->exchange) == 0)
		return;
	if (is_making)
		fail(lease, -EHOSTDOWN, token ? "there is no memory to ask" : problem);
	else
		wait_a_while(lease, BACKOFF_ADDRESS_CAP_MS);
}

static void want_token(struct vault_lease *lease)
{
	struct vault_backend *backend = backend_of(lease);

	lease->login.on_token = on_token;
	if (backend)
		vault_login_want(&backend->login, &lease->login);
	else
		/* Its set is gone from the configuration: it may come again. */
		wait_a_while(lease, BACKOFF_LOGIN_CAP_MS);
}

static void on_next(struct deadline *deadline)
{
	struct vault_lease *lease = container_of(deadline, struct vault_lease, next);

	if (lease->login.is_waiting || lease->exchange)
		return;
	if (lease->state == LEASE_HELD && !lease->is_renewable)
		ending(lease);
	else if (lease->state == LEASE_GIVING_BACK && time(NULL) >= lease->ends_unix_s)
		save(lease, false, on_row_gone);
	else
		want_token(lease);
}

/* ---- The way in and out. ---- */

static struct vault_lease *lease_new(struct vault_leases *leases, enum lease_state state)
{
	struct vault_lease *lease = calloc(1, sizeof *lease);

	if (!lease)
		return NULL;
	lease->leases = leases;
	lease->state = state;
	handle_group_init(&lease->handles, on_empty);
	deadline_init(&lease->next, leases->loop, &lease->handles, on_next);
	TAILQ_INSERT_TAIL(&leases->leases, lease, entry);
	return lease;
}

static void name_row(struct vault_lease *lease)
{
	unsigned char random[16];
	char hex[2 * sizeof random + 1];

	randombytes_buf(random, sizeof random);
	(void)sodium_bin2hex(hex, sizeof hex, random, sizeof random);
	(void)snprintf(lease->name, sizeof lease->name, FACT_PREFIX "%s", hex);
}

int vault_lease_acquire(struct vault_leases *leases, const char *set, const char *path,
	const char *holder, void *context,
	void (*on_lease)(void *context, struct vault_lease *lease, int status,
		struct vault_value *value, const struct mayfly_error *err),
	struct vault_lease **ret_lease, struct mayfly_error *err)
{
	struct vault_lease *lease;

	if (!vault_sets_find(leases->sets, set) || strlen(path) >= sizeof lease->path ||
		strlen(holder) >= sizeof lease->holder)
		return error_set(err, -EINVAL, "set %s cannot be asked for %s", set, path);
	lease = lease_new(leases, LEASE_MAKING);
	if (!lease)
		return error_errno(err, -ENOMEM, "ask for %s", path);
	(void)snprintf(lease->set, sizeof lease->set, "%s", set);
	(void)snprintf(lease->path, sizeof lease->path, "%s", path);
	(void)snprintf(lease->holder, sizeof lease->holder, "%s", holder);
	name_row(lease);
	lease->context = context;
	lease->on_lease = on_lease;
	want_token(lease);
	*ret_lease = lease;
	return 0;
}

const char *vault_lease_holder(const struct vault_lease *lease)
{
	return lease->holder;
}

void vault_lease_release(struct vault_lease *lease)
{
	struct vault_backend *backend = backend_of(lease);

	lease->is_released = true;
	/* One that is still being made is given back once it is there. */
	if (lease->state != LEASE_HELD)
		return;
	lease->state = LEASE_GIVING_BACK;
	lease->failures = 0;
	count_dependent(lease, -1);
	if (backend)
		vault_login_forget(&backend->login, &lease->login);
	if (lease->exchange)
		vault_exchange_cancel(lease->exchange);
	lease->exchange = NULL;
	deadline_arm(&lease->next, 0);
}

static void recover(struct vault_leases *leases, const char *name, json_t *row,
	bool (*is_held)(void *context, const char *holder),
	void (*on_adopted)(void *context, struct vault_lease *lease))
{
	const bool keeps = !json_is_true(json_object_get(row, "released")) &&
			   is_held(leases->context, json_text(row, "holder"));
	struct vault_lease *lease = lease_new(leases, keeps ? LEASE_HELD : LEASE_GIVING_BACK);

	if (!lease)
		return;
	(void)snprintf(lease->name, sizeof lease->name, "%s", name);
	(void)snprintf(lease->id, sizeof lease->id, "%s", json_text(row, "id"));
	(void)snprintf(lease->set, sizeof lease->set, "%s", json_text(row, "set"));
	(void)snprintf(lease->path, sizeof lease->path, "%s", json_text(row, "path"));
	(void)snprintf(lease->holder, sizeof lease->holder, "%s", json_text(row, "holder"));
	lease->ends_unix_s = json_integer_value(json_object_get(row, "ends"));
	lease->is_renewable = json_is_true(json_object_get(row, "renewable"));
	lease->is_released = !keeps;
	/* How long it lives is not known: the first renewal says it. */
	deadline_arm(&lease->next, 0);
	if (keeps) {
		count_dependent(lease, 1);
		on_adopted(leases->context, lease);
		ending(lease);
	}
}

int vault_leases_recover(struct vault_leases *leases,
	bool (*is_held)(void *context, const char *holder),
	void (*on_adopted)(void *context, struct vault_lease *lease), struct mayfly_error *err)
{
	json_t *rows = NULL, *value;
	const char *name;
	const int r = state_db_facts(leases->state, FACT_PREFIX, &rows, err);

	if (r < 0)
		return r;
	json_object_foreach (rows, name, value) {
		json_t *row = json_loads(json_string_value(value), 0, NULL);

		if (row)
			recover(leases, name, row, is_held, on_adopted);
		json_decref(row);
	}
	json_decref(rows);
	return 0;
}

size_t vault_leases_pending(const struct vault_leases *leases)
{
	const struct vault_lease *lease;
	size_t count = 0;

	TAILQ_FOREACH(lease, &leases->leases, entry)
	count += lease->state == LEASE_GIVING_BACK;
	return count;
}

static void on_new_token(void *context, const char *set)
{
	struct vault_leases *leases = context;
	struct vault_lease *lease, *next;

	for (lease = TAILQ_FIRST(&leases->leases); lease; lease = next) {
		next = TAILQ_NEXT(lease, entry);
		if (lease->state == LEASE_HELD && strcmp(lease->set, set) == 0)
			ending(lease);
	}
}

void vault_leases_init(struct vault_leases *leases)
{
	leases->sets->leases = leases;
	leases->sets->on_new_token = on_new_token;
	TAILQ_INIT(&leases->leases);
	serial_queue_init(&leases->savings, leases->loop);
}

void vault_leases_close(struct vault_leases *leases)
{
	struct vault_lease *lease;

	while ((lease = TAILQ_FIRST(&leases->leases)))
		end(lease);
}
