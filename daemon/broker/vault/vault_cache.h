/* The last known good values of sets of provider `vault`: sealed in the store, beside the secrets of
 * other sets, under names that say nothing. What was read is written there; what is refused or gone
 * is taken out. Values come out as they go in: the fields of a secret as a JSON object, held under
 * this process's key. */
#pragma once

#include "daemon/broker/config/config_vault.h"
#include "daemon/broker/delivery/held_value.h"
#include "daemon/broker/loop/serial_queue.h"
#include "daemon/broker/store/store.h"

#include <stdint.h>

/* One version of a secret, or that there is none: a set that inherits needs to know that too while no
 * server answers. Counted; the loop's thread counts, any thread reads. */
struct vault_value {
	unsigned refs;
	bool is_missing;	/* MAP is empty */
	struct held_value map;	/* a JSON object */
	uint32_t version;	/* 0: of KV version 1 */
	int64_t fetched_unix_s; /* when a server said so last; the loop's alone */
};

struct vault_value *vault_value_ref(struct vault_value *value);
void vault_value_unref(struct vault_value *value); /* NULL is fine */

struct vault_cache {
	struct store *store;
	struct arena *arena;
	const struct value_keeper *keeper;
	struct serial_queue queue;
	unsigned jobs; /* of this folder, with the store, on threads */
};

#define VAULT_CACHE_NAME_SIZE 64

/* The name of what SET reads at PATH of CONFIG's server, namespace and mount, version VERSION (0: the
 * newest): a set that is led elsewhere finds nothing of before. */
void vault_cache_name(char name[VAULT_CACHE_NAME_SIZE], const char *set,
	const struct config_vault *config, const char *path, uint32_t version);

void vault_cache_init(struct vault_cache *cache, uv_loop_t *loop, struct store *store,
	struct arena *arena, const struct value_keeper *keeper);

/* In the background, in the order of the calls; a failure costs the cache, nothing else. */
void vault_cache_put(struct vault_cache *cache, const char *name, struct vault_value *value);
void vault_cache_remove(struct vault_cache *cache, const char *name);

/* VALUE (the callee's; NULL when there is none) from the loop. Returns 0, or -ENOMEM without a call.
 * CONTEXT must live until then. */
int vault_cache_get(struct vault_cache *cache, const char *name, void *context,
	void (*on_got)(void *context, struct vault_value *value));
