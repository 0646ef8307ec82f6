/* Writes audit records from the loop: one at work, the others gather meanwhile and share the next
 * fdatasync. So the loop never waits for the disk, and a burst costs few writes.
 * Loop thread only; the writing happens on the work queue. */
#pragma once

#include "daemon/broker/audit/audit.h"

#include <uv.h>

/* Records of one write. */
#define AUDIT_QUEUE_BATCH_MAX 256

/* Records that wait: several seconds of a flood. Whoever comes then is refused, so memory is
 * bounded when the disk stalls. */
#define AUDIT_QUEUE_WAITING_MAX 16384

struct audit_queue;

/* AUDIT is borrowed until the queue is closed. Returns 0 or -ENOMEM. */
int audit_queue_new(uv_loop_t *loop, struct audit *audit, struct audit_queue **ret_queue,
	struct mayfly_error *err);

/* Appends RECORD, of which it takes a reference: nobody changes it from here on.
 * Returns 0, and ON_DURABLE is called exactly once, never before this returns, in the order of the
 * appends: with 0 when the record is durable (only then may be done what it says), or with a
 * negative errno when it is not in the file. It may append again, and close the queue.
 * Returns a negative errno, and it is never called: -ENOBUFS when too many wait, -ESHUTDOWN after
 * audit_queue_close(), -ENOMEM. */
int audit_queue_append(struct audit_queue *queue, json_t *record,
	void (*on_durable)(void *data, int status), void *data, struct mayfly_error *err);

/* Why the record failed. Valid only in an ON_DURABLE with a negative status. */
const struct mayfly_error *audit_queue_failure(const struct audit_queue *queue);

/* Takes no more records, writes those that it has, tells their callers, frees the queue and calls
 * ON_CLOSED (never before this returns). The audit may be closed then. Call it once. */
void audit_queue_close(struct audit_queue *queue, void (*on_closed)(void *data), void *data);
