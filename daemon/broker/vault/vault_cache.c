#include "daemon/broker/vault/vault_cache.h"

#include "daemon/broker/vault/vault_credentials.h"
#include "proto/log.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CACHE_MAGIC UINT32_C(0x4d465643) /* "MFVC" */

/* What stands before the map in a record. */
struct cache_head {
	uint32_t magic, version;
	int64_t fetched_unix_s;
};

struct cache_item {
	struct work_item work;
	struct vault_cache *cache;
	char name[VAULT_CACHE_NAME_SIZE];
	struct vault_value *value;
	int64_t fetched_unix_s; /* the value's own moves on meanwhile */
	void *context;
	void (*on_got)(void *context, struct vault_value *value);
};

struct vault_value *vault_value_ref(struct vault_value *value)
{
	value->refs++;
	return value;
}

void vault_value_unref(struct vault_value *value)
{
	if (!value || --value->refs > 0)
		return;
	held_value_done(&value->map);
	free(value);
}

static void add(crypto_generichash_state *state, const char *text)
{
	(void)crypto_generichash_update(state, (const unsigned char *)text, strlen(text) + 1);
}

void vault_cache_name(char name[VAULT_CACHE_NAME_SIZE], const char *set,
	const struct config_vault *config, const char *path, uint32_t version)
{
	unsigned char hash[16];
	char hex[2 * sizeof hash + 1];
	crypto_generichash_state state;

	(void)crypto_generichash_init(&state, NULL, 0, sizeof hash);
	add(&state, set);
	add(&state, config->addresses[0]);
	add(&state, config->name_space ? config->name_space : "");
	add(&state, config->mount);
	add(&state, path);
	(void)crypto_generichash_update(&state, (const unsigned char *)&version, sizeof version);
	(void)crypto_generichash_final(&state, hash, sizeof hash);
	(void)sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
	(void)snprintf(name, VAULT_CACHE_NAME_SIZE, "cache/%s", hex);
}

static void reference_of(const struct cache_item *item, struct secret_reference *reference)
{
	(void)snprintf(reference->set, sizeof reference->set, VAULT_OWN_SET);
	(void)snprintf(reference->name, sizeof reference->name, "%s", item->name);
}

/* ---- On a thread. ---- */

static int make_record(
	const struct cache_item *item, struct secret *ret_record, struct mayfly_error *err)
{
	const struct cache_head head = { .magic = CACHE_MAGIC,
		.version = item->value->version,
		.fetched_unix_s = item->fetched_unix_s };
	AUTO_SECRET map = { 0 };
	int r = 0;

	if (!item->value->is_missing)
		r = held_value_open(item->cache->keeper, &item->value->map, &map, err);
	if (r == 0)
		r = secret_new(item->cache->arena, sizeof head + map.length, ret_record, err);
	if (r < 0)
		return r;
	memcpy(ret_record->bytes, &head, sizeof head);
	if (map.length > 0)
		memcpy(ret_record->bytes + sizeof head, map.bytes, map.length);
	return 0;
}

static void run_put(struct work_item *work)
{
	struct cache_item *item = container_of(work, struct cache_item, work);
	struct secret_reference reference = { 0 };
	AUTO_SECRET record = { 0 };
	enum put_outcome outcome;
	struct mayfly_error err;
	uint32_t version, destroyed;
	int r = make_record(item, &record, &err);

	reference_of(item, &reference);
	if (r == 0)
		r = store_put(
			item->cache->store, &reference, &record, true, &outcome, &version, &err);
	/* Only the newest is of any use. */
	if (r == 0 && outcome == PUT_CREATED)
		r = store_keep(item->cache->store, &reference, 1, &destroyed, &err);
	if (r < 0 && r != -ENOKEY)
		log_warning("the last known value of a secret could not be kept: %s", err.text);
}

static void run_remove(struct work_item *work)
{
	struct cache_item *item = container_of(work, struct cache_item, work);
	struct secret_reference reference = { 0 };
	struct mayfly_error err;
	uint32_t versions;

	reference_of(item, &reference);
	/* There may be none. */
	(void)store_remove(item->cache->store, &reference, true, &versions, &err);
}

static struct vault_value *open_record(const struct cache_item *item, const struct secret *record)
{
	struct vault_value *value;
	struct cache_head head;
	AUTO_SECRET map = { 0 };

	if (record->length < sizeof head)
		return NULL;
	memcpy(&head, record->bytes, sizeof head);
	if (head.magic != CACHE_MAGIC ||
		secret_new(item->cache->arena, record->length - sizeof head, &map, NULL) < 0)
		return NULL;
	value = calloc(1, sizeof *value);
	if (!value)
		return NULL;
	value->refs = 1;
	value->is_missing = map.length == 0;
	if (map.length > 0) {
		memcpy(map.bytes, record->bytes + sizeof head, map.length);
		if (held_value_seal(item->cache->keeper, &map, &value->map, NULL) < 0) {
			vault_value_unref(value);
			return NULL;
		}
	}
	value->version = head.version;
	value->fetched_unix_s = head.fetched_unix_s;
	return value;
}

static void run_get(struct work_item *work)
{
	struct cache_item *item = container_of(work, struct cache_item, work);
	struct secret_reference reference = { 0 };
	AUTO_SECRET record = { 0 };

	reference_of(item, &reference);
	if (store_get(item->cache->store, &reference, VERSION_CURRENT, &record, NULL, NULL) == 0)
		item->value = open_record(item, &record);
}

/* ---- On the loop. ---- */

static void on_done(struct work_item *work, bool is_abandoned)
{
	struct cache_item *item = container_of(work, struct cache_item, work);

	item->cache->jobs--;
	if (item->on_got) {
		item->on_got(item->context, is_abandoned ? NULL : item->value);
		if (is_abandoned)
			vault_value_unref(item->value);
	} else {
		vault_value_unref(item->value);
	}
	free(item);
}

static struct cache_item *item_new(
	struct vault_cache *cache, const char *name, void (*run)(struct work_item *))
{
	struct cache_item *item = calloc(1, sizeof *item);

	if (!item)
		return NULL;
	item->work = (struct work_item){ .run = run, .on_done = on_done };
	item->cache = cache;
	cache->jobs++;
	(void)snprintf(item->name, sizeof item->name, "%s", name);
	return item;
}

void vault_cache_put(struct vault_cache *cache, const char *name, struct vault_value *value)
{
	struct cache_item *item = item_new(cache, name, run_put);

	if (!item)
		return;
	item->value = vault_value_ref(value);
	item->fetched_unix_s = value->fetched_unix_s;
	serial_queue_add(&cache->queue, &item->work);
}

void vault_cache_remove(struct vault_cache *cache, const char *name)
{
	struct cache_item *item = item_new(cache, name, run_remove);

	if (item)
		serial_queue_add(&cache->queue, &item->work);
}

int vault_cache_get(struct vault_cache *cache, const char *name, void *context,
	void (*on_got)(void *context, struct vault_value *value))
{
	struct cache_item *item = item_new(cache, name, run_get);

	if (!item)
		return -ENOMEM;
	item->context = context;
	item->on_got = on_got;
	serial_queue_add(&cache->queue, &item->work);
	return 0;
}

void vault_cache_init(struct vault_cache *cache, uv_loop_t *loop, struct store *store,
	struct arena *arena, const struct value_keeper *keeper)
{
	cache->store = store;
	cache->arena = arena;
	cache->keeper = keeper;
	serial_queue_init(&cache->queue, loop);
}
