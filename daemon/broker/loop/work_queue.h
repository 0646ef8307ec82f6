/* Runs what would block on libuv's thread pool, and comes back to the loop.
 *
 *	item.run = argon2 or a file write;	// on a pool thread
 *	item.on_done = what follows;		// on the loop's thread
 *	work_queue_start(loop, &item, &err);
 *
 * The pool has four threads for the whole process (UV_THREADPOOL_SIZE) and takes items in order:
 * what waits for somebody else's machine does not belong here. */
#pragma once

#include "proto/error.h"

#include <stdbool.h>
#include <uv.h>

/* A member of the caller's struct, which stays where it is until ON_DONE is called. */
struct work_item {
	/* Called on a pool thread. May use what was given to the item, nothing else of the loop's
	 * thread; leaves its result in the caller's struct. */
	void (*run)(struct work_item *item);
	/* Called on the loop's thread, after RUN. May free the item or start it again.
	 * IS_ABANDONED: nobody waits for the result. Free what is there: RUN may have been called
	 * or not. */
	void (*on_done)(struct work_item *item, bool is_abandoned);

	/* Of the queue. */
	uv_work_t request;
	bool is_under_way;
	bool is_abandoned;
};

/* Starts ITEM. Returns 0, and ON_DONE is called exactly once, never before this returns; or a
 * negative errno, and it is never called: -EBUSY while ITEM is under way. */
int work_queue_start(uv_loop_t *loop, struct work_item *item, struct mayfly_error *err);

/* Gives ITEM up: if it still waits for a thread RUN is not called. ON_DONE is called all the same,
 * exactly once, never before this returns. Twice, or when ITEM is not under way, is fine.
 * The loop must run until then: a RUN that has begun is waited for. */
void work_queue_abandon(struct work_item *item);

bool work_queue_is_under_way(const struct work_item *item);
