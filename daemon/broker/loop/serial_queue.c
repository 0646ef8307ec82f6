#include "daemon/broker/loop/serial_queue.h"

#include "daemon/broker/loop/handle_group.h"

#include <assert.h>
#include <stdlib.h>

/* Runs in the place of the caller's item, so that its completion comes here first. */
struct serial_entry {
	struct work_item work;
	struct work_item *item; /* NULL: nothing to run, the end of a drain */
	struct serial_queue *queue;
	struct serial_entry *next;
};

static void start_first(struct serial_queue *queue);

static void run(struct work_item *work)
{
	struct serial_entry *entry = container_of(work, struct serial_entry, work);

	if (entry->item)
		entry->item->run(entry->item);
}

static void on_done(struct work_item *work, bool is_abandoned)
{
	struct serial_entry *entry = container_of(work, struct serial_entry, work);
	struct serial_queue *queue = entry->queue;
	struct work_item *item = entry->item;
	const bool is_drain = !item;

	queue->first = entry->next;
	if (!queue->first)
		queue->last = &queue->first;
	free(entry);
	if (item)
		item->on_done(item, is_abandoned);
	start_first(queue);
	if (is_drain)
		queue->on_idle(queue->data);
}

static void start_first(struct serial_queue *queue)
{
	if (queue->first && !work_queue_is_under_way(&queue->first->work)) {
		const int r = work_queue_start(queue->loop, &queue->first->work, NULL);

		/* Fails only for an item that is under way. */
		assert(r == 0);
	}
}

void serial_queue_init(struct serial_queue *queue, uv_loop_t *loop)
{
	*queue = (struct serial_queue){ .loop = loop };
	queue->last = &queue->first;
}

void serial_queue_add(struct serial_queue *queue, struct work_item *item)
{
	struct serial_entry *entry = calloc(1, sizeof *entry);

	/* Its place in the order cannot be kept without it. */
	assert(entry);
	*entry = (struct serial_entry){
		.work = { .run = run, .on_done = on_done }, .item = item, .queue = queue
	};
	*queue->last = entry;
	queue->last = &entry->next;
	start_first(queue);
}

void serial_queue_drain(struct serial_queue *queue, void (*on_idle)(void *data), void *data)
{
	queue->on_idle = on_idle;
	queue->data = data;
	serial_queue_add(queue, NULL);
}
