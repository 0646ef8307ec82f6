/* A rotation as it stands in state.db, and as others are told of it. */
#include "daemon/broker/rotation/rotation_parts.h"
#include "proto/json_member.h"
#include "proto/log.h"
#include "proto/secret_name.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAVING_PAUSE_MS 20 /* a thousand targets are not a thousand writes */

const char *target_outcome_name(enum target_outcome outcome)
{
	switch (outcome) {
	case TARGET_TOLD:
		return "told";
	case TARGET_RESTARTED:
		return "restarted";
	case TARGET_WATCHES:
		return "watches";
	case TARGET_QUIET:
		return "quiet";
	case TARGET_UNTOLD:
		return "untold";
	case TARGET_GONE:
		return "gone";
	case TARGET_FAILED:
		return "failed";
	case TARGET_NONE:
		break;
	}
	return "none";
}

static enum target_outcome outcome_named(const char *name)
{
	for (int i = TARGET_TOLD; name && i <= TARGET_FAILED; i++)
		if (strcmp(target_outcome_name((enum target_outcome)i), name) == 0)
			return (enum target_outcome)i;
	return TARGET_NONE;
}

json_t *rotation_target_event(const struct rotation_target *target)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "event", "container", "container",
		target->container, "container_id", target->container_id, "outcome",
		target_outcome_name(target->outcome), "text", target->text);
}

json_t *rotation_changes_to_json(const struct store_change *changes, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		const struct store_change *change = &changes[i];

		(void)json_array_append_new(list,
			json_pack("{s:s, s:s, s:I, s:I}", "set", change->reference.set, "name",
				change->reference.name, "before", (json_int_t)change->before,
				"after", (json_int_t)change->after));
	}
	return list;
}

static json_t *targets_to_json(const struct rotation *rotation)
{
	const struct rotation_target *target;
	json_t *list = json_array();

	TAILQ_FOREACH(target, &rotation->targets, entry)
	if (target->state == TARGET_DONE)
		(void)json_array_append_new(list,
			json_pack("{s:s, s:s, s:s, s:i, s:s, s:s, s:I, s:I}", "mount_id",
				target->mount_id, "container", target->container, "container_id",
				target->container_id, "engine", (int)target->engine, "outcome",
				target_outcome_name(target->outcome), "text", target->text,
				"window", (json_int_t)target->window_s, "reached",
				(json_int_t)target->reached_s));
	return list;
}

static json_t *to_row(const struct rotation *rotation)
{
	return json_pack("{s:s, s:s, s:o, s:O*, s:i, s:b, s:b, s:s*, s:I, s:o}", "id", rotation->id,
		"boot_id", rotation->rotations->boot_id, "changes",
		rotation_changes_to_json(rotation->changes, rotation->changes_count), "actor",
		rotation->actor, "canary", (int)rotation->canary, "apply", rotation->has_apply,
		"is_back", rotation->is_back, "back_reason", rotation->back_reason, "watched_until",
		(json_int_t)rotation->watched_until_s, "targets", targets_to_json(rotation));
}

/* --- writing --- */

struct saving {
	struct work_item work;
	struct state_db *state;
	char id[ROTATION_ID_LENGTH + 1];
	json_t *row; /* NULL: remove it */
	struct mayfly_error err;
	int status;
};

static void run_saving(struct work_item *item)
{
	struct saving *saving = container_of(item, struct saving, work);

	saving->status =
		saving->row ? state_db_rotation_put(
				      saving->state, saving->id, saving->row, &saving->err)
			    : state_db_rotation_remove(saving->state, saving->id, &saving->err);
}

static void on_saved(struct work_item *item, bool is_abandoned)
{
	struct saving *saving = container_of(item, struct saving, work);

	(void)is_abandoned;
	if (saving->status < 0)
		log_error("write down rotation %s: %s", saving->id, saving->err.text);
	json_decref(saving->row);
	free(saving);
}

static void start_saving(struct rotation *rotation, json_t *row)
{
	struct saving *saving = calloc(1, sizeof *saving);

	if (!saving) {
		json_decref(row);
		return;
	}
	saving->work = (struct work_item){ .run = run_saving, .on_done = on_saved };
	saving->state = rotation->rotations->leases->state;
	memcpy(saving->id, rotation->id, sizeof saving->id);
	saving->row = row;
	serial_queue_add(&rotation->rotations->leases->savings, &saving->work);
}

void rotation_save(struct rotation *rotation)
{
	json_t *row = rotation->is_remote ? NULL : to_row(rotation);

	deadline_cancel(&rotation->saving);
	if (row)
		start_saving(rotation, row);
}

void rotation_save_soon(struct rotation *rotation)
{
	if (!rotation->is_remote && rotation->state != ROTATION_OVER &&
		!deadline_is_armed(&rotation->saving))
		deadline_arm(&rotation->saving, SAVING_PAUSE_MS);
}

void rotation_unsave(struct rotation *rotation)
{
	deadline_cancel(&rotation->saving);
	if (!rotation->is_remote)
		start_saving(rotation, NULL);
}

/* --- reading --- */

static int read_change(json_t *object, struct store_change *change)
{
	const char *set = json_text(object, "set"), *name = json_text(object, "name");

	if (strlen(set) >= sizeof change->reference.set ||
		strlen(name) >= sizeof change->reference.name || !set[0] || !name[0])
		return -EINVAL;
	(void)strcpy(change->reference.set, set);
	(void)strcpy(change->reference.name, name);
	change->before = (uint32_t)json_number(object, "before");
	change->after = (uint32_t)json_number(object, "after");
	return 0;
}

static int read_target(struct rotation *rotation, json_t *object)
{
	struct rotation_target *target = calloc(1, sizeof *target);

	if (!target)
		return -ENOMEM;
	*target = (struct rotation_target){ .rotation = rotation,
		.state = TARGET_DONE,
		.outcome = outcome_named(json_text(object, "outcome")),
		.engine = (unsigned)json_number(object, "engine"),
		.container = strdup(json_text(object, "container")),
		.container_id = strdup(json_text(object, "container_id")),
		.window_s = (uint32_t)json_number(object, "window"),
		.reached_s = (uint64_t)json_number(object, "reached") };
	TAILQ_INSERT_TAIL(&rotation->targets, target, entry);
	(void)snprintf(
		target->mount_id, sizeof target->mount_id, "%s", json_text(object, "mount_id"));
	(void)snprintf(target->text, sizeof target->text, "%s", json_text(object, "text"));
	return target->container && target->container_id ? 0 : -ENOMEM;
}

static int read_row(struct rotation *rotation, json_t *row)
{
	json_t *item;
	size_t i;
	/* Nothing that ran before a reboot runs now. */
	const bool is_same_boot =
		strcmp(json_text(row, "boot_id"), rotation->rotations->boot_id) == 0;
	int r = 0;

	json_array_foreach (json_object_get(row, "changes"), i, item)
		if (r == 0)
			r = read_change(item, &rotation->changes[i]);
	json_array_foreach (json_object_get(row, "targets"), i, item)
		if (r == 0 && is_same_boot)
			r = read_target(rotation, item);
	rotation->actor = json_incref(json_object_get(row, "actor"));
	rotation->canary = (unsigned)json_number(row, "canary");
	rotation->has_apply = json_is_true(json_object_get(row, "apply"));
	rotation->is_back = json_is_true(json_object_get(row, "is_back"));
	rotation->watched_until_s = (uint64_t)json_number(row, "watched_until");
	if (json_object_get(row, "back_reason"))
		rotation->back_reason = strdup(json_text(row, "back_reason"));
	return r;
}

int rotation_from_row(struct rotations *rotations, json_t *row, struct rotation **ret_rotation)
{
	const size_t count = json_array_size(json_object_get(row, "changes"));
	const char *id = json_text(row, "id");
	int r;

	if (strlen(id) != ROTATION_ID_LENGTH || count == 0 || count > ROTATION_CHANGES_MAX)
		return -EINVAL;
	r = rotation_new(rotations, id, count, ret_rotation);
	return r < 0 ? r : read_row(*ret_rotation, row);
}
