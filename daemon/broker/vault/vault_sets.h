/* All sets of provider `vault` of this host: made from the configuration, asked by name. Loop thread
 * only. */
#pragma once

#include "daemon/broker/config/config.h"
#include "daemon/broker/vault/vault_backend.h"

#include <jansson.h>

TAILQ_HEAD(vault_backends, vault_backend);

struct vault_sets {
	uv_loop_t *loop;
	struct arena *arena;
	const struct value_keeper *keeper;
	struct store *store;
	struct vault_cache cache;
	struct vault_backends backends;
	bool may_connect; /* this process was born with the right to */
	uint64_t made;	  /* backends, ever */
	unsigned stopping;
	void *context;
	/* Somebody must look at this: a wrapping token that somebody else has used, ... */
	void (*on_alarm)(void *context, const char *text);
	/* A watched secret of SET has another version. PATH is below the set's mount. */
	void (*on_changed)(void *context, const char *set, const char *path, uint32_t version);
	void (*on_stopped)(void *context);
	/* SET has another token: what hangs on the old one ends with it. Of vault_lease.c. */
	void *leases;
	void (*on_new_token)(void *leases, const char *set);
};

/* The members up to store, may_connect, context and the callbacks are set by the caller before. */
void vault_sets_init(struct vault_sets *sets);

/* Sets as CONFIG has them: what is as it was goes on, the rest ends or begins. Returns 0 or a
 * negative errno with what could not be begun. */
int vault_sets_apply(
	struct vault_sets *sets, const struct config *config, struct mayfly_error *err);

/* Logs in where nobody has needed it yet. The store is unlocked. */
void vault_sets_begin(struct vault_sets *sets);

struct vault_backend *vault_sets_find(const struct vault_sets *sets, const char *set);

/* Gives tokens back; ON_STOPPED is called once, from the loop, within about 0.3 s. */
void vault_sets_stop(struct vault_sets *sets, void (*on_stopped)(void *context));

/* [{set, address, state, detail, ...}], the caller's: for `mayfly status`. */
json_t *vault_sets_status(const struct vault_sets *sets);
