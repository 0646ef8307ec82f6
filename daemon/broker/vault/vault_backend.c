#include "daemon/broker/vault/vault_backend.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_KEPT 512

/* ---- Entries. ---- */

static void on_entry_empty(struct handle_group *handles)
{
	struct vault_entry *entry = container_of(handles, struct vault_entry, handles);
	struct handle_group *backend = &entry->backend->handles;

	free(entry);
	handle_group_release(backend);
}

static void entry_end(struct vault_entry *entry)
{
	struct vault_backend *backend = entry->backend;

	if (!handle_group_end(&entry->handles))
		return;
	TAILQ_REMOVE(&backend->entries, entry, entry);
	backend->entries_count--;
	vault_entry_end_watching(entry);
	vault_entry_end_reading(entry);
	vault_value_unref(entry->value);
	entry->value = NULL;
	deadline_close(&entry->step);
	deadline_close(&entry->limit);
	deadline_close(&entry->poll);
	handle_group_release(&entry->handles);
}

static bool is_idle(const struct vault_entry *entry)
{
	return TAILQ_EMPTY(&entry->readers) && !entry->is_under_way && !entry->is_polling &&
	       entry->watchers == 0;
}

/* Room for another: what nobody needs goes, the oldest first. What it knew is in the cache. */
static void make_room(struct vault_backend *backend)
{
	struct vault_entry *entry, *next;

	for (entry = TAILQ_FIRST(&backend->entries);
		entry && backend->entries_count >= ENTRIES_KEPT; entry = next) {
		next = TAILQ_NEXT(entry, entry);
		if (is_idle(entry))
			entry_end(entry);
	}
}

struct vault_entry *vault_entry_find(
	const struct vault_backend *backend, const char *path, uint32_t version)
{
	struct vault_entry *entry;

	TAILQ_FOREACH(entry, &backend->entries, entry)
	if (entry->version == version && strcmp(entry->path, path) == 0)
		return entry;
	return NULL;
}

struct vault_entry *vault_entry_get(
	struct vault_backend *backend, const char *path, uint32_t version)
{
	struct vault_entry *entry = vault_entry_find(backend, path, version);

	if (entry || strlen(path) >= sizeof entry->path)
		return entry;
	make_room(backend);
	entry = calloc(1, sizeof *entry);
	if (!entry)
		return NULL;
	entry->backend = backend;
	(void)snprintf(entry->path, sizeof entry->path, "%s", path);
	entry->version = version;
	TAILQ_INIT(&entry->readers);
	handle_group_init(&entry->handles, on_entry_empty);
	handle_group_hold(&backend->handles);
	vault_entry_init_reading(entry);
	vault_entry_init_watching(entry);
	TAILQ_INSERT_TAIL(&backend->entries, entry, entry);
	backend->entries_count++;
	return entry;
}

/* Not written again each time that it is confirmed: when an eighth of its time has passed. */
static bool is_worth_keeping(const struct vault_entry *entry, const struct vault_value *value)
{
	const struct vault_value *old = entry->value;

	return !old || old->version != value->version || value->version == 0 ||
	       entry->is_unconfirmed ||
	       value->fetched_unix_s - old->fetched_unix_s >=
		       (int64_t)entry->backend->config->max_stale_s / 8;
}

void vault_entry_take_value(struct vault_entry *entry, struct vault_value *value)
{
	struct vault_backend *backend = entry->backend;
	char name[VAULT_CACHE_NAME_SIZE];

	if (backend->config->is_cached && is_worth_keeping(entry, value)) {
		vault_cache_name(name, backend->set, backend->config, entry->path, entry->version);
		vault_cache_put(backend->cache, name, value);
	}
	vault_value_unref(entry->value);
	entry->value = value;
	entry->is_unconfirmed = false;
	entry->fresh_until_ms = uv_now(backend->loop) + backend->config->refresh_s * UINT64_C(1000);
}

/* A server has said that it is not to be had: so it is not to be had from us, either. */
void vault_entry_drop_value(struct vault_entry *entry)
{
	struct vault_backend *backend = entry->backend;
	char name[VAULT_CACHE_NAME_SIZE];

	vault_value_unref(entry->value);
	entry->value = NULL;
	entry->fresh_until_ms = 0;
	vault_cache_name(name, backend->set, backend->config, entry->path, entry->version);
	if (backend->config->is_cached)
		vault_cache_remove(backend->cache, name);
}

int vault_entry_url(const struct vault_entry *entry, const char *what, char *buffer, size_t size)
{
	const struct config_vault *config = entry->backend->config;
	char version[24] = "";
	int length;

	if (entry->version && strcmp(what, "data") == 0)
		(void)snprintf(version, sizeof version, "?version=%u", entry->version);
	if (entry->backend->kv_version == 2)
		length = snprintf(
			buffer, size, "%s/%s/%s%s", config->mount, what, entry->path, version);
	else
		length = snprintf(buffer, size, "%s/%s", config->mount, entry->path);
	return (size_t)length < size ? 0 : -ENAMETOOLONG;
}

void vault_backend_outdate(struct vault_backend *backend, const char *path)
{
	struct vault_entry *entry;

	TAILQ_FOREACH(entry, &backend->entries, entry)
	if (strcmp(entry->path, path) == 0)
		entry->fresh_until_ms = 0;
}

/* ---- Where a name lies. ---- */

int vault_backend_target(const struct vault_backend *backend, const char *name,
	struct secret_selector *ret_target, struct mayfly_error *err)
{
	const struct config_vault *config = backend->config;
	struct secret_selector asked, target;
	int r = secret_selector_parse(name, &asked, err);

	if (r < 0)
		return r;
	target = asked;
	for (size_t i = 0; i < config->names.count; i++) {
		if (strcmp(config->names.names[i], asked.name) != 0)
			continue;
		r = secret_selector_parse(config->names.targets[i], &target, err);
		if (r < 0)
			return r;
		/* What was asked for is closer to what is wanted. */
		if (asked.field[0])
			memcpy(target.field, asked.field, sizeof target.field);
		if (asked.version)
			target.version = asked.version;
		*ret_target = target;
		return 0;
	}
	if ((size_t)snprintf(target.name, sizeof target.name, "%s%s", config->prefix, asked.name) >=
		sizeof target.name)
		return error_set(err, -ENAMETOOLONG, "prefix and name are longer than %d bytes",
			MAYFLY_REFERENCE_MAX);
	*ret_target = target;
	return 0;
}

/* ---- The backend itself. ---- */

static void on_backend_empty(struct handle_group *handles)
{
	struct vault_backend *backend = container_of(handles, struct vault_backend, handles);

	config_vault_unref(backend->config);
	free(backend);
}

static void on_login_alarm(void *context, const char *text)
{
	struct vault_backend *backend = context;

	backend->on_alarm(backend->context, text);
}

static void on_new_token(void *context)
{
	struct vault_backend *backend = context;

	backend->on_new_token(backend->context, backend->set);
}

int vault_backend_new(const struct vault_backend_args *args, struct vault_backend **ret_backend,
	struct mayfly_error *err)
{
	struct vault_backend *backend = calloc(1, sizeof *backend);
	int r;

	if (!backend)
		return error_errno(err, -ENOMEM, "set %s", args->set);
	(void)snprintf(backend->set, sizeof backend->set, "%s", args->set);
	backend->loop = args->loop;
	backend->arena = args->arena;
	backend->keeper = args->keeper;
	backend->cache = args->cache;
	backend->context = args->context;
	backend->on_alarm = args->on_alarm;
	backend->on_changed = args->on_changed;
	backend->on_new_token = args->on_new_token;
	TAILQ_INIT(&backend->entries);
	TAILQ_INIT(&backend->writes);
	TAILQ_INIT(&backend->pins);
	handle_group_init(&backend->handles, on_backend_empty);
	r = vault_link_init(
		&backend->link, args->loop, &backend->handles, args->arena, args->config, err);
	if (r < 0) {
		free(backend);
		return r;
	}
	backend->config = config_vault_ref(args->config);
	vault_login_init(&backend->login, args->loop, &backend->link, args->store, backend->set,
		&backend->handles);
	backend->login.context = backend;
	backend->login.on_alarm = on_login_alarm;
	backend->login.on_new_token = on_new_token;
	backend->login.credentials.jobs = &args->cache->jobs;
	*ret_backend = backend;
	return 0;
}

void vault_backend_close(struct vault_backend *backend)
{
	struct vault_entry *entry;

	if (!handle_group_end(&backend->handles))
		return;
	backend->is_closed = true;
	vault_writes_end(backend);
	while ((entry = TAILQ_FIRST(&backend->entries)))
		entry_end(entry);
	while (!TAILQ_EMPTY(&backend->pins))
		vault_pin_clear(backend, TAILQ_FIRST(&backend->pins)->path);
	vault_login_close(&backend->login);
	vault_link_close(&backend->link);
	handle_group_release(&backend->handles);
}
