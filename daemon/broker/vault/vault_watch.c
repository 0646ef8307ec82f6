/* Watching an entry: is there another version? Asked of the metadata, which opens nothing; of the
 * secret itself where the token may not, or where versions have no numbers. */
#include "daemon/broker/vault/vault_backend.h"

#include "daemon/broker/loop/backoff.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define POLL_LIMIT_MS 10000

static void schedule(struct vault_entry *entry)
{
	const struct vault_backend *backend = entry->backend;

	entry->is_polling = false;
	if (entry->watchers > 0)
		deadline_arm(&entry->poll, around_ms(backend->config->refresh_s * UINT64_C(1000),
						   randombytes_random()));
}

static bool is_same_map(const struct vault_entry *entry, const struct vault_value *value)
{
	AUTO_SECRET a = { 0 }, b = { 0 };

	return held_value_open(entry->backend->keeper, &entry->told->map, &a, NULL) == 0 &&
	       held_value_open(entry->backend->keeper, &value->map, &b, NULL) == 0 &&
	       secret_equal(&a, &b);
}

static void note(struct vault_entry *entry, struct vault_value *value)
{
	struct vault_backend *backend = entry->backend;
	bool is_other = entry->known != 0 && entry->known != value->version;

	if (entry->told)
		is_other = entry->told->version != value->version ||
			   (value->version == 0 && !is_same_map(entry, value));

	vault_value_unref(entry->told);
	entry->told = vault_value_ref(value);
	if (is_other && backend->on_changed)
		backend->on_changed(backend->context, backend->set, entry->path, value->version);
}

static void on_value(struct vault_reader *reader, int status, struct vault_value *value,
	bool is_stale, const struct mayfly_error *err)
{
	struct vault_entry *entry = container_of(reader, struct vault_entry, poller);

	(void)err;
	/* What fails, or comes from the cache, is no news. */
	if (status == 0 && !is_stale && entry->watchers > 0)
		note(entry, value);
	schedule(entry);
}

static void read_it(struct vault_entry *entry)
{
	entry->fresh_until_ms = 0;
	vault_read(entry->backend, entry->path, entry->version, POLL_LIMIT_MS, &entry->poller);
}

static void on_metadata(void *context, const struct vault_answer *answer)
{
	struct vault_entry *entry = context;
	uint32_t version;

	entry->metadata = NULL;
	if (answer->outcome == VAULT_DENIED)
		/* It may be the token: a reading finds that out. */
		entry->is_metadata_denied = true;
	if (vault_outcome_is_transient(answer->outcome)) {
		schedule(entry);
		return;
	}
	if (!vault_answer_current_version(answer, &version) || !entry->value || !entry->told ||
		entry->value->version != version || entry->told->version != version) {
		read_it(entry);
		return;
	}
	entry->value->fetched_unix_s = time(NULL);
	entry->is_unconfirmed = false;
	entry->fresh_until_ms =
		uv_now(entry->backend->loop) + entry->backend->config->refresh_s * UINT64_C(1000);
	schedule(entry);
}

static void on_poll(struct deadline *deadline)
{
	struct vault_entry *entry = container_of(deadline, struct vault_entry, poll);
	struct vault_backend *backend = entry->backend;
	char path[VAULT_PATH_SIZE + 320];
	struct vault_request request = { .method = "GET",
		.path = path,
		.token = backend->login.token,
		.timeout_ms = POLL_LIMIT_MS,
		.context = entry,
		.on_answer = on_metadata };

	entry->is_polling = true;
	if (backend->kv_version != 2 || entry->is_metadata_denied || !entry->value ||
		entry->value->is_missing || !request.token ||
		vault_entry_url(entry, "metadata", path, sizeof path) < 0 ||
		vault_link_send(&backend->link, &request, &entry->metadata) < 0)
		read_it(entry);
}

void vault_entry_init_watching(struct vault_entry *entry)
{
	entry->poller.on_value = on_value;
	deadline_init(&entry->poll, entry->backend->loop, &entry->handles, on_poll);
}

void vault_entry_end_watching(struct vault_entry *entry)
{
	vault_reader_forget(&entry->poller);
	if (entry->metadata)
		vault_exchange_cancel(entry->metadata);
	entry->metadata = NULL;
	vault_value_unref(entry->told);
	entry->told = NULL;
	entry->watchers = 0;
}

int vault_watch(struct vault_backend *backend, const char *path, uint32_t known)
{
	struct vault_entry *entry = vault_entry_get(backend, path, 0);

	if (!entry)
		return -ENOMEM;
	if (entry->watchers++ > 0)
		return 0;
	entry->known = known;
	if (entry->value && (known == 0 || entry->value->version == known))
		entry->told = vault_value_ref(entry->value);
	if (!entry->is_polling)
		schedule(entry);
	return 0;
}

void vault_unwatch(struct vault_backend *backend, const char *path)
{
	struct vault_entry *entry = vault_entry_find(backend, path, 0);

	if (!entry || entry->watchers == 0 || --entry->watchers > 0)
		return;
	deadline_cancel(&entry->poll);
	vault_value_unref(entry->told);
	entry->told = NULL;
}

/* --- what was taken back --- */

static struct vault_pin *find_pin(const struct vault_backend *backend, const char *path)
{
	struct vault_pin *pin;

	TAILQ_FOREACH(pin, &backend->pins, entry)
	if (strcmp(pin->path, path) == 0)
		return pin;
	return NULL;
}

const struct vault_pin *vault_pin_find(const struct vault_backend *backend, const char *path)
{
	return find_pin(backend, path);
}

int vault_pin_set(
	struct vault_backend *backend, const char *path, uint32_t version, uint32_t refused)
{
	struct vault_pin *pin = find_pin(backend, path);

	if (!pin) {
		pin = calloc(1, sizeof *pin);
		if (!pin)
			return -ENOMEM;
		(void)snprintf(pin->path, sizeof pin->path, "%s", path);
		TAILQ_INSERT_TAIL(&backend->pins, pin, entry);
	}
	pin->version = version;
	pin->refused = refused;
	return 0;
}

void vault_pin_clear(struct vault_backend *backend, const char *path)
{
	struct vault_pin *pin = find_pin(backend, path);

	if (!pin)
		return;
	TAILQ_REMOVE(&backend->pins, pin, entry);
	free(pin);
}
