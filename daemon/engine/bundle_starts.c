#include "daemon/engine/bundle_starts.h"

#include "daemon/engine/facts/container_state.h"
#include "daemon/engine/facts/runtime_bundle.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LOOK_MS 5

/* As long as an armed delivery waits for its start. */
#define WAIT_S 120

struct bundle_start {
	struct bundle_start *next;
	time_t until_s;
	char id[CONTAINER_ID_LENGTH + 1];
	char directory[];
};

static time_t now_s(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec;
}

static struct container_entry *started(
	const struct bundle_starts *starts, const struct bundle_start *start)
{
	struct container_entry *entry = container_table_find(starts->table, start->id);

	if (!entry || container_entry_refresh(starts->table, entry, false) < 0 ||
		!container_runs(&entry->record, entry->id))
		return NULL;
	if (entry->record.pid != runtime_bundle_pid(starts->table->place, start->directory))
		return NULL;
	return entry;
}

static void on_look(uv_timer_t *timer)
{
	struct bundle_starts *starts = timer->data;
	struct bundle_start **place = &starts->first;

	while (*place) {
		struct bundle_start *start = *place;
		struct container_entry *entry = started(starts, start);

		if (!entry && now_s() < start->until_s) {
			place = &start->next;
			continue;
		}
		*place = start->next;
		starts->count--;
		free(start);
		if (entry)
			starts->on_start(starts->context, entry);
	}
	if (!starts->first)
		(void)uv_timer_stop(timer); /* cannot fail */
}

void bundle_starts_open(struct bundle_starts *starts, uv_loop_t *loop,
	struct container_table *table, void *context,
	void (*on_start)(void *context, struct container_entry *entry))
{
	(void)uv_timer_init(loop, &starts->timer); /* cannot fail */
	starts->timer.data = starts;
	starts->table = table;
	starts->context = context;
	starts->on_start = on_start;
	starts->is_open = true;
}

void bundle_starts_add(struct bundle_starts *starts, const char *id, const char *directory)
{
	const size_t size = strlen(directory) + 1;
	struct bundle_start *start;

	if (starts->count == BUNDLE_STARTS_MAX)
		return;
	start = calloc(1, sizeof *start + size);
	if (!start)
		return;
	start->until_s = now_s() + WAIT_S;
	memcpy(start->id, id, sizeof start->id);
	memcpy(start->directory, directory, size);
	start->next = starts->first;
	starts->first = start;
	starts->count++;
	/* Fails for a closing timer only. */
	(void)uv_timer_start(&starts->timer, on_look, LOOK_MS, LOOK_MS);
}

void bundle_starts_clear(struct bundle_starts *starts)
{
	while (starts->first) {
		struct bundle_start *start = starts->first;

		starts->first = start->next;
		free(start);
	}
	starts->count = 0;
	if (starts->is_open)
		(void)uv_timer_stop(&starts->timer); /* cannot fail */
}

void bundle_starts_close(struct bundle_starts *starts)
{
	if (!starts->is_open)
		return;
	bundle_starts_clear(starts);
	starts->is_open = false;
	uv_close((uv_handle_t *)&starts->timer, NULL);
}
