#include "daemon/broker/vault/vault_sets.h"

#include <errno.h>
#include <string.h>
#include <time.h>

void vault_sets_init(struct vault_sets *sets)
{
	TAILQ_INIT(&sets->backends);
	vault_cache_init(&sets->cache, sets->loop, sets->store, sets->arena, sets->keeper);
}

struct vault_backend *vault_sets_find(const struct vault_sets *sets, const char *set)
{
	struct vault_backend *backend;

	TAILQ_FOREACH(backend, &sets->backends, entry)
	if (strcmp(backend->set, set) == 0)
		return backend;
	return NULL;
}

static void on_alarm(void *context, const char *text)
{
	struct vault_sets *sets = context;

	sets->on_alarm(sets->context, text);
}

static void on_changed(void *context, const char *set, const char *path, uint32_t version)
{
	struct vault_sets *sets = context;

	if (sets->on_changed)
		sets->on_changed(sets->context, set, path, version);
}

static void on_new_token(void *context, const char *set)
{
	struct vault_sets *sets = context;

	if (sets->on_new_token)
		sets->on_new_token(sets->leases, set);
}

static int begin_set(
	struct vault_sets *sets, const struct config_set *set, struct mayfly_error *err)
{
	const struct vault_backend_args args = { .loop = sets->loop,
		.arena = sets->arena,
		.keeper = sets->keeper,
		.store = sets->store,
		.cache = &sets->cache,
		.set = set->name,
		.config = set->vault,
		.context = sets,
		.on_alarm = on_alarm,
		.on_changed = on_changed,
		.on_new_token = on_new_token };
	struct vault_backend *backend;
	int r;

	if (!sets->may_connect)
		return error_set(err, -EPERM,
			"set %s: this broker was started without the right to connect: restart "
			"mayflyd",
			set->name);
	r = vault_backend_new(&args, &backend, err);
	if (r < 0)
		return r;
	backend->serial = ++sets->made;
	TAILQ_INSERT_TAIL(&sets->backends, backend, entry);
	return 0;
}

static void end_what_changed(struct vault_sets *sets, const struct config *config)
{
	struct vault_backend *backend, *next;

	for (backend = TAILQ_FIRST(&sets->backends); backend; backend = next) {
		const struct config_set *set = config_set_find(config, backend->set);

		next = TAILQ_NEXT(backend, entry);
		if (set && set->vault && config_vault_equal(set->vault, backend->config))
			continue;
		TAILQ_REMOVE(&sets->backends, backend, entry);
		vault_backend_close(backend);
	}
}

int vault_sets_apply(struct vault_sets *sets, const struct config *config, struct mayfly_error *err)
{
	int r = 0;

	end_what_changed(sets, config);
	for (size_t i = 0; i < config->sets_count; i++) {
		const struct config_set *set = &config->sets[i];

		if (set->provider == SET_PROVIDER_VAULT && !vault_sets_find(sets, set->name) &&
			begin_set(sets, set, err) < 0)
			r = err->code;
	}
	return r;
}

void vault_sets_begin(struct vault_sets *sets)
{
	struct vault_backend *backend;

	TAILQ_FOREACH(backend, &sets->backends, entry)
	vault_login_begin(&backend->login);
}

/* ---- The end. ---- */

static void on_backend_stopped(void *context)
{
	struct vault_backend *backend = context;
	struct vault_sets *sets = backend->context;

	TAILQ_REMOVE(&sets->backends, backend, entry);
	vault_backend_close(backend);
	if (--sets->stopping == 0)
		sets->on_stopped(sets->context);
}

void vault_sets_stop(struct vault_sets *sets, void (*on_stopped)(void *context))
{
	struct vault_backend *backend;

	sets->on_stopped = on_stopped;
	TAILQ_FOREACH(backend, &sets->backends, entry)
	sets->stopping++;
	if (sets->stopping == 0)
		on_stopped(sets->context);
	TAILQ_FOREACH(backend, &sets->backends, entry)
	vault_login_stop(&backend->login, on_backend_stopped);
}

/* ---- How it stands. ---- */

static int64_t oldest_unix_s(const struct vault_backend *backend)
{
	const struct vault_entry *entry;
	int64_t oldest = 0;

	TAILQ_FOREACH(entry, &backend->entries, entry)
	if (entry->value && (oldest == 0 || entry->value->fetched_unix_s < oldest))
		oldest = entry->value->fetched_unix_s;
	return oldest;
}

static size_t values_count(const struct vault_backend *backend)
{
	const struct vault_entry *entry;
	size_t count = 0;

	TAILQ_FOREACH(entry, &backend->entries, entry)
	count += entry->value != NULL;
	return count;
}

static json_t *addresses_status(const struct vault_backend *backend)
{
	json_t *addresses = json_array();

	for (size_t i = 0; i < backend->config->addresses_count; i++) {
		const struct vault_address *address = &backend->link.addresses[i];

		(void)json_array_append_new(
			addresses, json_pack("{s:s, s:s, s:s}", "url", address->url, "state",
					   address->failures	      ? "failing"
					   : address->answered_unix_s ? "answers"
								      : "unknown",
					   "problem", address->problem));
	}
	return addresses;
}

/* The set as a whole, and the words for it. */
static const char *state_of(const struct vault_backend *backend, const char **ret_detail)
{
	const struct vault_login *login = &backend->login;
	bool answers = false;

	*ret_detail = "";
	for (size_t i = 0; i < backend->config->addresses_count; i++)
		answers |= backend->link.addresses[i].failures == 0;
	if (!answers) {
		*ret_detail = backend->link.addresses[0].problem;
		return "unreachable";
	}
	if (login->problem[0]) {
		*ret_detail = login->problem;
		return login->token ? "connected" : "not logged in";
	}
	return login->token ? "connected" : "waiting";
}

static json_t *backend_status(const struct vault_backend *backend)
{
	const struct vault_login *login = &backend->login;
	const uint64_t now = uv_now(backend->loop);
	const int64_t oldest = oldest_unix_s(backend);
	const char *detail, *state = state_of(backend, &detail);
	json_int_t life_s = -1;

	if (login->token && login->life_s)
		life_s = login->expires_ms > now ? (json_int_t)((login->expires_ms - now) / 1000)
						 : 0;
	return json_pack("{s:s, s:s, s:s, s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "set",
		backend->set, "state", state, "detail", detail, "addresses",
		addresses_status(backend), "logged_in", login->token != NULL, "token_life_s",
		life_s, "kv_version", (json_int_t)backend->kv_version, "values",
		(json_int_t)values_count(backend), "oldest_value_s",
		(json_int_t)(oldest ? (int64_t)time(NULL) - oldest : 0), "served_stale",
		(json_int_t)backend->served_stale, "requests", (json_int_t)backend->link.requests);
}

json_t *vault_sets_status(const struct vault_sets *sets)
{
	const struct vault_backend *backend;
	json_t *status = json_array();

	TAILQ_FOREACH(backend, &sets->backends, entry)
	(void)json_array_append_new(status, backend_status(backend));
	return status;
}
