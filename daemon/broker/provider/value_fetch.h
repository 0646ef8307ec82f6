/* Fetches the values of a plan from their sets, renders templates, and holds the results sealed:
 * files ready for a delivery. Runs on the work queue; the loop's side is small. */
#pragma once

#include "daemon/broker/config/config.h"
#include "daemon/broker/delivery/delivery.h"
#include "daemon/broker/loop/work_queue.h"
#include "daemon/broker/policy/plan.h"
#include "daemon/broker/provider/used_secrets.h"
#include "daemon/broker/store/store.h"
#include "proto/error.h"

struct value_sources {
	struct store *store;
	const struct value_keeper *keeper;
	struct arena *arena;
	const struct config *config; /* read when a fetch starts, not after */
};

struct fetched {
	struct delivery_file *files; /* owned */
	size_t files_count;
	struct used_secrets *used; /* owned */
};

void fetched_done(struct fetched *fetched);

struct value_fetch;

/* STATUS 0 with FETCHED (the callee takes what it wants out of it), or a negative errno with ERR in
 * the words of experience.md section 7: -ENOKEY the store is locked, -ENODATA there is none yet,
 * -ENOENT a secret is missing, ... */
typedef void value_fetched_function(
	void *data, int status, struct fetched *fetched, const struct mayfly_error *err);

/* Fetches what PLAN says; a reference to its policy is kept meanwhile. Returns 0, and ON_FETCHED is
 * called once, never before this returns; or a negative errno, and it is never called. *RET_FETCH
 * is valid until then, for value_fetch_abandon(). */
int value_fetch_start(uv_loop_t *loop, const struct value_sources *sources, const struct plan *plan,
	value_fetched_function *on_fetched, void *data, struct value_fetch **ret_fetch,
	struct mayfly_error *err);

/* ON_FETCHED is not called any more. */
void value_fetch_abandon(struct value_fetch *fetch);
