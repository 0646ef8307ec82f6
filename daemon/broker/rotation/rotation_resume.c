/* Rotations that were under way when the broker before us ended. What the store has is the truth about
 * how far one came; what the deliveries have is the truth about what is left. */
#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/rotation/rotation_parts.h"
#include "proto/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What the store says, in the background. */
struct resolving {
	struct work_item work;
	struct rotation *rotation;
	struct store *store;
	struct store_change
		*changes; /* the rotation's; nobody else touches them until it is resolved */
	uint32_t current[ROTATION_CHANGES_MAX];
	int status;
	struct mayfly_error err;
};

static void run(struct work_item *item)
{
	struct resolving *resolving = container_of(item, struct resolving, work);
	struct secret_info info;

	for (size_t i = 0; i < resolving->rotation->changes_count && resolving->status == 0; i++) {
		resolving->status = store_info(
			resolving->store, &resolving->changes[i].reference, &info, &resolving->err);
		resolving->current[i] = info.current;
	}
}

static struct rotation_target *find_target(struct rotation *rotation, const struct lease *lease)
{
	struct rotation_target *target;

	TAILQ_FOREACH(target, &rotation->targets, entry)
	if (strcmp(target->mount_id, lease->delivery.hex) == 0)
		return target;
	return NULL;
}

/* Who is not reached yet, or may not have been told. */
static void collect_again(struct rotation *rotation)
{
	const struct lease *lease;

	TAILQ_FOREACH(lease, &rotation->rotations->leases->leases, entry)
	{
		struct rotation_target *target;

		if (!lease_is_released(lease) || !rotation_concerns(rotation, lease))
			continue;
		target = find_target(rotation, lease);
		if (target && !rotation_has_reached(rotation, lease))
			target->state = TARGET_WAITING;
		else if (!target && rotation_add_target(rotation, lease) < 0)
			log_error("%s: out of memory: it keeps the version of before",
				lease_container_name(lease));
	}
}

static bool is_running(const struct rotation *rotation, const struct rotation_target *target)
{
	const struct lease *lease;

	TAILQ_FOREACH(lease, &rotation->rotations->leases->leases, entry)
	if (lease->holder.id && strcmp(lease->holder.id, target->container_id) == 0 &&
		lease_is_alive(lease))
		return true;
	return false;
}

/* Whoever has ended meanwhile, within its window, has not told us. An engine that connects again tells
 * who is unhealthy. */
static void look_at_windows(struct rotation *rotation)
{
	const uint64_t now = boot_seconds();
	const struct rotation_target *target;
	char why[256];

	TAILQ_FOREACH(target, &rotation->targets, entry)
	{
		if (target->state != TARGET_DONE || target->window_s == 0 ||
			target->reached_s == 0 || now > target->reached_s + target->window_s ||
			is_running(rotation, target))
			continue;
		(void)snprintf(why, sizeof why, "%s has ended", target->container);
		rotation_take_back(rotation, why);
		return;
	}
}

/* False: nothing of it has happened. */
static bool settle_changes(struct rotation *rotation, const uint32_t *current)
{
	for (size_t i = 0; i < rotation->changes_count; i++) {
		struct store_change *change = &rotation->changes[i];

		if (change->after == 0 && current[i] == change->before)
			return false;
		if (change->after == 0)
			change->after = current[i];
		else if (rotation->back_reason && !rotation->is_back && current[i] != change->after)
			*change = (struct store_change){ change->reference, change->after,
				current[i] };
		else
			continue;
		if (rotation->back_reason)
			rotation->is_back = true;
	}
	return true;
}

static void on_resolved(struct work_item *item, bool is_abandoned)
{
	struct resolving *resolving = container_of(item, struct resolving, work);
	struct rotation *rotation = resolving->rotation;

	(void)is_abandoned;
	rotation->is_resolving = false;
	if (rotation->handles.is_ending || resolving->status == -ENOKEY) {
		/* Locked again: rotations_wake() comes back to it. */
	} else if (resolving->status < 0 || !settle_changes(rotation, resolving->current)) {
		if (resolving->status < 0)
			log_error("rotation %s: %s", rotation->id, resolving->err.text);
		rotation->is_unresolved = false;
		rotation->state = ROTATION_OVER;
		rotation_unsave(rotation);
	} else {
		log_notice("rotation %s goes on", rotation->id);
		rotation->is_unresolved = false;
		collect_again(rotation);
		rotation_save(rotation);
		if (!rotation->back_reason)
			look_at_windows(rotation);
		rotation_go_on(rotation);
	}
	handle_group_release(&rotation->handles);
	free(resolving);
}

void rotation_resolve(struct rotation *rotation)
{
	struct lease_context *leases = rotation->rotations->leases;
	struct resolving *resolving;

	if (rotation->is_resolving || store_state(leases->sources.store, NULL) != STORE_UNLOCKED)
		return;
	resolving = calloc(1, sizeof *resolving);
	if (!resolving)
		return;
	*resolving = (struct resolving){ .work = { .run = run, .on_done = on_resolved },
		.rotation = rotation,
		.store = leases->sources.store,
		.changes = rotation->changes };
	handle_group_hold(&rotation->handles);
	rotation->is_resolving = true;
	if (work_queue_start(leases->loop, &resolving->work, NULL) == 0)
		return;
	rotation->is_resolving = false;
	handle_group_release(&rotation->handles);
	free(resolving);
}

void rotations_resume(struct rotations *rotations)
{
	struct mayfly_error err;
	json_t *rows = NULL, *row;
	size_t i;

	if (state_db_rotations(rotations->leases->state, &rows, &err) < 0)
		log_error("%s", err.text);
	json_array_foreach (rows, i, row) {
		struct rotation *rotation = NULL;

		if (rotation_from_row(rotations, row, &rotation) < 0) {
			log_error("a rotation in state.db cannot be read");
			if (rotation)
				rotation->state = ROTATION_OVER;
			continue;
		}
		rotation->is_unresolved = true;
		rotation_resolve(rotation);
	}
	json_decref(rows);
	rotations_follow(rotations);
}
