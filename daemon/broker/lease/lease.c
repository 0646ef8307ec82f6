#include "daemon/broker/lease/lease.h"

#include "daemon/broker/lease/lease_change.h"
#include "daemon/broker/lease/lease_index.h"
#include "daemon/broker/lease/lease_open.h"
#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/lease/lease_renew.h"
#include "daemon/broker/lease/lease_review.h"
#include "daemon/broker/lease/lease_steps.h"
#include "daemon/broker/lease/lease_take.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void begin_wipe(struct lease *lease);

void lease_forget_beginnings(struct lease *lease)
{
	struct lease_beginnings *beginnings = lease->beginnings;

	if (!beginnings)
		return;
	lease_forget_review(lease);
	lease_clear_candidates(lease);
	for (size_t i = 0; i < beginnings->starts_count; i++)
		container_facts_done(&beginnings->starts[i]);
	free(beginnings->starts);
	container_facts_done(&beginnings->container);
	plan_done(&beginnings->plan);
	trail_done(&beginnings->trail);
	free(beginnings);
	lease->beginnings = NULL;
}

struct trail *lease_trail(struct lease *lease)
{
	return lease->beginnings ? &lease->beginnings->trail : NULL;
}

void lease_clear_holder(struct lease *lease)
{
	free(lease->holder.id);
	free(lease->holder.name);
	free(lease->holder.image_id);
	free(lease->holder.target);
	lease->holder = (struct lease_holder){ 0 };
}

int lease_set_holder(struct lease *lease, const char *id, const char *name, const char *image_id,
	const char *target)
{
	lease_clear_holder(lease);
	lease->holder = (struct lease_holder){ .id = strdup(id),
		.name = strdup(name),
		.image_id = strdup(image_id),
		.target = strdup(target) };
	if (lease->holder.id && lease->holder.name && lease->holder.image_id &&
		lease->holder.target)
		return 0;
	lease_clear_holder(lease);
	return -ENOMEM;
}

static void on_empty(struct handle_group *handles)
{
	struct lease *lease = container_of(handles, struct lease, handles);

	lease_forget_beginnings(lease);
	lease_clear_holder(lease);
	container_process_done(&lease->init);
	if (lease->options)
		volume_options_done(lease->options);
	free(lease->options);
	free(lease->used);
	json_decref(lease->grants);
	json_decref(lease->once);
	json_decref(lease->taken);
	json_decref(lease->to_take);
	delivery_done(&lease->delivery);
	if (lease->inside)
		delivery_done(lease->inside);
	free(lease->inside);
	free(lease->volume);
	free(lease->end_reason);
	free(lease);
}

static void on_deadline(struct deadline *deadline)
{
	struct lease *lease = container_of(deadline, struct lease, deadline);

	if (lease->state == LEASE_RELEASED && !lease->is_draining) {
		lease_end_grace(lease);
		return;
	}
	lease_end(lease, lease->is_draining ? "the container has ended" : "no start within 120 s");
}

/* Most volumes have none. */
static int keep_options(struct lease *lease, const struct volume_options *options)
{
	if (!options->grant[0] && options->files_count == 0)
		return 0;
	lease->options = calloc(1, sizeof *lease->options);
	return lease->options ? volume_options_copy(options, lease->options) : -ENOMEM;
}

/* The parts that may fail for lack of memory. */
static int make_parts(struct lease *lease, struct lease_context *context, const char *volume,
	const struct volume_options *options)
{
	lease->volume = strdup(volume);
	lease->beginnings = calloc(1, sizeof *lease->beginnings);
	/* Groups alone do not make it: a kernel may have them and no permission events. */
	if (!guard_is_available(context->guard) ||
		!(context->mounter_abilities & MOUNTER_HAS_OPEN_GUARD)) {
		lease->mode = LEASE_AFTER_START;
		lease->inside = calloc(1, sizeof *lease->inside);
		if (lease->inside)
			delivery_init_random(lease->inside, context->mounter);
		if (lease->inside)
			lease->inside->owner = lease;
	}
	if (!lease->volume || !lease->beginnings ||
		(lease->mode == LEASE_AFTER_START && !lease->inside))
		return -ENOMEM;
	return keep_options(lease, options);
}

int lease_new(struct lease_context *context, const char *mount_id, unsigned engine,
	const char *volume, const struct volume_options *options, struct lease **ret_lease,
	struct mayfly_error *err)
{
	struct lease *lease = calloc(1, sizeof *lease);
	int r = -ENOMEM;

	if (lease)
		r = delivery_init(&lease->delivery, mount_id, context->mounter);
	if (r == 0)
		r = make_parts(lease, context, volume, options);
	if (r == 0) {
		lease->context = context;
		r = lease_term_prepare(lease);
	}
	if (r < 0) {
		if (lease) {
			free(lease->volume);
			free(lease->beginnings);
			free(lease->options);
			free(lease->inside);
		}
		free(lease);
		return error_errno(err, r, "begin a delivery");
	}
	lease->delivery.owner = lease;
	lease->beginnings->lease = lease;
	lease->engine = engine;
	lease->group = GUARD_NO_GROUP;
	lease->init.pidfd = -1;
	TAILQ_INIT(&lease->waiting);
	handle_group_init(&lease->handles, on_empty);
	deadline_init(&lease->deadline, context->loop, &lease->handles, on_deadline);
	deadline_init(&lease->take_later, context->loop, &lease->handles, lease_take_later);
	lease_index_add(lease);
	*ret_lease = lease;
	return 0;
}

int lease_add_candidate(struct lease *lease, const struct container_facts *facts)
{
	struct lease_beginnings *beginnings = lease->beginnings;
	struct container_facts *list = reallocarray(
		beginnings->candidates, beginnings->candidates_count + 1, sizeof *list);

	if (!list)
		return -ENOMEM;
	beginnings->candidates = list;
	list[beginnings->candidates_count++] = container_facts_ref(facts);
	return 0;
}

struct policy_question lease_question(
	const struct lease *lease, const struct container_facts *facts)
{
	const struct lease_context *context = lease->context;

	return (struct policy_question){
		.facts = facts,
		.volume = lease->volume,
		.options = lease->options,
		.environment = context->sources.config->environment,
		.cgroup_version =
			engine_link_status(context->engines[lease->engine])->cgroup_version,
	};
}

struct delivery *lease_filled(struct lease *lease)
{
	return lease->mode == LEASE_AFTER_START ? lease->inside : &lease->delivery;
}

void lease_clear_candidates(struct lease *lease)
{
	struct lease_beginnings *beginnings = lease->beginnings;

	for (size_t i = 0; i < beginnings->candidates_count; i++)
		container_facts_done(&beginnings->candidates[i]);
	free(beginnings->candidates);
	beginnings->candidates = NULL;
	beginnings->candidates_count = 0;
}

void lease_set_plan(struct lease *lease, struct plan *plan, struct fetched *fetched)
{
	struct lease_beginnings *beginnings = lease->beginnings;

	plan_done(&beginnings->plan);
	beginnings->plan = *plan;
	*plan = (struct plan){ 0 };
	beginnings->has_plan = true;
	lease->guards_always = beginnings->plan.guard == GUARD_ALWAYS;
	json_decref(lease->grants);
	lease->grants = plan_grant_names(&beginnings->plan);
	lease->term = lease_term_of_plan(&beginnings->plan);
	lease_once_set(lease, &beginnings->plan);
	delivery_set_files(lease_filled(lease), fetched->files, fetched->files_count);
	lease_filled(lease)->is_plain = beginnings->plan.layout == LAYOUT_PLAIN;
	fetched->files = NULL;
	fetched->files_count = 0;
	free(lease->used);
	lease->used = fetched->used;
	fetched->used = NULL;
}

void lease_answer_armed(struct lease *lease, int status, const char *why)
{
	void (*on_armed)(struct lease *, int, const char *, void *) = lease->beginnings->on_armed;

	lease->beginnings->on_armed = NULL;
	if (on_armed)
		on_armed(lease, status, why, lease->beginnings->on_armed_data);
}

static const char *armed_as(const struct lease *lease)
{
	if (lease->state == LEASE_DECOY)
		return "mounted by `docker create`: a stand-in without secrets";
	switch (lease->mode) {
	case LEASE_GUARDED:
	case LEASE_AT_REQUEST:
		break;
	case LEASE_AFTER_START:
		return "attached empty: this kernel has no permission events, the files come after "
		       "the start";
	case LEASE_AT_MOUNT:
		return "attached with content: this kernel has no permission events, and the grant "
		       "allows it";
	}
	return "attached with placeholders; opening them waits for the verified start";
}

void lease_forget_arming(struct lease *lease)
{
	lease->beginnings->on_armed = NULL;
}

static void on_armed(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = container_of(delivery, struct lease, delivery);

	if (status < 0) {
		trail_add(lease_trail(lease), STEP_FAILED, "arm", "%s", detail);
		lease_answer_armed(lease, status, detail);
		lease->is_waiting = false;
		lease_end(lease, detail);
		return;
	}
	if (!lease_step_done(lease)) {
		lease_answer_armed(lease, -ECANCELED, lease->end_reason);
		return;
	}
	if (lease->mode == LEASE_AT_MOUNT && lease->state == LEASE_ARMING && !lease->is_verified) {
		lease_fill_at_mount(lease, on_armed);
		return;
	}
	if (lease->state == LEASE_ARMING) {
		lease->state = LEASE_ARMED;
		deadline_arm(&lease->deadline, LEASE_START_DEADLINE_MS);
	}
	trail_add(lease_trail(lease), STEP_PASSED, "arm", "%s", armed_as(lease));
	lease_save(lease);
	lease_answer_armed(lease, 0, "");
	if (lease->state == LEASE_ARMED)
		lease_start_next(lease);
}

static void arm(struct lease *lease, void (*callback)(struct lease *, int, const char *, void *),
	void *data)
{
	struct lease_context *context = lease->context;
	int r;

	lease->beginnings->on_armed = callback;
	lease->beginnings->on_armed_data = data;
	lease->is_waiting = true;
	r = context->engine_pidfds[lease->engine] < 0
		    ? -ESRCH
		    : delivery_arm(&lease->delivery, lease->group,
			      context->engine_pidfds[lease->engine], on_armed);
	if (r < 0) {
		lease->is_waiting = false;
		lease_answer_armed(lease, r,
			r == -ESRCH
				? "the engine's process cannot be identified; see `mayfly doctor`"
				: "mayfly-mounter is being restarted; try again");
		lease_end(lease, "mayfly-mounter was not there");
	}
}

void lease_arm(struct lease *lease, void (*callback)(struct lease *, int, const char *, void *),
	void *data)
{
	lease->state = LEASE_ARMING;
	if (lease->mode == LEASE_GUARDED)
		lease->group = guard_take_group(lease->context->guard);
	arm(lease, callback, data);
}

/* An empty volume would fail `docker create` when it is read-only, and collect the image's files
 * when it is not. */
void lease_arm_decoy(struct lease *lease,
	void (*callback)(struct lease *, int, const char *, void *), void *data)
{
	struct delivery_file *file = calloc(1, sizeof *file);

	if (!file) {
		callback(lease, -ENOMEM, "out of memory", data);
		lease_end(lease, "out of memory");
		return;
	}
	*file = (struct delivery_file){ .path = ".mayfly", .mode = 0444, .value.length = 1 };
	delivery_set_files(&lease->delivery, file, 1);
	lease->state = LEASE_DECOY;
	lease->delivery.is_plain = true;
	arm(lease, callback, data);
}

bool lease_step_done(struct lease *lease)
{
	lease->is_waiting = false;
	if (!lease->end_reason)
		return true;
	begin_wipe(lease);
	return false;
}

void lease_refuse(struct lease *lease, const char *why)
{
	const char *action = lease->state == LEASE_NEW ? "mount" : "release";

	lease->is_refused = true;
	trail_add(lease_trail(lease), STEP_FAILED, action, "%s", why);
	lease_audit(lease, action, "refused", why);
	lease_save_decision(lease, "refused", why);
	/* Who it was is not known when the engine could not say. */
	if (lease_container_name(lease)[0])
		log_warning("%s: %s", lease_container_name(lease), why);
	else
		log_warning("volume %s: %s", lease->volume, why);
	lease_end(lease, why);
}

static void finish(struct lease *lease)
{
	struct lease_context *context = lease->context;
	void (*on_forgotten)(struct lease *, void *) = lease->on_forgotten;

	lease_unsave(lease);
	lease_index_remove(lease);
	if (on_forgotten)
		on_forgotten(lease, lease->on_forgotten_data);
	if (handle_group_end(&lease->handles)) {
		deadline_close(&lease->deadline);
		deadline_close(&lease->take_later);
		descriptor_watch_close(&lease->init_watch);
		handle_group_release(&lease->handles);
	}
	context->on_ended(context);
}

static void on_forgot(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = container_of(delivery, struct lease, delivery);

	if (status < 0 && status != -ENOENT)
		log_warning("delivery %.12s: %s", delivery->hex, detail);
	finish(lease);
}

/* The directory of the host path goes with the engine's last word about it, or without one after a
 * while. */
static void forget(struct lease *lease)
{
	if (lease->is_forgetting)
		return;
	lease->is_forgetting = true;
	deadline_cancel(&lease->deadline);
	if (delivery_forget(
		    &lease->delivery, lease->context->engine_pidfds[lease->engine], on_forgot) < 0)
		finish(lease);
}

/* Wiped, and nowhere any more. */
static void is_over(struct lease *lease)
{
	const bool was_decoy = lease->state == LEASE_DECOY;

	lease->state = LEASE_ENDED;
	guard_return_group(lease->context->guard, lease->group);
	if (lease->is_lost) {
		/* Nothing was there to be wiped by its id. */
		lease->is_lost = false;
		lease_sweep(lease->context);
	}
	if (!was_decoy)
		lease_audit(lease, "end", "done", lease->end_reason);
	/* Its container goes on without it, over a restart of ours too. */
	if (lease_is_alive(lease))
		lease_save(lease);
	/* Unmount will come for a container that was started; the directory must be there for
	 * `docker cp` until then. */
	if (lease->was_unmounted || !lease->holder.id || lease->mode == LEASE_AT_REQUEST)
		forget(lease);
	else
		deadline_arm(&lease->deadline, LEASE_START_DEADLINE_MS);
}

static void on_left(struct delivery *delivery, int status, const char *detail)
{
	if (status < 0)
		log_warning("delivery %.12s: %s", delivery->hex, detail);
	is_over(delivery->owner);
}

static void on_wiped(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;

	if (status == -ENOENT && lease->is_verified && !lease->inside && lease_is_alive(lease)) {
		lease->is_unwiped = true;
		detail = "it is not where it was: the container may still have it";
	}
	if ((status < 0 && status != -ENOENT && status != -EPROTO) || lease->is_unwiped) {
		log_error("wipe delivery %.12s: %s", delivery->hex, detail);
		lease_audit(lease, "wipe", "refused", detail);
	}
	if (!lease_leave_target(lease, on_left))
		is_over(lease);
}

static void wipe_outer(struct lease *lease)
{
	if (lease->delivery.phase == PHASE_EMPTY || delivery_wipe(&lease->delivery, on_wiped) < 0)
		on_wiped(&lease->delivery, -ENOENT, "");
}

static void on_inside_wiped(struct delivery *inside, int status, const char *detail)
{
	struct lease *lease = inside->owner;

	if (status < 0)
		log_error("wipe delivery %.12s: %s", inside->hex, detail);
	wipe_outer(lease);
}

/* Whatever it had come to, `explain` says that it is over. A refusal stays one. */
static void end_decision(struct lease *lease)
{
	const struct trail *trail = lease_trail(lease);

	if (lease->state == LEASE_NEW || lease->state == LEASE_DECOY || lease->is_refused)
		return;
	/* It has ended before its last step: between the answer to its open and the leaving of the
	 * host path, or without ever having been verified. */
	if (trail && trail->steps)
		lease_save_decision(lease, lease->is_verified ? "granted" : "pending",
			lease->is_verified ? "released" : "mounted");
	lease_end_decision(lease, lease->end_reason);
}

static void begin_wipe(struct lease *lease)
{
	if (lease->state == LEASE_ENDING || lease->state == LEASE_ENDED)
		return;
	end_decision(lease);
	if (lease->state == LEASE_RELEASED)
		lease->context->on_event(lease->context, lease, LEASE_EVENT_ENDED);
	if (lease->beginnings && lease->beginnings->fetch)
		value_fetch_abandon(ptr_take(&lease->beginnings->fetch));
	lease_forget_review(lease);
	lease_term_stop(lease);
	deadline_cancel(&lease->deadline);
	deadline_cancel(&lease->take_later);
	descriptor_watch_close(&lease->init_watch);
	lease_deny_waiting(lease);
	if (lease->state == LEASE_NEW) {
		/* Nothing was made yet. */
		lease->state = LEASE_ENDED;
		finish(lease);
		return;
	}
	if (lease->state != LEASE_DECOY)
		lease->state = LEASE_ENDING;
	if (!lease->inside || lease->inside->phase == PHASE_EMPTY ||
		delivery_wipe(lease->inside, on_inside_wiped) < 0)
		wipe_outer(lease);
}

void lease_end(struct lease *lease, const char *reason)
{
	if (lease->state == LEASE_ENDED) {
		/* A second end is the deadline's: nobody has unmounted it. */
		forget(lease);
		return;
	}
	if (!lease->end_reason) {
		lease->end_reason = strdup(reason);
		assert(lease->end_reason);
	}
	if (!lease->is_waiting)
		begin_wipe(lease);
}

static void on_init_ended(struct descriptor_watch *watch, int status)
{
	struct lease *lease = container_of(watch, struct lease, init_watch);

	(void)status;
	descriptor_watch_pause(watch);
	lease_on_container_end(lease);
}

void lease_on_container_end(struct lease *lease)
{
	if (lease->is_draining)
		return;
	lease->is_draining = true;
	if (lease->is_verified && lease->state != LEASE_ENDED)
		deadline_arm(&lease->deadline, LEASE_DRAIN_MS);
	else
		lease_end(lease, "the container has ended");
}

bool lease_watch_init(struct lease *lease)
{
	return descriptor_watch_init(&lease->init_watch, lease->context->loop, &lease->handles,
		       lease->init.pidfd, on_init_ended, NULL) == 0;
}

bool lease_is_released(const struct lease *lease)
{
	return lease->state == LEASE_RELEASED && !lease->end_reason;
}

bool lease_is_alive(const struct lease *lease)
{
	return lease->init.pidfd >= 0 && process_is_alive(lease->init.pidfd);
}
