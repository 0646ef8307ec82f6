#include "daemon/broker/audit/audit_queue.h"

#include "daemon/broker/audit/audit_state.h"
#include "daemon/broker/loop/deadline.h"
#include "daemon/broker/loop/work_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>

struct waiting_record {
	STAILQ_ENTRY(waiting_record) next;
	json_t *record;
	void (*on_durable)(void *data, int status);
	void *data;
	int status;
};

STAILQ_HEAD(waiting_list, waiting_record);

struct audit_queue {
	uv_loop_t *loop;
	struct audit *audit;
	struct handle_group group;
	/* A key must not outlive its minute because nobody appends. */
	struct deadline ratchet;
	struct work_item write;
	/* True until the last caller of a batch was told: the callbacks only add to the list. */
	bool is_writing;
	struct waiting_list waiting;
	size_t waiting_count;
	struct waiting_record *batch[AUDIT_QUEUE_BATCH_MAX];
	json_t *records[AUDIT_QUEUE_BATCH_MAX];
	size_t batch_count;
	int batch_status;
	struct mayfly_error failure;
	void (*on_closed)(void *data);
	void *closed_data;
};

/* On a pool thread. A batch is refused as a whole, but a record that cannot be written must not
 * take those of others with it: whoever can make one would stop every release. */
static void write_batch(struct work_item *item)
{
	struct audit_queue *queue = container_of(item, struct audit_queue, write);
	int r = audit_append(queue->audit, queue->records, queue->batch_count, &queue->failure);
	const bool is_record_at_fault = r == -EINVAL || r == -EMSGSIZE;

	queue->batch_status = r;
	for (size_t i = 0; i < queue->batch_count; i++) {
		if (is_record_at_fault)
			r = audit_append(queue->audit, &queue->records[i], 1, &queue->failure);
		queue->batch[i]->status = r;
	}
}

/* Moves what waits into the batch, and writes it. A batch of none only lets the chain's key go on,
 * if that is due. */
static int start_batch(struct audit_queue *queue)
{
	queue->batch_count = 0;
	while (queue->batch_count < AUDIT_QUEUE_BATCH_MAX && !STAILQ_EMPTY(&queue->waiting)) {
		struct waiting_record *first = STAILQ_FIRST(&queue->waiting);

		STAILQ_REMOVE_HEAD(&queue->waiting, next);
		queue->waiting_count--;
		queue->batch[queue->batch_count] = first;
		queue->records[queue->batch_count++] = first->record;
	}
	return work_queue_start(queue->loop, &queue->write, &queue->failure);
}

static void tell_batch(struct audit_queue *queue)
{
	for (size_t i = 0; i < queue->batch_count; i++) {
		struct waiting_record *waiting = queue->batch[i];

		/* Of a batch with several records at fault the text of the last one was kept. */
		if (waiting->status < 0 && waiting->status != queue->failure.code)
			(void)error_errno(
				&queue->failure, waiting->status, "write an audit record");
		waiting->on_durable(waiting->data, waiting->status);
		json_decref(waiting->record);
		free(waiting);
	}
	queue->batch_count = 0;
}

static void finish(struct audit_queue *queue)
{
	deadline_close(&queue->ratchet);
	handle_group_release(&queue->group);
}

static void arm_ratchet(struct audit_queue *queue)
{
	if (!deadline_is_armed(&queue->ratchet))
		deadline_arm(&queue->ratchet, (uint64_t)queue->audit->epoch_max_ms);
}

static void on_written(struct work_item *item, bool is_abandoned)
{
	struct audit_queue *queue = container_of(item, struct audit_queue, write);

	/* Nobody abandons it: what is begun is told. */
	(void)is_abandoned;
	if (queue->batch_count > 0 || queue->batch_status < 0)
		arm_ratchet(queue);
	tell_batch(queue);
	while (!STAILQ_EMPTY(&queue->waiting)) {
		const int r = start_batch(queue);

		if (r == 0)
			return;
		for (size_t i = 0; i < queue->batch_count; i++)
			queue->batch[i]->status = r;
		tell_batch(queue);
	}
	queue->is_writing = false;
	if (queue->group.is_ending)
		finish(queue);
}

static void on_ratchet_due(struct deadline *deadline)
{
	struct audit_queue *queue = container_of(deadline, struct audit_queue, ratchet);

	/* A batch that is under way may have begun too early for it: the timer passes again. */
	if (!queue->is_writing)
		queue->is_writing = start_batch(queue) == 0;
	else
		arm_ratchet(queue);
}

static void on_empty(struct handle_group *group)
{
	struct audit_queue *queue = container_of(group, struct audit_queue, group);
	void (*const on_closed)(void *data) = queue->on_closed;
	void *const data = queue->closed_data;

	free(queue);
	on_closed(data);
}

int audit_queue_new(uv_loop_t *loop, struct audit *audit, struct audit_queue **ret_queue,
	struct mayfly_error *err)
{
	struct audit_queue *queue = calloc(1, sizeof *queue);

	if (!queue)
		return error_errno(err, -ENOMEM, "make the queue of audit records");
	queue->loop = loop;
	queue->audit = audit;
	queue->write = (struct work_item){ .run = write_batch, .on_done = on_written };
	STAILQ_INIT(&queue->waiting);
	handle_group_init(&queue->group, on_empty);
	deadline_init(&queue->ratchet, loop, &queue->group, on_ratchet_due);
	deadline_set_background(&queue->ratchet);
	*ret_queue = queue;
	return 0;
}

int audit_queue_append(struct audit_queue *queue, json_t *record,
	void (*on_durable)(void *data, int status), void *data, struct mayfly_error *err)
{
	struct waiting_record *waiting;
	int r;

	if (queue->group.is_ending)
		return error_errno(err, -ESHUTDOWN, "write an audit record");
	if (queue->waiting_count >= AUDIT_QUEUE_WAITING_MAX)
		return error_errno(err, -ENOBUFS, "write an audit record: %d wait for the disk",
			AUDIT_QUEUE_WAITING_MAX);
	waiting = calloc(1, sizeof *waiting);
	if (!waiting)
		return error_errno(err, -ENOMEM, "write an audit record");
	waiting->record = json_incref(record);
	waiting->on_durable = on_durable;
	waiting->data = data;
	STAILQ_INSERT_TAIL(&queue->waiting, waiting, next);
	queue->waiting_count++;
	if (queue->is_writing)
		return 0;
	r = start_batch(queue);
	queue->is_writing = r == 0;
	if (r < 0) {
		/* It was the only one. */
		queue->batch_count = 0;
		json_decref(record);
		free(waiting);
		return error_set(err, r, "%s", queue->failure.text);
	}
	return 0;
}

const struct mayfly_error *audit_queue_failure(const struct audit_queue *queue)
{
	return &queue->failure;
}

void audit_queue_close(struct audit_queue *queue, void (*on_closed)(void *data), void *data)
{
	if (!handle_group_end(&queue->group))
		return;
	queue->on_closed = on_closed;
	queue->closed_data = data;
	if (!queue->is_writing)
		finish(queue);
}
