#include "daemon/broker/lease/adopt/lease_adopt.h"

#include "daemon/broker/lease/lease_change.h"
#include "daemon/broker/lease/lease_open.h"
#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/lease/lease_renew.h"
#include "daemon/broker/lease/lease_steps.h"
#include "daemon/broker/lease/lease_take.h"
#include "proto/json_member.h"
#include "proto/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A start of the broker: open until the mounter's list has been read and every lease has been
 * looked at. */
struct adoption {
	struct lease_context *context;
	json_t *listed; /* {mount id: {phase, generation, group}} */
	json_t *rows;
	size_t open;
	void (*on_adopted)(void *data);
	void *data;
};

static void adopted_one(struct lease *lease);

/* Gives up a delivery that could not be found: the container, if it lives, keeps what it has. What the
 * mounter has of it is still wiped by its id. */
static void give_up(struct lease *lease, const char *why)
{
	log_warning(
		"delivery %.12s of %s: %s", lease->delivery.hex, lease_container_name(lease), why);
	adopted_one(lease);
	/* The next mounter is asked again. */
	lease->is_lost = !mounter_link_is_up(lease->context->mounter);
}

static void on_retreated(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;

	if (!lease_step_done(lease))
		return;
	if (status < 0) {
		give_up(lease, detail);
		return;
	}
	if (lease->group != GUARD_NO_GROUP)
		lease->group = guard_shared_group(lease->context->guard);
	lease_save(lease);
	adopted_one(lease);
}

static void on_located(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;

	if (!lease_step_done(lease))
		return;
	if (status == 0) {
		lease->is_waiting = true;
		lease->keeps_guard = lease_keeps_guard(lease);
		status = delivery_retreat(delivery, lease->keeps_guard, on_retreated);
		if (status == 0)
			return;
		lease->is_waiting = false;
	}
	give_up(lease, detail);
}

/* Released, and in a phase before that: the marks change hands once more. */
static void locate_again(struct lease *lease)
{

	lease->is_waiting = true;
	if (delivery_locate(
		    lease_filled(lease), lease->init.pidfd, lease->holder.target, on_located) < 0) {
		lease->is_waiting = false;
		give_up(lease, "mayfly-mounter is being restarted");
	}
}

static void on_found(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;

	if (!lease_step_done(lease))
		return;
	if (status < 0)
		give_up(lease, detail);
	else if (lease->state == LEASE_RELEASED)
		locate_again(lease);
	else
		adopted_one(lease);
}

/* Asks the mounter to find it: in the arena, else in its container. */
static void find_again(struct lease *lease)
{
	struct lease_context *context = lease->context;
	const char *target = lease->holder.target ? lease->holder.target : "";

	lease->is_lost = true;
	if (lease->state != LEASE_RELEASED && lease->group != GUARD_NO_GROUP &&
		lease->group == guard_shared_group(context->guard))
		lease->group = guard_take_group(context->guard);
	lease->is_waiting = true;
	if (delivery_adopt(lease_filled(lease), lease->group, lease->init.pidfd,
		    context->engine_pidfds[lease->engine], target, on_found) < 0) {
		lease->is_waiting = false;
		give_up(lease, "mayfly-mounter is being restarted");
	}
}

static void sweep(struct lease_context *context);

/* Until there is nothing left: one sweep takes a limited number. */
static void swept(const struct mounter_reply *reply, int fd, void *data)
{
	(void)fd;
	if (reply->status < 0 || reply->values[0] == 0)
		return;
	log_notice("wiped %llu deliveries that nobody has", (unsigned long long)reply->values[0]);
	sweep(data);
}

static void sweep(struct lease_context *context)
{
	struct mounter_request request = { .op = MOUNTER_OP_SWEEP };

	(void)mounter_link_send(context->mounter, &request, NULL, 0, swept, context);
}

static void finish_if_done(struct adoption *adoption)
{
	if (--adoption->open > 0)
		return;
	sweep(adoption->context);
	adoption->on_adopted(adoption->data);
	json_decref(adoption->listed);
	json_decref(adoption->rows);
	free(adoption);
}

/* A change was under way, or an older generation in its grace time. */
static void clean_again(struct lease *lease)
{
	const struct delivery *delivery = lease_filled(lease);

	if (!lease_is_released(lease) || !(delivery->phase & (PHASE_RELEASED | PHASE_LOCATED)) ||
		(delivery->generation < 2 && !delivery->is_unsealed))
		return;
	lease->grace_turns = 1;
	lease_end_grace(lease);
}

static void adopted_one(struct lease *lease)
{
	struct adoption *adoption = lease->adoption;

	lease->adoption = NULL;
	lease->is_lost = false;
	if (lease->state == LEASE_RELEASED && lease->init.pidfd >= 0 && !lease_is_alive(lease))
		lease_end(lease, "the container has ended while Mayfly was away");
	else
		lease_start_next(lease);
	clean_again(lease);
	if (lease_is_released(lease)) {
		lease_term_resume(lease);
		lease_take_resume(lease);
	}
	lease_guard_again(lease);
	if (adoption)
		finish_if_done(adoption);
	else
		lease_sweep(lease->context);
}

static int engine_index(const struct lease_context *context, const char *name)
{
	for (int i = 0; name && i < LEASE_ENGINES_MAX && context->engines[i]; i++)
		if (strcmp(engine_link_name(context->engines[i]), name) == 0)
			return i;
	return -1;
}

static void read_options(json_t *row, struct volume_options *options)
{
	json_t *object = json_object_get(row, "options");
	json_t *files = json_object_get(object, "files"), *file;
	size_t i;

	(void)snprintf(options->grant, sizeof options->grant, "%s", json_text(object, "grant"));
	options->files = calloc(json_array_size(files) + 1, sizeof *options->files);
	if (!options->files)
		return;
	json_array_foreach (files, i, file) {
		struct file_choice *choice = &options->files[options->files_count++];

		(void)snprintf(choice->path, sizeof choice->path, "%s", json_text(file, "path"));
		(void)snprintf(choice->new_path, sizeof choice->new_path, "%s",
			json_text(file, "new_path"));
		choice->has_uid = json_object_get(file, "uid") != NULL;
		choice->uid = (uint32_t)json_number(file, "uid");
		choice->has_gid = json_object_get(file, "gid") != NULL;
		choice->gid = (uint32_t)json_number(file, "gid");
		choice->has_mode = json_object_get(file, "mode") != NULL;
		choice->mode = (mode_t)json_number(file, "mode");
	}
}

/* The process of the row, if it is still that one. */
static bool pin_again(struct lease *lease, json_t *row)
{
	const pid_t pid = (pid_t)json_number(row, "pid");
	uint64_t ticks = 0;
	struct mayfly_error err;

	if (pid <= 0 || container_process_pin(&lease->context->roots, pid, lease->holder.id,
				&lease->init, &err) < 0)
		return false;
	if (process_start_time(&lease->context->roots, pid, &ticks) == 0 &&
		ticks == (uint64_t)json_number(row, "start_ticks") && lease_watch_init(lease))
		return true;
	container_process_done(&lease->init);
	return false;
}

/* Without the guard the files are in a tmpfs that was put over the mount's own. */
static void read_inside(struct lease *lease, json_t *row)
{
	const char *hex = json_text(row, "inside");
	struct delivery *inside = hex[0] ? calloc(1, sizeof *inside) : NULL;

	free(lease->inside);
	lease->inside = NULL;
	lease->mode =
		json_is_true(json_object_get(row, "at_request")) ? LEASE_AT_REQUEST : LEASE_GUARDED;
	if (!inside)
		return;
	if (delivery_init(inside, hex, lease->context->mounter) < 0) {
		free(inside);
		return;
	}
	inside->owner = lease;
	lease->inside = inside;
	lease->mode = LEASE_AFTER_START;
}

static void read_delivery(struct delivery *delivery, json_t *row)
{
	delivery->device = (uint64_t)json_number(row, "device");
	delivery->generation = (uint32_t)json_number(row, "generation");
	delivery->is_plain = json_is_true(json_object_get(row, "is_plain"));
	delivery->located.mount_id = (uint64_t)json_number(row, "mount_id");
}

static struct lease *lease_from_row(
	struct lease_context *context, const char *mount_id, json_t *row)
{
	struct volume_options options = { 0 };
	struct lease *lease = NULL;
	struct mayfly_error err;
	const int engine = engine_index(context, json_text(row, "engine"));

	read_options(row, &options);
	/* An engine that the configuration has no more: its deliveries are wiped, under any number.
	 */
	(void)lease_new(context, mount_id, engine < 0 ? 0 : (unsigned)engine,
		json_text(row, "volume"), &options, &lease, &err);
	volume_options_done(&options);
	if (!lease)
		return NULL;
	read_inside(lease, row);
	read_delivery(lease_filled(lease), row);
	(void)used_secrets_new(json_object_get(row, "used"), &lease->used);
	lease->grants = json_incref(json_object_get(row, "grants"));
	lease->is_verified = json_is_true(json_object_get(row, "is_released"));
	if (json_is_true(json_object_get(row, "is_guarded")))
		lease->group = guard_shared_group(context->guard);
	lease->keeps_guard = json_is_true(json_object_get(row, "keeps_guard"));
	lease->guards_always = json_is_true(json_object_get(row, "guards_always"));
	lease->term = lease_term_from_json(json_object_get(row, "term"));
	lease->once = json_incref(json_object_get(row, "once"));
	lease_filled(lease)->sees_closes = lease->once != NULL;
	lease->taken = json_incref(json_object_get(row, "taken"));
	lease->to_take = json_incref(json_object_get(row, "to_take"));
	return lease;
}

/* What the mounter says of it, if it has it. */
static void read_listed(struct lease *lease, struct delivery *delivery, json_t *listed)
{
	delivery->phase = (uint32_t)json_number(listed, "phase");
	delivery->generation = (uint32_t)json_number(listed, "generation");
	delivery->is_unsealed = json_is_true(json_object_get(listed, "unsealed"));
	if (lease->group != GUARD_NO_GROUP) {
		lease->group = (uint32_t)json_number(listed, "group");
		guard_claim_group(lease->context->guard, lease->group);
	}
}

static void adopt_released(struct lease *lease, json_t *row)
{
	lease->state = LEASE_RELEASED;
	lease_forget_beginnings(lease);
	/* Enough to find it, to watch its end, to name it. */
	if (lease_set_holder(lease, json_text(row, "container_id"), json_text(row, "container"),
		    json_text(row, "image_id"), json_text(row, "target")) < 0) {
		give_up(lease, "out of memory");
		return;
	}
	if (!pin_again(lease, row) && lease_filled(lease)->phase == PHASE_EMPTY) {
		/* Its container has ended too; what the arena may have of it is swept. */
		adopted_one(lease);
		lease_end(lease, "the container has ended while Mayfly was away");
		return;
	}
	if (lease->init.pidfd < 0) {
		adopted_one(lease);
		lease_end(lease, "the container has ended while Mayfly was away");
	} else if (lease_filled(lease)->phase == PHASE_EMPTY) {
		find_again(lease);
	} else if (lease_filled(lease)->phase != PHASE_RELEASED) {
		locate_again(lease);
	} else {
		adopted_one(lease);
	}
}

static void adopt_row(struct adoption *adoption, const char *mount_id, json_t *row)
{
	struct lease *lease = lease_from_row(adoption->context, mount_id, row);
	json_t *listed = json_object_get(adoption->listed, mount_id);

	if (!lease)
		return;
	adoption->open++;
	lease->adoption = adoption;
	if (listed)
		read_listed(lease, &lease->delivery, listed);
	listed = json_object_get(adoption->listed, json_text(row, "inside"));
	if (lease->inside && listed)
		read_listed(lease, lease->inside, listed);
	if (json_is_true(json_object_get(row, "is_decoy")) ||
		json_is_true(json_object_get(row, "has_ended")) ||
		engine_index(adoption->context, json_text(row, "engine")) < 0) {
		lease->state = LEASE_DECOY;
		adopted_one(lease);
		lease_end(lease, "left over");
	} else if (lease->is_verified) {
		adopt_released(lease, row);
	} else {
		lease->state = LEASE_ARMED;
		/* As far as it was known whom it was armed for. */
		(void)snprintf(lease->beginnings->bundled_id, sizeof lease->beginnings->bundled_id,
			"%s", json_text(row, "container_id"));
		deadline_arm(&lease->deadline, LEASE_START_DEADLINE_MS);
		if (lease->delivery.phase != PHASE_EMPTY)
			adopted_one(lease);
		else
			find_again(lease);
	}
}

static bool is_inside_of_a_row(const struct adoption *adoption, const char *id)
{
	const char *mount_id;
	json_t *row;

	json_object_foreach (adoption->rows, mount_id, row)
		if (strcmp(json_text(row, "inside"), id) == 0)
			return true;
	return false;
}

/* A delivery that the mounter has and state.db has not: its Mount was never answered. */
static void wipe_unknown(struct lease_context *context, const char *mount_id, json_t *listed)
{
	const struct volume_options none = { 0 };
	struct lease *lease;
	struct mayfly_error err;

	if (lease_new(context, mount_id, 0, "", &none, &lease, &err) < 0)
		return;
	read_listed(lease, &lease->delivery, listed);
	lease->state = LEASE_DECOY;
	lease_end(lease, "left over");
}

static void adopt_listed(struct adoption *adoption)
{
	const char *mount_id;
	json_t *row;

	json_object_foreach (adoption->rows, mount_id, row)
		adopt_row(adoption, mount_id, row);
	json_object_foreach (adoption->listed, mount_id, row) {
		if (!json_object_get(adoption->rows, mount_id) &&
			!is_inside_of_a_row(adoption, mount_id))
			wipe_unknown(adoption->context, mount_id, row);
	}
	finish_if_done(adoption);
}

static void on_listed(const struct mounter_reply *reply, int fd, void *data)
{
	static const uint8_t zero[DELIVERY_ID_BYTES];
	struct adoption *adoption = data;
	char hex[DELIVERY_HEX_LENGTH + 1];

	(void)fd;
	if (reply->status < 0 || memcmp(reply->delivery, zero, sizeof zero) == 0) {
		adopt_listed(adoption);
		return;
	}
	for (size_t i = 0; i < DELIVERY_ID_BYTES; i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", reply->delivery[i]);
	(void)json_object_set_new(adoption->listed, hex,
		json_pack("{s:i, s:i, s:I, s:b}", "phase", (int)reply->phase, "generation",
			(int)reply->generation, "group", (json_int_t)reply->group, "unsealed",
			reply->flags & MOUNTER_UNSEALED));
}

int lease_adopt_all(struct lease_context *context, json_t *rows, void (*on_adopted)(void *data),
	void *data, struct mayfly_error *err)
{
	struct mounter_request request = { .op = MOUNTER_OP_LIST };
	struct adoption *adoption = calloc(1, sizeof *adoption);
	int r = -ENOMEM;

	if (adoption) {
		*adoption = (struct adoption){ .context = context,
			.listed = json_object(),
			.rows = json_incref(rows),
			.open = 1,
			.on_adopted = on_adopted,
			.data = data };
		r = mounter_link_send(context->mounter, &request, NULL, 0, on_listed, adoption);
	}
	if (r < 0) {
		if (adoption) {
			json_decref(adoption->listed);
			json_decref(adoption->rows);
		}
		free(adoption);
		return error_errno(err, r, "ask the mounter for its deliveries");
	}
	return 0;
}

void lease_readopt_all(struct lease_context *context)
{
	struct lease *lease, *next;

	for (lease = TAILQ_FIRST(&context->leases); lease; lease = next) {
		next = TAILQ_NEXT(lease, entry);
		/* A step that the mounter has no part in: whoever ends it asks again. */
		if (lease->is_waiting || delivery_is_busy(lease_filled(lease))) {
			lease->is_lost = lease->change != NULL;
			continue;
		}
		lease_filled(lease)->phase = PHASE_EMPTY;
		if (lease->state == LEASE_RELEASED || lease->state == LEASE_ARMED ||
			lease->state == LEASE_DECOY)
			find_again(lease);
	}
	lease_sweep(context);
}

void lease_readopt(struct lease *lease)
{
	lease_filled(lease)->phase = PHASE_EMPTY;
	find_again(lease);
}

void lease_sweep(struct lease_context *context)
{
	const struct lease *lease;

	TAILQ_FOREACH(lease, &context->leases, entry)
	if (lease->is_lost && lease->state != LEASE_ENDING && lease->state != LEASE_ENDED)
		return;
	sweep(context);
}
