/* Reading an entry: a token, the kind of the mount, the request, and what to do when it fails. */
#include "daemon/broker/vault/vault_backend.h"

#include "daemon/broker/loop/backoff.h"
#include "proto/cleanup.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECKS_MAX 2 /* of tokens in one reading */
#define TRY_LIMIT_MS \
	4500 /* after a boot there is more time than that; not for a server that hangs
			     when the value is known */

static void want_token(struct vault_entry *entry);

/* ---- The end of a reading. ---- */

/* What there is, or that there is none, as the readers are told. */
static int status_of(struct vault_entry *entry)
{
	const struct vault_backend *backend = entry->backend;

	if (!entry->value || !entry->value->is_missing)
		return 0;
	return error_set(&entry->err, -ENOENT, "%s has no secret at %s/%s",
		backend->link.addresses[0].url, backend->config->mount, entry->path);
}

static void on_step(struct deadline *deadline);

static void tell(struct vault_entry *entry)
{
	struct vault_readers told;
	struct vault_reader *reader;

	/* Held: what is told may close everything. */
	handle_group_hold(&entry->handles);
	TAILQ_INIT(&told);
	TAILQ_CONCAT(&told, &entry->readers, entry);
	while ((reader = TAILQ_FIRST(&told))) {
		struct vault_value *value =
			entry->status == 0 && entry->value ? vault_value_ref(entry->value) : NULL;

		TAILQ_REMOVE(&told, reader, entry);
		reader->of = NULL;
		if (value && entry->is_unconfirmed)
			entry->backend->served_stale++;
		reader->on_value(reader,
			value		? 0
			: entry->status ? entry->status
					: -ENOMEM,
			value, entry->is_unconfirmed, &entry->err);
		vault_value_unref(value);
	}
	handle_group_release(&entry->handles);
}

static void finish(struct vault_entry *entry, int status)
{
	entry->is_under_way = entry->awaits_cache = false;
	entry->status = status;
	vault_token_unref(entry->token);
	entry->token = NULL;
	deadline_cancel(&entry->step);
	deadline_cancel(&entry->limit);
	tell(entry);
}

static int64_t age_s(const struct vault_value *value)
{
	const int64_t age = (int64_t)time(NULL) - value->fetched_unix_s;

	/* A clock that was put back makes nothing younger than it is: as old as can be. */
	return age < 0 ? INT64_MAX : age;
}

static bool is_good_enough(const struct vault_entry *entry, const struct vault_value *value)
{
	return value && age_s(value) <= (int64_t)entry->backend->config->max_stale_s;
}

/* ---- When no server has answered. ---- */

static void give_up(struct vault_entry *entry)
{
	/* ERR says what the last try came to. */
	char why[400];

	(void)snprintf(why, sizeof why, "%.399s", entry->err.text);
	(void)error_set(
		&entry->err, -EHOSTDOWN, "%s, and nothing is cached; see `mayfly status`", why);
	finish(entry, -EHOSTDOWN);
}

static void try_again(struct vault_entry *entry)
{
	const uint64_t now = uv_now(entry->backend->loop);
	const uint64_t asked_ms = entry->retry_after_s * UINT64_C(1000);
	uint64_t pause = backoff_ms(entry->attempts, BACKOFF_ADDRESS_CAP_MS, randombytes_random());

	if (pause < asked_ms)
		pause = asked_ms;
	if (now + pause < entry->ends_ms)
		deadline_arm(&entry->step, pause);
	else
		give_up(entry);
}

static void on_cached(void *context, struct vault_value *value)
{
	struct vault_entry *entry = context;
	struct handle_group *handles = &entry->handles;
	/* Not the answer for a reading that has ended, or for one that began since. */
	const bool is_awaited = !handles->is_ending && entry->is_under_way && entry->awaits_cache;

	if (is_awaited)
		entry->awaits_cache = false;
	if (!is_awaited || !is_good_enough(entry, value)) {
		vault_value_unref(value);
		if (is_awaited)
			try_again(entry);
	} else {
		vault_value_unref(entry->value);
		entry->value = value;
		entry->is_unconfirmed = true;
		finish(entry, status_of(entry));
	}
	handle_group_release(handles);
}

void vault_entry_fail(struct vault_entry *entry, const char *text, uint32_t retry_after_s)
{
	struct vault_backend *backend = entry->backend;
	char name[VAULT_CACHE_NAME_SIZE];

	entry->retry_after_s = retry_after_s;
	entry->attempts++;
	(void)error_set(&entry->err, -EHOSTDOWN, "%s", text);
	if (is_good_enough(entry, entry->value)) {
		entry->is_unconfirmed = true;
		finish(entry, status_of(entry));
		return;
	}
	if (!backend->config->is_cached || entry->is_cache_asked) {
		try_again(entry);
		return;
	}
	entry->is_cache_asked = entry->awaits_cache = true;
	vault_cache_name(name, backend->set, backend->config, entry->path, entry->version);
	handle_group_hold(&entry->handles);
	if (vault_cache_get(backend->cache, name, entry, on_cached) < 0) {
		handle_group_release(&entry->handles);
		entry->awaits_cache = false;
		try_again(entry);
	}
}

/* ---- Answers. ---- */

static int hold_map(struct vault_entry *entry, const struct vault_kv_answer *kv)
{
	struct vault_value *value = calloc(1, sizeof *value);
	AUTO_SECRET map = { 0 };
	int r = value ? secret_new(entry->backend->arena, kv->map.length, &map, &entry->err)
		      : error_errno(&entry->err, -ENOMEM, "hold a secret");

	if (r == 0) {
		memcpy(map.bytes, kv->map.text, kv->map.length);
		r = held_value_seal(entry->backend->keeper, &map, &value->map, &entry->err);
	}
	if (r < 0) {
		free(value);
		return r;
	}
	value->refs = 1;
	value->version = kv->version;
	value->fetched_unix_s = time(NULL);
	vault_entry_take_value(entry, value);
	return 0;
}

static int hold_missing(struct vault_entry *entry)
{
	struct vault_value *value = calloc(1, sizeof *value);

	if (!value)
		return error_errno(&entry->err, -ENOMEM, "remember that there is no secret");
	value->refs = 1;
	value->is_missing = true;
	value->fetched_unix_s = time(NULL);
	vault_entry_take_value(entry, value);
	/* Whoever has just written it does not want to wait. */
	entry->fresh_until_ms = 0;
	return status_of(entry);
}

static void on_found(struct vault_entry *entry, const struct vault_answer *answer)
{
	const struct vault_backend *backend = entry->backend;
	struct vault_kv_answer kv;

	if (!vault_answer_kv(answer, backend->kv_version, &kv)) {
		if (answer->outcome == VAULT_NOT_FOUND) {
			vault_entry_drop_value(entry);
			finish(entry, hold_missing(entry));
		} else {
			vault_entry_fail(entry, "the server's answer is no secret", 0);
		}
		return;
	}
	if (kv.is_deleted || kv.is_destroyed) {
		vault_entry_drop_value(entry);
		finish(entry,
			error_set(&entry->err, -EIDRM, "version %u of %s/%s on %s was %s%s",
				kv.version, backend->config->mount, entry->path,
				backend->link.addresses[0].url,
				kv.is_destroyed ? "destroyed" : "deleted",
				kv.is_destroyed ? ": write it anew, or name another version"
						: ": undelete it there, or name another version"));
		return;
	}
	finish(entry, hold_map(entry, &kv));
}

static void explain(struct vault_entry *entry, const struct vault_answer *answer)
{
	const char *url = entry->backend->link.addresses[0].url;
	char text[400];

	if (answer->error == -ETIMEDOUT || answer->outcome == VAULT_EXPIRED)
		(void)snprintf(text, sizeof text, "%s gave no answer in %u s", url,
			(entry->limit_ms + 999) / 1000);
	else
		(void)snprintf(text, sizeof text, "%s: %s", url, answer->text);
	vault_entry_fail(entry, text, answer->retry_after_s);
}

static void on_checked(struct vault_login_waiter *waiter, struct vault_token *token,
	bool is_refused, const char *problem)
{
	struct vault_entry *entry = container_of(waiter, struct vault_entry, login);
	const struct vault_backend *backend = entry->backend;

	(void)is_refused;
	if (!token) {
		vault_entry_fail(entry, problem[0] ? problem : "there is no token", 0);
	} else if (token != entry->token) {
		want_token(entry);
	} else {
		vault_entry_drop_value(entry);
		finish(entry, error_set(&entry->err, -EACCES,
				      "%s does not let set %s read %s/%s: its token's policies "
				      "must allow "
				      "it",
				      backend->link.addresses[0].url, backend->set,
				      backend->config->mount, entry->path));
	}
}

static void on_denied(struct vault_entry *entry)
{
	/* Expired, or not allowed: the server says the same. */
	if (entry->checks++ >= CHECKS_MAX) {
		vault_entry_fail(entry, "the server refuses every token that it gives", 0);
		return;
	}
	entry->login.on_token = on_checked;
	vault_login_check(&entry->backend->login, entry->token, &entry->login);
}

static void on_answer(void *context, const struct vault_answer *answer)
{
	struct vault_entry *entry = context;

	entry->exchange = NULL;
	switch (answer->outcome) {
	case VAULT_OK:
	case VAULT_NOT_FOUND:
		on_found(entry, answer);
		break;
	case VAULT_DENIED:
		on_denied(entry);
		break;
	default:
		/* A mount that is being upgraded says 400: also only for now. */
		explain(entry, answer);
		break;
	}
}

/* ---- Asking. ---- */

static int ask(struct vault_entry *entry, const char *method, const char *path,
	struct vault_exchange **ret_exchange, void *context,
	void (*on_answered)(void *, const struct vault_answer *))
{
	const uint64_t now = uv_now(entry->backend->loop);
	const uint64_t left_ms = entry->ends_ms > now ? entry->ends_ms - now : 1;
	const struct vault_request request = { .method = method,
		.path = path,
		.token = entry->token,
		.timeout_ms = (uint32_t)(left_ms < TRY_LIMIT_MS ? left_ms : TRY_LIMIT_MS),
		.context = context,
		.on_answer = on_answered };

	return vault_link_send(&entry->backend->link, &request, ret_exchange);
}

static void on_mount(void *context, const struct vault_answer *answer)
{
	struct vault_backend *backend = context;
	/* To one path; others may be allowed to the same token. */
	const bool is_denied =
		answer->outcome == VAULT_DENIED || answer->outcome == VAULT_NOT_FOUND;
	struct vault_entry *entry;
	char text[300] = "";

	backend->mount = NULL;
	backend->kv_version = vault_answer_kv_version(answer);
	if (answer->outcome == VAULT_OK && backend->kv_version == 0)
		(void)snprintf(text, sizeof text, "%s: '%s' is no KV secrets engine",
			backend->link.addresses[0].url, backend->config->mount);
	/* From the beginning each time: each may end others. */
again:
	TAILQ_FOREACH(entry, &backend->entries, entry)
	{
		const bool has_asked = entry->asks_mount;

		/* BACKEND->mount: asked anew, in this loop. */
		if (!entry->waits_for_mount || (entry->asks_mount && backend->mount))
			continue;
		entry->waits_for_mount = entry->asks_mount = false;
		if (backend->kv_version || (is_denied && !has_asked && !backend->mount))
			vault_entry_go_on(entry);
		else if (is_denied && !has_asked)
			entry->waits_for_mount = true;
		else if (is_denied)
			on_denied(entry);
		else if (text[0])
			vault_entry_fail(entry, text, 0);
		else
			explain(entry, answer);
		if (!entry->waits_for_mount)
			goto again;
	}
}

static void ask_mount(struct vault_entry *entry)
{
	struct vault_backend *backend = entry->backend;
	char path[VAULT_PATH_SIZE + 320];

	entry->waits_for_mount = true;
	if (backend->mount)
		return;
	entry->asks_mount = true;
	(void)snprintf(path, sizeof path, "sys/internal/ui/mounts/%s/%s", backend->config->mount,
		entry->path);
	if (ask(entry, "GET", path, &backend->mount, backend, on_mount) < 0) {
		entry->waits_for_mount = entry->asks_mount = false;
		vault_entry_fail(entry, "there is no memory to ask", 0);
	}
}

void vault_entry_go_on(struct vault_entry *entry)
{
	char path[VAULT_PATH_SIZE + 320];

	if (entry->backend->kv_version == 0) {
		ask_mount(entry);
		return;
	}
	if (vault_entry_url(entry, "data", path, sizeof path) < 0 ||
		ask(entry, "GET", path, &entry->exchange, entry, on_answer) < 0)
		vault_entry_fail(entry, "there is no memory to ask", 0);
}

static void on_token(struct vault_login_waiter *waiter, struct vault_token *token, bool is_refused,
	const char *problem)
{
	struct vault_entry *entry = container_of(waiter, struct vault_entry, login);

	(void)is_refused;
	if (!token) {
		vault_entry_fail(entry, problem, 0);
		return;
	}
	vault_token_unref(entry->token);
	entry->token = vault_token_ref(token);
	vault_entry_go_on(entry);
}

static void want_token(struct vault_entry *entry)
{
	entry->login.on_token = on_token;
	vault_login_want(&entry->backend->login, &entry->login);
}

/* The next try; or there is something to tell without asking anybody. */
static void on_step(struct deadline *deadline)
{
	struct vault_entry *entry = container_of(deadline, struct vault_entry, step);

	if (entry->is_under_way)
		want_token(entry);
	else
		tell(entry);
}

static void stop_asking(struct vault_entry *entry)
{
	vault_login_forget(&entry->backend->login, &entry->login);
	if (entry->exchange)
		vault_exchange_cancel(entry->exchange);
	entry->exchange = NULL;
	entry->waits_for_mount = entry->asks_mount = false;
}

static void on_limit(struct deadline *deadline)
{
	struct vault_entry *entry = container_of(deadline, struct vault_entry, limit);
	const struct vault_backend *backend = entry->backend;
	char text[400];

	/* The store's answer ends it. */
	if (entry->awaits_cache)
		return;
	stop_asking(entry);
	if (backend->login.problem[0])
		(void)snprintf(text, sizeof text, "%.390s", backend->login.problem);
	else
		(void)snprintf(text, sizeof text, "%s gave no answer in %u s",
			backend->link.addresses[0].url, (entry->limit_ms + 999) / 1000);
	vault_entry_fail(entry, text, 0);
}

void vault_read(struct vault_backend *backend, const char *path, uint32_t version,
	uint32_t limit_ms, struct vault_reader *reader)
{
	struct vault_entry *entry = vault_entry_get(backend, path, version);

	/* Without memory for this little nothing else goes on, either. */
	assert(entry);
	uv_update_time(backend->loop);
	TAILQ_INSERT_TAIL(&entry->readers, reader, entry);
	reader->of = entry;
	if (entry->is_under_way)
		return;
	if (entry->value && uv_now(backend->loop) < entry->fresh_until_ms) {
		entry->status = 0;
		entry->is_unconfirmed = false;
		deadline_arm(&entry->step, 0);
		return;
	}
	/* Whoever was to be told what was fresh until now is told with the others. */
	deadline_cancel(&entry->step);
	entry->is_under_way = true;
	entry->is_cache_asked = entry->awaits_cache = false;
	entry->attempts = entry->checks = 0;
	entry->limit_ms = limit_ms;
	entry->ends_ms = uv_now(backend->loop) + limit_ms;
	/* A request's own limit comes first. */
	deadline_arm(&entry->limit, limit_ms + 100);
	want_token(entry);
}

void vault_reader_forget(struct vault_reader *reader)
{
	if (reader->of)
		TAILQ_REMOVE(&reader->of->readers, reader, entry);
	reader->of = NULL;
}

void vault_entry_init_reading(struct vault_entry *entry)
{
	deadline_init(&entry->step, entry->backend->loop, &entry->handles, on_step);
	deadline_init(&entry->limit, entry->backend->loop, &entry->handles, on_limit);
}

/* Whoever waits is told, or would wait for ever. */
void vault_entry_end_reading(struct vault_entry *entry)
{
	stop_asking(entry);
	(void)error_set(&entry->err, -ECANCELED, "set %s has just been configured anew; try again",
		entry->backend->set);
	entry->status = -ECANCELED;
	tell(entry);
	vault_token_unref(entry->token);
	entry->token = NULL;
	entry->is_under_way = entry->awaits_cache = false;
}
