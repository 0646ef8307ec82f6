#include "daemon/broker/lease/lease_request.h"

#include "daemon/broker/lease/lease_open.h"
#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/lease/lease_renew.h"
#include "daemon/broker/lease/lease_steps.h"
#include "daemon/broker/lease/lease_take.h"
#include "proto/log.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>

int lease_new_for_request(struct lease_context *context, unsigned engine, struct lease **ret_lease,
	struct mayfly_error *err)
{
	static const struct volume_options none;
	unsigned char id[DELIVERY_ID_BYTES];
	char hex[DELIVERY_HEX_LENGTH + 1];
	int r;

	randombytes_buf(id, sizeof id);
	(void)sodium_bin2hex(hex, sizeof hex, id, sizeof id);
	r = lease_new(context, hex, engine, "", &none, ret_lease, err);
	if (r < 0)
		return r;
	free((*ret_lease)->inside);
	(*ret_lease)->inside = NULL;
	(*ret_lease)->mode = LEASE_AT_REQUEST;
	return 0;
}

void lease_forget_request(struct lease *lease)
{
	if (lease->beginnings) {
		lease->beginnings->on_armed = NULL;
		lease->beginnings->fails = NULL;
	}
}

/* The one way in which it fails: whoever waits is told, what was made is wiped. */
static void fail(struct lease *lease, int status, const char *why)
{
	trail_add(lease_trail(lease), STEP_FAILED, "deliver", "%s", why);
	lease_answer_armed(lease, status, why);
	lease_refuse(lease, why);
}

/* Called first in each completion of a step. False: it is over. */
static bool go_on(struct lease *lease, int status, const char *detail)
{
	const char *failed;

	if (!lease_step_done(lease)) {
		lease_answer_armed(lease, -ECANCELED, lease->end_reason);
		return false;
	}
	if (status < 0) {
		fail(lease, status, detail);
		return false;
	}
	failed = lease->beginnings->fails
			 ? lease->beginnings->fails(lease->beginnings->on_armed_data)
			 : "whoever has asked for it has gone";
	if (failed)
		fail(lease, -EPERM, failed);
	return !failed;
}

static void on_attached(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;

	if (!lease_step_done(lease)) {
		lease_answer_armed(lease, -ECANCELED, lease->end_reason);
		return;
	}
	if (status < 0) {
		fail(lease, status, detail);
		return;
	}
	lease->state = LEASE_RELEASED;
	lease->is_verified = true;
	trail_add(lease_trail(lease), STEP_PASSED, "release", "%zu files at /%s, mount %llu",
		lease->beginnings->plan.files_count, lease->holder.target,
		(unsigned long long)delivery->located.mount_id);
	lease_term_start(lease);
	lease_save(lease);
	lease_save_decision(lease, "granted", "released");
	lease_answer_armed(lease, 0, "");
	lease_forget_beginnings(lease);
	/* Another container may have joined its pid namespace meanwhile. */
	lease_guard_again(lease);
	lease->context->on_event(lease->context, lease, LEASE_EVENT_PRESENT);
	lease->context->on_ended(lease->context);
}

static void attach(struct lease *lease)
{
	lease->is_waiting = true;
	if (delivery_attach_inside(&lease->delivery, lease->init.pidfd, lease->holder.target, NULL,
		    true, on_attached) < 0)
		on_attached(&lease->delivery, -ECONNRESET, "mayfly-mounter is being restarted");
}

static void on_marked(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;

	if (!go_on(lease, status, detail))
		return;
	lease->group = guard_shared_group(lease->context->guard);
	lease->keeps_guard = true;
	attach(lease);
}

/* `guard: always` begins before anybody can reach it. */
static void on_sealed(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;
	const uint32_t group = guard_shared_group(lease->context->guard);

	if (!go_on(lease, status, detail))
		return;
	if (!lease_asks_always(lease)) {
		attach(lease);
		return;
	}
	lease->is_waiting = true;
	if (delivery_mark(delivery, group, on_marked) < 0)
		on_marked(delivery, -ECONNRESET, "mayfly-mounter is being restarted");
}

static void on_written(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;

	if (!go_on(lease, status, detail))
		return;
	lease->is_waiting = true;
	if (delivery_seal(delivery, on_sealed) < 0)
		on_sealed(delivery, -ECONNRESET, "mayfly-mounter is being restarted");
}

static void on_made(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;

	if (!go_on(lease, status, detail))
		return;
	lease_once_note(lease);
	lease->is_waiting = true;
	status = delivery_write(
		delivery, lease->context->loop, lease->context->sources.keeper, on_written);
	if (status < 0)
		on_written(delivery, status, "write the files");
}

/* The record first: what cannot be recorded is not released. */
static void on_recorded(void *data, int status)
{
	struct lease *lease = data;

	if (!go_on(lease, status,
		    "the audit record could not be made durable; see `mayfly status`"))
		return;
	lease->is_waiting = true;
	if (delivery_make(&lease->delivery, on_made) < 0)
		on_made(&lease->delivery, -ECONNRESET, "mayfly-mounter is being restarted");
}

static int take_holder(struct lease *lease, const struct lease_request *request)
{
	const struct container_facts *facts = request->facts;
	int r = lease_set_holder(lease, facts->id, facts->name, facts->image_id, request->target);

	if (r < 0)
		return r;
	lease->init = *request->init;
	lease->init.pidfd = fcntl(request->init->pidfd, F_DUPFD_CLOEXEC, 0);
	if (lease->init.pidfd < 0)
		return -errno;
	/* From here on its end is this lease's end. */
	return lease_watch_init(lease) ? 0 : -EIO;
}

void lease_deliver(struct lease *lease, const struct lease_request *request)
{
	json_t *record;
	int r;

	lease->state = LEASE_STARTING;
	lease->beginnings->on_armed = request->on_delivered;
	lease->beginnings->on_armed_data = request->data;
	lease->beginnings->fails = request->fails;
	r = take_holder(lease, request);
	if (r < 0) {
		fail(lease, r, "the container has ended");
		return;
	}
	record = lease_audit_record(lease, "release", "granted", NULL);
	r = record ? audit_queue_append(lease->context->audit, record, on_recorded, lease, NULL)
		   : -ENOMEM;
	json_decref(record);
	lease->is_waiting = true;
	if (r < 0)
		on_recorded(lease, r);
}

bool lease_leave_target(struct lease *lease, delivery_done_function *on_left)
{
	return lease->mode == LEASE_AT_REQUEST && lease->delivery.phase == PHASE_WIPED &&
	       lease_is_alive(lease) && lease->holder.target &&
	       delivery_detach_inside(
		       &lease->delivery, lease->init.pidfd, lease->holder.target, on_left) == 0;
}
