/* Work items that must run one after the other, in the order in which they were added: writes of
 * which the last one counts. Loop thread only; the items run on the work queue (work_queue.h). */
#pragma once

#include "daemon/broker/loop/work_queue.h"

struct serial_queue {
	uv_loop_t *loop;
	struct serial_entry *first, **last;
	void (*on_idle)(
		void *data); /* told once when nothing is left, after serial_queue_drain() */
	void *data;
};

void serial_queue_init(struct serial_queue *queue, uv_loop_t *loop);

/* Takes ITEM's completion over: its on_done is called once, never before this returns, from the
 * loop; is_abandoned true when it could not be run. */
void serial_queue_add(struct serial_queue *queue, struct work_item *item);

/* Calls ON_IDLE, never before this returns, when everything that was added is done. */
void serial_queue_drain(struct serial_queue *queue, void (*on_idle)(void *data), void *data);
