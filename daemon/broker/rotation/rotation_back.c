/* Taking a rotation back: recorded, whoever ran --apply takes his part back, the old bytes become
 * current, every container that has the new ones is reached once more. */
#include "daemon/broker/rotation/rotation_parts.h"
#include "proto/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define APPLY_DEADLINE_MS 60000 /* then it is taken back without */

static void run_restore(struct work_item *item)
{
	struct rotation *rotation = container_of(item, struct rotation, store_work);

	rotation->store_status = store_restore(rotation->rotations->leases->sources.store,
		rotation->restored, rotation->changes_count, &rotation->store_error);
}

/* Nothing can be taken back: what is there stays, and it is said. */
static void give_up(struct rotation *rotation, const char *why)
{
	log_error("rotation %s is not taken back: %s", rotation->id, why);
	rotation_tell_watches(
		rotation, json_pack("{s:s, s:s}", "event", "not_taken_back", "text", why), false);
	free(rotation->back_reason);
	rotation->back_reason = NULL;
	rotation->canary = 0;
	rotation->state = ROTATION_GOING;
	rotation_go_on(rotation);
}

/* The bytes of before are current again. */
static void reach_everybody_again(struct rotation *rotation)
{
	rotation->is_back = true;
	rotation->state = ROTATION_GOING;
	rotation_clear_targets(rotation);
	rotation_collect(rotation);
	rotation_save(rotation);
	rotation_tell_watches(rotation,
		json_pack("{s:s, s:o, s:s}", "event", "rolling_back", "secrets",
			rotation_changes_to_json(rotation->changes, rotation->changes_count),
			"text", rotation->back_reason),
		false);
	rotation_go_on(rotation);
}

static void on_restored(struct work_item *item, bool is_abandoned)
{
	struct rotation *rotation = container_of(item, struct rotation, store_work);

	if (rotation->handles.is_ending || is_abandoned) {
		handle_group_release(&rotation->handles);
		return;
	}
	if (rotation->store_status == -ENOKEY) {
		/* Locked: rotations_wake() comes back to it. */
		rotation->state = ROTATION_GOING;
		rotation_save_soon(rotation);
	} else if (rotation->store_status < 0) {
		give_up(rotation, rotation->store_error.text);
	} else {
		memcpy(rotation->changes, rotation->restored,
			rotation->changes_count * sizeof *rotation->changes);
		reach_everybody_again(rotation);
	}
	handle_group_release(&rotation->handles);
}

static void restore(struct rotation *rotation)
{
	if (rotation->is_remote) {
		if (rotation_restore_remote(rotation, &rotation->store_error) < 0)
			give_up(rotation, rotation->store_error.text);
		else
			reach_everybody_again(rotation);
		return;
	}
	memcpy(rotation->restored, rotation->changes,
		rotation->changes_count * sizeof *rotation->changes);
	rotation->store_work = (struct work_item){ .run = run_restore, .on_done = on_restored };
	handle_group_hold(&rotation->handles);
	if (work_queue_start(rotation->rotations->leases->loop, &rotation->store_work, NULL) < 0) {
		handle_group_release(&rotation->handles);
		give_up(rotation, "the work queue takes nothing more");
	}
}

static void on_recorded(void *data, int status)
{
	struct rotation *rotation = data;

	if (!rotation->handles.is_ending && status < 0)
		give_up(rotation, "the audit record could not be made durable");
	else if (!rotation->handles.is_ending)
		restore(rotation);
	handle_group_release(&rotation->handles);
}

static void record(struct rotation *rotation)
{
	json_t *entry = json_pack("{s:s, s:s, s:s, s:s, s:o}", "action", "rollback", "decision",
		"granted", "rotation", rotation->id, "reason", rotation->back_reason, "secrets",
		rotation_changes_to_json(rotation->changes, rotation->changes_count));
	int r = -ENOMEM;

	rotation->state = ROTATION_ASKED; /* nothing else begins meanwhile */
	handle_group_hold(&rotation->handles);
	if (entry)
		r = audit_queue_append(
			rotation->rotations->leases->audit, entry, on_recorded, rotation, NULL);
	json_decref(entry);
	if (r < 0)
		on_recorded(rotation, r);
}

static bool has_applier(const struct rotation *rotation)
{
	const struct rotation_watch *watch;

	TAILQ_FOREACH(watch, &rotation->watches, entry)
	if (watch->runs_apply)
		return true;
	return false;
}

void rotation_begin_back(struct rotation *rotation)
{
	deadline_cancel(&rotation->deadline);
	if (rotation->has_apply && has_applier(rotation)) {
		rotation->state = ROTATION_ASKED;
		deadline_arm(&rotation->deadline, APPLY_DEADLINE_MS);
		rotation_tell_watches(rotation,
			json_pack("{s:s, s:s}", "event", "unwell", "text", rotation->back_reason),
			false);
		return;
	}
	if (rotation->has_apply)
		log_warning("rotation %s is taken back, and nobody is there who could run its "
			    "--apply with the values swapped",
			rotation->id);
	record(rotation);
}

void rotation_confirm_back(struct rotation *rotation)
{
	if (rotation->state != ROTATION_ASKED || !rotation->has_apply)
		return;
	deadline_cancel(&rotation->deadline);
	rotation->has_apply = false;
	record(rotation);
}

void rotation_take_back(struct rotation *rotation, const char *reason)
{
	if (rotation->back_reason || rotation->state == ROTATION_OVER)
		return;
	rotation->back_reason = strdup(reason);
	if (!rotation->back_reason)
		return;
	log_warning("rotation %s is taken back: %s", rotation->id, reason);
	rotation_save(rotation);
	rotation_go_on(rotation);
}
