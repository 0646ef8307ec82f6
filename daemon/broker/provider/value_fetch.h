/* Fetches the values of a plan from their sets, renders templates, and holds the results sealed:
 * files ready for a delivery. Runs on the work queue; what a server has is asked for by the loop in
 * between (remote_values.h). */
#pragma once

#include "daemon/broker/config/config.h"
#include "daemon/broker/delivery/delivery.h"
#include "daemon/broker/loop/work_queue.h"
#include "daemon/broker/policy/plan.h"
#include "daemon/broker/provider/used_secrets.h"
#include "daemon/broker/store/store.h"
#include "daemon/broker/vault/vault_sets.h"
#include "proto/error.h"

struct value_sources {
	struct store *store;
	const struct value_keeper *keeper;
	struct arena *arena;
	const struct config *config; /* read when a fetch starts, not after */
	struct vault_sets *vaults;
	uint32_t limit_ms; /* for servers; 0: what a Mount may take */
};

struct fetched {
	struct delivery_file *files; /* owned */
	size_t files_count;
	struct used_secrets *used; /* owned */
	size_t stale;		   /* values that no server has confirmed just now */
	char from[400];		   /* which servers and paths, for `explain`; "": none */
};

void fetched_done(struct fetched *fetched);

struct value_fetch;

/* STATUS 0 with FETCHED (the callee takes what it wants out of it), or a negative errno with ERR in
 * the words of experience.md section 7: -ENOKEY the store is locked, -ENODATA there is none yet,
 * -ENOENT a secret is missing, -EHOSTDOWN a server does not answer, ... */
typedef void value_fetched_function(
	void *data, int status, struct fetched *fetched, const struct mayfly_error *err);

/* Fetches what PLAN says; a reference to its policy is kept meanwhile. Returns 0, and ON_FETCHED is
 * called once, never before this returns; or a negative errno, and it is never called. *RET_FETCH
 * is valid until then, for value_fetch_abandon(). */
int value_fetch_start(uv_loop_t *loop, const struct value_sources *sources, const struct plan *plan,
	value_fetched_function *on_fetched, void *data, struct value_fetch **ret_fetch,
	struct mayfly_error *err);

/* How long servers may take in all: 5 s, and 30 s in the first two minutes after boot
 * (architecture: deadlines), with a little left for the rest. */
#define FETCH_LIMIT_MS	    4500
#define FETCH_BOOT_LIMIT_MS 28000

/* ON_FETCHED is not called any more. */
void value_fetch_abandon(struct value_fetch *fetch);
