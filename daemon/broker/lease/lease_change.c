/* The next generation of a released delivery: recorded, made beside the present one, written, put in
 * its place by one exchange, sealed. Until the exchange nothing that a reader sees has changed; a
 * failure before it leaves no trace. What was readable before stays so for the grace time, for
 * whoever has opened its directory, and is emptied then. */
#include "daemon/broker/lease/lease_change.h"

#include "daemon/broker/lease/lease_open.h"
#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/lease/lease_steps.h"
#include "daemon/broker/lease/lease_take.h"
#include "proto/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SEAL_ATTEMPTS 16
#define BUSY_AGAIN_MS 200
#define GRACE_TURNS   2 /* cleanings until the last of a change is gone */

struct change {
	bool is_cleaning; /* only empties older generations */
	bool keeps_younger;
	struct plan plan;
	struct used_secrets *used;
	uint32_t old_generation;
	bool has_files; /* placeholders of the new generation may be there */
	unsigned seal_attempts;
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
	if (lease->state == LEASE_RELEASED && lease->grace_turns > 0 &&
		!deadline_is_armed(&lease->deadline))
		deadline_arm(&lease->deadline, LEASE_GRACE_MS);
	if (change->on_changed)
		change->on_changed(lease, change->status, change->why, change->data);
	plan_done(&change->plan);
	free(change->used);
	free(change);
	if (lease->is_lost && lease_is_released(lease))
		lease_readopt(lease);
}

/* Called first in each completion of a step. True when the lease lives on; otherwise the change is
 * over with it. */
static bool step_done(struct lease *lease)
{
	if (lease_step_done(lease) && !lease->is_lost)
		return true;
	if (lease->is_lost && !lease->end_reason) {
		/* The mounter that this began with has ended. */
		lease->change->status = -ECONNRESET;
		(void)snprintf(lease->change->why, sizeof lease->change->why,
			"mayfly-mounter has been restarted");
		delivery_set_files(lease_filled(lease), NULL, 0);
		finish(lease);
		return false;
	}
	lease->change->status = -ECANCELED;
	(void)snprintf(lease->change->why, sizeof lease->change->why, "%s", lease->end_reason);
	finish(lease);
	return false;
}

static void on_sealed(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;
	struct change *change = lease->change;

	if (!step_done(lease))
		return;
	if (status == -EBUSY && change->seal_attempts++ < SEAL_ATTEMPTS) {
		/* A write open that merely waits counts as a writer. */
		lease_deny_waiting(lease);
		lease->is_waiting = true;
		if (delivery_seal(delivery, on_sealed) == 0)
			return;
		lease->is_waiting = false;
	}
	if (status < 0 && status != -ECONNRESET) {
		/* An unsealed delivery must not stay. After the mounter's end it is sealed when it is
		 * adopted again. */
		change->status = status;
		(void)snprintf(change->why, sizeof change->why, "%s", detail);
		lease_audit(lease, "release", "refused", detail);
		finish(lease);
		lease_end(lease, detail);
		return;
	}
	if (change->status == 0 && !change->is_cleaning)
		lease->context->on_event(lease->context, lease, LEASE_EVENT_ROTATED);
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
	else if (!lease->change->keeps_younger)
		lease->grace_turns = 0;
	else if (lease->change->is_cleaning)
		lease->grace_turns--;
	seal(lease);
}

static void clean(struct lease *lease)
{
	struct delivery *delivery = lease_filled(lease);

	lease->is_waiting = true;
	if (delivery_clean(delivery, lease->change->keeps_younger, on_cleaned) < 0)
		on_cleaned(delivery, -ECONNRESET, "mayfly-mounter is being restarted");
}

/* What was made of the next generation goes again. */
static void take_back(struct lease *lease, int status, const char *why)
{
	struct delivery *delivery = lease_filled(lease);
	struct change *change = lease->change;

	change->status = status;
	(void)snprintf(change->why, sizeof change->why, "%s", why);
	delivery->generation = change->old_generation;
	delivery_set_files(delivery, NULL, 0);
	/* Whoever is in the middle of an older generation loses it only where there is no room. */
	change->keeps_younger = status != -ENOSPC;
	if (change->has_files)
		clean(lease);
	else
		seal(lease);
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
	lease->grace_turns = GRACE_TURNS;
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
		status = delivery_commit(delivery, true, on_committed);
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
	if (status == 0 && lease->change->is_cleaning) {
		clean(lease);
		return;
	}
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
	}
	lease->change->status = status;
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

bool lease_has_path(const struct lease *lease, const char *path)
{
	for (size_t i = 0; lease->used && i < lease->used->count; i++)
		if (strcmp(lease->used->items[i].path, path) == 0)
			return true;
	return false;
}

bool lease_can_change(const struct lease *lease)
{
	return lease_is_released(lease) && !lease->change && !lease->is_waiting &&
	       !lease->is_draining &&
	       !delivery_is_busy(lease_filled((struct lease *)(uintptr_t)lease));
}

int lease_change(struct lease *lease, struct plan *plan, struct fetched *fetched,
	void (*on_changed)(struct lease *lease, int status, const char *why, void *data),
	void *data)
{
	struct delivery *delivery = lease_filled(lease);
	struct change *change;
	json_t *record;
	int r;

	if (!lease_can_change(lease))
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

void lease_end_grace(struct lease *lease)
{
	struct change *change;

	if (lease->grace_turns == 0)
		return;
	change = lease_can_change(lease) ? calloc(1, sizeof *change) : NULL;
	if (!change) {
		/* Another change is under way. */
		deadline_arm(&lease->deadline, BUSY_AGAIN_MS);
		return;
	}
	change->is_cleaning = true;
	change->keeps_younger = lease->grace_turns > 1;
	change->old_generation = lease_filled(lease)->generation;
	lease->change = change;
	lease->is_waiting = true;
	if (delivery_unseal(lease_filled(lease), on_unsealed) < 0) {
		lease->is_waiting = false;
		finish(lease);
	}
}
