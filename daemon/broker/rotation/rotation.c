#include "daemon/broker/rotation/rotation.h"

#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/rotation/rotation_parts.h"
#include "proto/boot_clock.h"
#include "proto/log.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A start that was under way holds values of before for so long at most; see LEASE_START_DEADLINE_MS. */
#define REMEMBERED_MS (2 * LEASE_START_DEADLINE_MS)

uint64_t boot_seconds(void)
{
	return (uint64_t)boot_clock_ms() / 1000;
}

/* --- what it concerns --- */

const struct store_change *rotation_find_change(
	const struct store_change *changes, size_t count, const char *set, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(changes[i].reference.set, set) == 0 &&
			strcmp(changes[i].reference.name, name) == 0)
			return &changes[i];
	return NULL;
}

const struct store_change *rotation_change_of(
	const struct rotation *rotation, const char *set, const char *name)
{
	return rotation_find_change(rotation->changes, rotation->changes_count, set, name);
}

bool rotation_concerns(const struct rotation *rotation, const struct lease *lease)
{
	for (size_t i = 0; lease->used && i < lease->used->count; i++)
		if (rotation_change_of(
			    rotation, lease->used->items[i].set, lease->used->items[i].name))
			return true;
	return false;
}

/* A server may begin to count anew, and what it does not count is never known to be there. */
static bool is_wanted(
	const struct rotation *rotation, const struct store_change *change, uint32_t version)
{
	if (rotation->is_remote)
		return change->after != 0 && version == change->after;
	return version >= change->after;
}

bool rotation_has_reached(const struct rotation *rotation, const struct lease *lease)
{
	for (size_t i = 0; i < rotation->changes_count; i++) {
		const struct store_change *change = &rotation->changes[i];
		bool is_used = false, is_new = false;

		for (size_t k = 0; lease->used && k < lease->used->count; k++) {
			const struct used_secret *used = &lease->used->items[k];

			if (strcmp(used->set, change->reference.set) != 0 ||
				strcmp(used->name, change->reference.name) != 0)
				continue;
			is_used = true;
			is_new |= is_wanted(rotation, change, used->version);
		}
		if (is_used && !is_new)
			return false;
	}
	return true;
}

int rotation_add_target(struct rotation *rotation, const struct lease *lease)
{
	struct rotation_target *target = calloc(1, sizeof *target);

	if (!target)
		return -ENOMEM;
	target->container = strdup(lease_container_name(lease));
	target->container_id = strdup(lease_container_id(lease));
	if (!target->container || !target->container_id) {
		free(target->container);
		free(target->container_id);
		free(target);
		return -ENOMEM;
	}
	target->rotation = rotation;
	target->state = TARGET_WAITING;
	target->engine = lease->engine;
	memcpy(target->mount_id, lease->delivery.hex, sizeof target->mount_id);
	TAILQ_INSERT_TAIL(&rotation->targets, target, entry);
	return 0;
}

void rotation_clear_targets(struct rotation *rotation)
{
	struct rotation_target *target;

	while ((target = TAILQ_FIRST(&rotation->targets))) {
		TAILQ_REMOVE(&rotation->targets, target, entry);
		rotation_target_abandon(target);
		free(target->container);
		free(target->container_id);
		free(target);
	}
}

/* LEASE has what is taken back. Whoever was not reached has the same bytes under an older number. */
static bool has_before(const struct rotation *rotation, const struct lease *lease)
{
	for (size_t i = 0; i < lease->used->count; i++) {
		const struct used_secret *used = &lease->used->items[i];
		const struct store_change *change =
			rotation_change_of(rotation, used->set, used->name);

		if (change && used->version == change->before)
			return true;
	}
	return false;
}

void rotation_collect(struct rotation *rotation)
{
	const struct lease *lease;

	TAILQ_FOREACH(lease, &rotation->rotations->leases->leases, entry)
	if (lease_is_released(lease) && rotation_concerns(rotation, lease) &&
		(!rotation->is_back || has_before(rotation, lease)) &&
		rotation_add_target(rotation, lease) < 0)
		log_error("%s: out of memory: it keeps the version of before",
			lease_container_name(lease));
}

/* --- telling --- */

void rotation_tell_watches(struct rotation *rotation, json_t *event, bool is_last)
{
	struct rotation_watch *watch, *next;

	for (watch = TAILQ_FIRST(&rotation->watches); watch; watch = next) {
		next = TAILQ_NEXT(watch, entry);
		if (is_last) {
			TAILQ_REMOVE(&rotation->watches, watch, entry);
			watch->rotation = NULL;
		}
		watch->on_event(watch, event, is_last);
	}
	json_decref(event);
}

void rotation_watch(struct rotation *rotation, struct rotation_watch *watch)
{
	watch->rotation = rotation;
	TAILQ_INSERT_TAIL(&rotation->watches, watch, entry);
}

void rotation_unwatch(struct rotation_watch *watch)
{
	if (watch->rotation)
		TAILQ_REMOVE(&watch->rotation->watches, watch, entry);
	watch->rotation = NULL;
}

/* --- going on --- */

static unsigned count(const struct rotation *rotation, enum target_state state)
{
	const struct rotation_target *target;
	unsigned found = 0;

	TAILQ_FOREACH(target, &rotation->targets, entry)
	found += target->state == state;
	return found;
}

static unsigned failures(const struct rotation *rotation, const char **ret_text)
{
	const struct rotation_target *target;
	unsigned found = 0;

	TAILQ_FOREACH(target, &rotation->targets, entry)
	if (target->state == TARGET_DONE && target->outcome == TARGET_FAILED) {
		*ret_text = target->text;
		found++;
	}
	return found;
}

/* When the last window of those that were reached is over. */
static uint64_t windows_end(const struct rotation *rotation)
{
	const struct rotation_target *target;
	uint64_t end = 0;

	TAILQ_FOREACH(target, &rotation->targets, entry)
	if (target->state == TARGET_DONE && target->reached_s > 0 && target->window_s > 0 &&
		target->reached_s + target->window_s > end)
		end = target->reached_s + target->window_s;
	return end;
}

static json_t *last_event(struct rotation *rotation)
{
	const char *text = NULL;
	const unsigned failed = failures(rotation, &text);

	return json_pack("{s:s, s:s, s:i, s:i, s:s*}", "event", "over", "outcome",
		rotation->is_back ? "rolled_back" : "rotated", "containers",
		(int)count(rotation, TARGET_DONE), "failed", (int)failed, "text",
		rotation->back_reason);
}

/* Every target is reached, and nobody can take it back any more. */
static void end(struct rotation *rotation)
{
	if (rotation->state == ROTATION_OVER)
		return;
	rotation->state = ROTATION_OVER;
	rotation_unsave(rotation);
	rotation_tell_watches(rotation, last_event(rotation), true);
	/* A container that was being started may yet come with the values of before. */
	deadline_arm(&rotation->deadline, REMEMBERED_MS);
}

static void watch_health(struct rotation *rotation, enum rotation_state state, uint64_t until_s)
{
	const uint64_t now = boot_seconds();

	rotation->state = state;
	rotation->watched_until_s = until_s;
	rotation_save_soon(rotation);
	rotation_tell_watches(rotation,
		json_pack("{s:s, s:s, s:I}", "event", "watching", "what",
			state == ROTATION_CANARY ? "canary" : "all", "seconds",
			(json_int_t)(until_s > now ? until_s - now : 0)),
		false);
	/* A second more: whole seconds are compared. */
	deadline_arm(&rotation->deadline, (until_s > now ? until_s - now + 1 : 1) * 1000);
}

/* Nothing waits and nothing is at work. */
static void end_of_phase(struct rotation *rotation)
{
	const bool is_canary = rotation->canary > 0 && !rotation->is_back;
	const uint64_t until = rotation->is_back ? 0 : windows_end(rotation);
	const char *text = NULL;

	if (is_canary && failures(rotation, &text) > 0) {
		rotation_take_back(rotation, text);
		return;
	}
	if (is_canary && count(rotation, TARGET_WAITING) == 0)
		rotation->canary = 0; /* there are no others */
	if (until > boot_seconds())
		watch_health(
			rotation, rotation->canary > 0 ? ROTATION_CANARY : ROTATION_WATCHED, until);
	else if (rotation->canary > 0) {
		rotation->canary = 0;
		rotation_go_on(rotation);
	} else {
		end(rotation);
	}
}

static struct rotation_target *next_waiting(struct rotation *rotation)
{
	struct rotation_target *target;
	unsigned seen = 0;

	TAILQ_FOREACH(target, &rotation->targets, entry)
	{
		if (rotation->canary > 0 && !rotation->is_back && seen++ >= rotation->canary)
			return NULL;
		if (target->state == TARGET_WAITING)
			return target;
	}
	return NULL;
}

void rotation_go_on(struct rotation *rotation)
{
	struct rotation_target *target;

	if (rotation->rotations->is_stopping || rotation->is_unresolved ||
		rotation->state == ROTATION_ASKED || rotation->store_work.is_under_way)
		return;
	if (rotation->back_reason && !rotation->is_back) {
		if (rotation->at_work == 0)
			rotation_begin_back(rotation);
		return;
	}
	while (rotation->at_work < ROTATION_AT_ONCE && (target = next_waiting(rotation))) {
		if (rotation->state == ROTATION_WATCHED)
			rotation->state = ROTATION_GOING;
		rotation->at_work++;
		target->state = TARGET_AT_WORK;
		rotation_target_start(target);
	}
	if (rotation->at_work == 0 && !next_waiting(rotation) &&
		(rotation->state == ROTATION_GOING))
		end_of_phase(rotation);
}

static void forget(struct rotation *rotation)
{
	TAILQ_REMOVE(&rotation->rotations->list, rotation, entry);
	rotation_clear_targets(rotation);
	if (handle_group_end(&rotation->handles)) {
		deadline_close(&rotation->deadline);
		deadline_close(&rotation->saving);
		handle_group_release(&rotation->handles);
	}
}

static void on_deadline(struct deadline *deadline)
{
	struct rotation *rotation = container_of(deadline, struct rotation, deadline);

	switch (rotation->state) {
	case ROTATION_OVER:
		forget(rotation);
		break;
	case ROTATION_CANARY:
		rotation->canary = 0;
		rotation->state = ROTATION_GOING;
		rotation_go_on(rotation);
		break;
	case ROTATION_WATCHED:
		/* A restart may have ended it earlier than a window says. */
		rotation->state = ROTATION_GOING;
		rotation_go_on(rotation);
		break;
	case ROTATION_ASKED:
		rotation_confirm_back(rotation);
		break;
	case ROTATION_GOING:
		rotation_go_on(rotation);
		break;
	}
}

static void on_empty(struct handle_group *handles)
{
	struct rotation *rotation = container_of(handles, struct rotation, handles);

	json_decref(rotation->actor);
	free(rotation->changes);
	free(rotation->restored);
	free(rotation->back_reason);
	free(rotation);
}

static void on_saving(struct deadline *deadline)
{
	rotation_save(container_of(deadline, struct rotation, saving));
}

int rotation_new(struct rotations *rotations, const char *id, size_t changes_count,
	struct rotation **ret_rotation)
{
	struct rotation *rotation = calloc(1, sizeof *rotation);

	if (!rotation)
		return -ENOMEM;
	rotation->changes = calloc(changes_count + 1, sizeof *rotation->changes);
	rotation->restored = calloc(changes_count + 1, sizeof *rotation->restored);
	if (!rotation->changes || !rotation->restored) {
		free(rotation->changes);
		free(rotation->restored);
		free(rotation);
		return -ENOMEM;
	}
	rotation->changes_count = changes_count;
	rotation->rotations = rotations;
	rotation->state = ROTATION_GOING;
	(void)snprintf(rotation->id, sizeof rotation->id, "%s", id);
	TAILQ_INIT(&rotation->targets);
	TAILQ_INIT(&rotation->watches);
	handle_group_init(&rotation->handles, on_empty);
	deadline_init(
		&rotation->deadline, rotations->leases->loop, &rotation->handles, on_deadline);
	deadline_init(&rotation->saving, rotations->leases->loop, &rotation->handles, on_saving);
	TAILQ_INSERT_TAIL(&rotations->list, rotation, entry);
	*ret_rotation = rotation;
	return 0;
}

void rotation_make_id(char id[ROTATION_ID_LENGTH + 1])
{
	unsigned char random[ROTATION_ID_LENGTH / 2];

	randombytes_buf(random, sizeof random);
	(void)sodium_bin2hex(id, ROTATION_ID_LENGTH + 1, random, sizeof random);
}

int rotation_begin(struct rotations *rotations, const char *id, const struct store_change *changes,
	size_t changes_count, const struct rotation_options *options,
	struct rotation **ret_rotation)
{
	struct rotation *rotation;
	const int r = rotation_new(rotations, id, changes_count, &rotation);

	if (r < 0)
		return r;
	memcpy(rotation->changes, changes, changes_count * sizeof *changes);
	rotation->actor = json_incref(options->actor);
	rotation->canary = options->canary;
	rotation->has_apply = options->has_apply;
	rotation->is_remote = options->is_remote;
	rotation_collect(rotation);
	rotation_save(rotation);
	/* Whoever has begun it hears of its beginning first. */
	deadline_arm(&rotation->deadline, 0);
	*ret_rotation = rotation;
	return 0;
}

/* --- what comes from elsewhere --- */

struct rotation *rotation_find(struct rotations *rotations, const char *id)
{
	struct rotation *rotation;

	TAILQ_FOREACH(rotation, &rotations->list, entry)
	if (strcmp(rotation->id, id) == 0)
		return rotation;
	return NULL;
}

void rotations_on_unwell(
	struct rotations *rotations, unsigned engine, const char *id, const char *how)
{
	const uint64_t now = boot_seconds();
	const struct rotation_target *target;
	struct rotation *rotation;
	char why[256];

	TAILQ_FOREACH(rotation, &rotations->list, entry)
	{
		if (rotation->state == ROTATION_OVER || rotation->back_reason)
			continue;
		TAILQ_FOREACH(target, &rotation->targets, entry)
		if (target->engine == engine && strcmp(target->container_id, id) == 0 &&
			target->state == TARGET_DONE && target->window_s > 0 &&
			target->reached_s > 0 && now <= target->reached_s + target->window_s)
			break;
		if (!target)
			continue;
		(void)snprintf(why, sizeof why, "%s %s", target->container, how);
		rotation_take_back(rotation, why);
	}
}

static void on_release(struct rotations *rotations, const struct lease *lease)
{
	struct rotation *rotation;

	TAILQ_FOREACH(rotation, &rotations->list, entry)
	{
		if (rotation->is_superseded || !rotation_concerns(rotation, lease) ||
			rotation_has_reached(rotation, lease) ||
			rotation_add_target(rotation, lease) < 0)
			continue;
		if (rotation->state == ROTATION_OVER)
			rotation->state = ROTATION_GOING;
		rotation_go_on(rotation);
	}
}

void rotations_on_lease_event(
	struct rotations *rotations, const struct lease *lease, enum lease_event event)
{
	rotations_follow(rotations);
	if (event == LEASE_EVENT_PRESENT)
		on_release(rotations, lease);
	else if (event == LEASE_EVENT_ENDED && lease->holder.id && !lease_is_alive(lease))
		rotations_on_unwell(rotations, lease->engine, lease->holder.id, "has ended");
}

void rotations_wake(struct rotations *rotations)
{
	struct rotation *rotation, *next;

	for (rotation = TAILQ_FIRST(&rotations->list); rotation; rotation = next) {
		next = TAILQ_NEXT(rotation, entry);
		if (rotation->is_unresolved)
			rotation_resolve(rotation);
		else
			rotation_go_on(rotation);
	}
}

void rotations_init(struct rotations *rotations, struct lease_context *leases)
{
	*rotations = (struct rotations){ .leases = leases };
	TAILQ_INIT(&rotations->list);
	rotations_follow_init(rotations);
}

void rotations_stop(struct rotations *rotations)
{
	struct rotation *rotation;

	rotations->is_stopping = true;
	rotations_follow_stop(rotations);
	while ((rotation = TAILQ_FIRST(&rotations->list))) {
		rotation_tell_watches(rotation,
			json_pack("{s:s, s:s}", "event", "over", "outcome", "interrupted"), true);
		forget(rotation);
	}
}

json_t *rotations_describe(const struct rotations *rotations)
{
	const struct rotation *rotation;
	json_t *list = json_array();

	TAILQ_FOREACH(rotation, &rotations->list, entry)
	if (rotation->state != ROTATION_OVER)
		(void)json_array_append_new(list,
			json_pack("{s:s, s:o, s:s, s:i, s:i}", "id", rotation->id, "secrets",
				rotation_changes_to_json(
					rotation->changes, rotation->changes_count),
				"state",
				rotation->back_reason		    ? "rolling_back"
				: rotation->state == ROTATION_GOING ? "going"
								    : "watched",
				"reached", (int)count(rotation, TARGET_DONE), "containers",
				(int)(count(rotation, TARGET_DONE) +
					count(rotation, TARGET_WAITING) + rotation->at_work)));
	return list;
}
