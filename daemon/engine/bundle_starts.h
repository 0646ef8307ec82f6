/* Containers that start while the engine's API does not answer: a booting engine starts what shall
 * always run before it takes calls, so there is no `start` event.
 * What counts as started is what the engine itself has written after its runtime said so:
 * State.Running with the very process that the bundle names, alive in a cgroup of the container.
 * Before that the process is the runtime's own, which is not observable without capabilities (its
 * exe link is closed to us, its name can be chosen). */
#pragma once

#include "daemon/engine/facts/container_table.h"
#include "proto/error.h"

#include <uv.h>

#define BUNDLE_STARTS_MAX 1024

struct bundle_start;

struct bundle_starts {
	uv_timer_t timer;
	struct container_table *table;
	void *context;
	void (*on_start)(void *context, struct container_entry *entry);
	struct bundle_start *first;
	size_t count;
	bool is_open;
};

/* STARTS must live until the loop has closed its handle. */
void bundle_starts_open(struct bundle_starts *starts, uv_loop_t *loop,
	struct container_table *table, void *context,
	void (*on_start)(void *context, struct container_entry *entry));

/* Waits for container ID, whose bundle is DIRECTORY, for as long as a delivery waits. */
void bundle_starts_add(struct bundle_starts *starts, const char *id, const char *directory);

/* The engine answers: its events tell the rest. */
void bundle_starts_clear(struct bundle_starts *starts);

void bundle_starts_close(struct bundle_starts *starts);
