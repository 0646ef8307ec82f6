/* The next generation of a released delivery: recorded, made beside the present one, written, put in
 * its place by one exchange, sealed. Until the exchange nothing that a reader sees has changed; a
 * failure before it leaves no trace. */
#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/lease/lease_request.h"
#include "daemon/broker/lease/lease_steps.h"
#include "daemon/broker/lease/lease_take.h"
#include "proto/log.h"

#include <errno.h>
#include <stdlib.h>

struct change {
	struct plan plan;
	struct used_secrets *used;
	uint32_t old_generation;
	bool has_files; /* placeholders of the new generation may be there */
	int status;
	char why[256];
	void (*on_changed)(struct lease *lease, int status, const char *why, void *data);
	void *data;
};

/* Takes the change out of LEASE and tells its owner. */
static void finish(struct lease *lease)
{
	struct change *change = lease->change;

	lease->change = NULL;
	change->on_changed(lease, change->status, change->why, change->data);
	plan_done(&change->plan);
	free(change->used);
	free(change);
}

/* Called first in each completion of a step. True when the lease lives on; otherwise the change is
 * over with it. */
static bool step_done(struct lease *lease)
{
	if (lease_step_done(lease))
		return true;
	lease->change->status = -ECANCELED;
	(void)snprintf(lease->change->why, sizeof lease->change->why, "%s", lease->end_reason);
	finish(lease);
	return false;
}

static void on_sealed(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;

	if (!step_done(lease))
		return;
	if (status == 0 && lease->change->status == 0)
		lease->context->on_event(lease->context, lease, LEASE_EVENT_ROTATED);
	if (status < 0) {
		/* An unsealed delivery must not stay. */
		finish(lease);
		lease_audit(lease, "release", "refused", detail);
		lease_end(lease, detail);
		return;
	}
	finish(lease);
}

static void seal(struct lease *lease)
{
	struct delivery *delivery = lease_filled(lease);

	delivery_set_files(delivery, NULL, 0);
	lease->is_waiting = true;
	if (delivery_seal(delivery, on_sealed) < 0)
		on_sealed(delivery, -ECONNRESET, "mayfly-mounter is being restarted");
}

static void on_cleaned(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;

	if (!step_done(lease))
		return;
	if (status < 0)
		log_warning("delivery %.12s: %s", delivery->hex, detail);
	seal(lease);
}

/* What was made of the next generation goes again. */
static void take_back(struct lease *lease, int status, const char *why)
{
	struct delivery *delivery = lease_filled(lease);
	struct change *change = lease->change;

	change->status = status;
	(void)snprintf(change->why, sizeof change->why, "%s", why);
	delivery->generation = change->old_generation;
	if (!change->has_files) {
		seal(lease);
		return;
	}
	delivery_set_files(delivery, NULL, 0);
	lease->is_waiting = true;
	if (delivery_clean(delivery, on_cleaned) < 0)
		on_cleaned(delivery, -ECONNRESET, "mayfly-mounter is being restarted");
}

static void on_committed(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;
	struct change *change = lease->change;

	if (!step_done(lease))
		return;
	if (status < 0) {
		take_back(lease, status, detail);
		return;
	}
	free(lease->used);
	lease->used = change->used;
	change->used = NULL;
	json_decref(lease->grants);
	lease->grants = plan_grant_names(&change->plan);
	lease_save(lease);
	seal(lease);
}

static void on_written(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;

	if (!step_done(lease))
		return;
	if (status == 0) {
		lease->is_waiting = true;
		status = delivery_commit(delivery, false, on_committed);
		if (status == 0)
			return;
		lease->is_waiting = false;
	}
	take_back(lease, status, detail);
}

static void on_prepared(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;

	if (!step_done(lease))
		return;
	lease->change->has_files = true;
	if (status == 0) {
		lease_once_note(lease);
		lease->is_waiting = true;
		status = delivery_write(
			delivery, lease->context->loop, lease->context->sources.keeper, on_written);
		if (status == 0)
			return;
		lease->is_waiting = false;
	}
	take_back(lease, status, detail);
}

static void on_unsealed(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;

	if (!step_done(lease))
		return;
	if (status == 0) {
		lease->is_waiting = true;
		status = delivery_prepare(delivery, on_prepared);
		if (status == 0)
			return;
		lease->is_waiting = false;
	}
	take_back(lease, status, detail);
}

static void on_recorded(void *data, int status)
{
	struct lease *lease = data;
	struct delivery *delivery = lease_filled(lease);

	if (!step_done(lease))
		return;
	if (status == 0) {
		lease->is_waiting = true;
		status = delivery_unseal(delivery, on_unsealed);
		if (status == 0)
			return;
		lease->is_waiting = false;
		lease->change->status = status;
	} else {
		lease->change->status = status;
	}
	(void)snprintf(lease->change->why, sizeof lease->change->why,
		status == -ECONNRESET ? "mayfly-mounter is being restarted"
				      : "the audit record could not be made durable");
	delivery_set_files(delivery, NULL, 0);
	finish(lease);
}

/* The record of what it will have: the lease still says what it has. */
static json_t *record_of(const struct lease *lease, const struct fetched *fetched)
{
	json_t *record = lease_audit_record(lease, "release", "granted", "a further generation");

	if (record)
		(void)json_object_set_new(record, "secrets", used_secrets_to_json(fetched->used));
	return record;
}

int lease_change(struct lease *lease, struct plan *plan, struct fetched *fetched,
	void (*on_changed)(struct lease *lease, int status, const char *why, void *data),
	void *data)
{
	struct delivery *delivery = lease_filled(lease);
	struct change *change;
	json_t *record;
	int r;

	if (lease->state != LEASE_RELEASED || lease->change || lease->is_waiting ||
		delivery_is_busy(delivery))
		return -EBUSY;
	lease_leave_out_taken(lease, fetched);
	change = calloc(1, sizeof *change);
	record = record_of(lease, fetched);
	if (!change || !record) {
		free(change);
		json_decref(record);
		return -ENOMEM;
	}
	*change = (struct change){ .plan = *plan,
		.used = fetched->used,
		.old_generation = delivery->generation,
		.on_changed = on_changed,
		.data = data };
	*plan = (struct plan){ 0 };
	lease->change = change;
	delivery_set_files(delivery, fetched->files, fetched->files_count);
	fetched->files = NULL;
	fetched->files_count = 0;
	fetched->used = NULL;
	lease->is_waiting = true;
	r = audit_queue_append(lease->context->audit, record, on_recorded, lease, NULL);
	json_decref(record);
	if (r < 0)
		on_recorded(lease, r);
	return 0;
}
