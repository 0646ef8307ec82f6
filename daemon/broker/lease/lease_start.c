/* A start, from the engine's claim to the released delivery. Read from the bottom: each step names
 * the next. */
#include "daemon/broker/lease/lease_open.h"
#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/lease/lease_renew.h"
#include "daemon/broker/lease/lease_steps.h"
#include "daemon/broker/lease/lease_take.h"
#include "daemon/broker/lease/running_posture.h"
#include "proto/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SEAL_ATTEMPTS 3

static void release(struct lease *lease);

/* Back to waiting for a start: the one that was looked at is not (or not any more) the one that has
 * this delivery. */
static void start_is_over(struct lease *lease)
{
	container_facts_done(&lease->beginnings->container);
	container_process_done(&lease->init);
	lease->state = LEASE_ARMED;
	lease_start_next(lease);
}

static void on_retreated(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = container_of(delivery, struct lease, delivery);

	if (!lease_step_done(lease))
		return;
	if (status < 0) {
		lease_audit(lease, "release", "refused", detail);
		lease_end(lease, detail);
		return;
	}
	guard_return_group(lease->context->guard, lease->group);
	if (lease->group != GUARD_NO_GROUP)
		lease->group = guard_shared_group(lease->context->guard);
	lease->state = LEASE_RELEASED;
	trail_add(lease_trail(lease), STEP_PASSED, "retreat",
		"the host path is empty again; opens of the container %s",
		lease_keeps_guard(lease) ? "are asked for, each" : "cost nothing any more");
	lease_save(lease);
	lease_save_decision(lease, "granted", "released");
	lease_forget_beginnings(lease);
	lease->context->on_event(lease->context, lease, LEASE_EVENT_PRESENT);
	/* Another container may have joined its pid namespace meanwhile. */
	lease_guard_again(lease);
	/* Those that came in while the marks changed hands. */
	lease_attest_waiting(lease);
	lease->context->on_ended(lease->context);
}

static void on_sealed(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = container_of(delivery, struct lease, delivery);
	int r;

	if (!lease_step_done(lease))
		return;
	if (status == -EBUSY && lease->beginnings->seal_attempts++ < SEAL_ATTEMPTS) {
		/* Somebody opens it for writing: only a container that has remounted it can.
		 * Whoever waits is denied, because a write open that merely waits counts as a
		 * writer. */
		lease_deny_waiting(lease);
		lease->is_waiting = true;
		if (delivery_seal(delivery, on_sealed) == 0)
			return;
		lease->is_waiting = false;
	}
	if (status < 0) {
		lease_audit(lease, "release", "refused", detail);
		lease_end(lease, detail);
		return;
	}
	/* From here on the start is verified: openers get their answer before the marks change
	 * hands. */
	lease->is_verified = true;
	trail_add(lease_trail(lease), STEP_PASSED, "release", "%zu file%s written and sealed",
		lease->beginnings->plan.files_count,
		lease->beginnings->plan.files_count == 1 ? "" : "s");
	lease_term_start(lease);
	/* The row too: from now on a restart has to find this container's files where they are. */
	lease_save(lease);
	lease_attest_waiting(lease);
	lease->is_waiting = true;
	lease->keeps_guard = lease_keeps_guard(lease);
	r = delivery_retreat(delivery, lease->keeps_guard, on_retreated);
	if (r < 0)
		on_retreated(delivery, r, "mayfly-mounter is being restarted");
}

static void on_written(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = container_of(delivery, struct lease, delivery);

	if (!lease_step_done(lease))
		return;
	if (status < 0) {
		lease_audit(lease, "release", "refused", detail);
		lease_end(lease, detail);
		return;
	}
	lease->is_waiting = true;
	lease->beginnings->seal_attempts = 0;
	status = delivery_seal(delivery, on_sealed);
	if (status < 0)
		on_sealed(delivery, status, "mayfly-mounter is being restarted");
}

/* Without the guard the host path is left when the files are already at the target. */
static void on_filled_inside(struct delivery *inside, int status, const char *detail)
{
	struct lease *lease = inside->owner;

	on_sealed(&lease->delivery, status, detail);
}

static void on_recorded(void *data, int status)
{
	struct lease *lease = data;

	if (!lease_step_done(lease))
		return;
	if (status < 0) {
		lease_refuse(
			lease, "the audit record could not be made durable; see `mayfly status`");
		return;
	}
	if (lease->mode == LEASE_AFTER_START) {
		lease_fill_inside(lease, on_filled_inside);
		return;
	}
	if (lease->mode == LEASE_AT_MOUNT) {
		/* Written and sealed since the mount. */
		on_sealed(&lease->delivery, 0, "");
		return;
	}
	lease_once_note(lease);
	lease->is_waiting = true;
	status = delivery_write(
		&lease->delivery, lease->context->loop, lease->context->sources.keeper, on_written);
	if (status < 0)
		on_written(&lease->delivery, status, "write the files");
}

/* The record first: what cannot be recorded is not released. */
static void release(struct lease *lease)
{
	json_t *record = lease_audit_record(lease, "release", "granted", NULL);
	struct mayfly_error err;
	int r = -ENOMEM;

	lease->is_waiting = true;
	if (record)
		r = audit_queue_append(lease->context->audit, record, on_recorded, lease, &err);
	json_decref(record);
	if (r < 0)
		on_recorded(lease, r);
}

static void on_refilled(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = container_of(delivery, struct lease, delivery);

	if (!lease_step_done(lease))
		return;
	if (status < 0)
		lease_refuse(lease, detail);
	else if (lease->state == LEASE_STARTING)
		release(lease);
	else
		/* It was the bundle that named the container; its start comes later. */
		lease_start_next(lease);
}

/* The values of a plan that differs from the one that was armed: further placeholders take the
 * place of those. */
static void on_fetched(
	void *data, int status, struct fetched *fetched, const struct mayfly_error *err)
{
	struct lease *lease = data;
	int r;

	lease->beginnings->fetch = NULL;
	if (!lease_step_done(lease))
		return;
	if (status < 0) {
		plan_done(&lease->beginnings->next_plan);
		lease_refuse(lease, err->text);
		return;
	}
	lease_set_plan(lease, &lease->beginnings->next_plan, fetched);
	if (lease->mode == LEASE_AFTER_START) {
		/* Nothing is at the mount that would have to be replaced. */
		on_refilled(&lease->delivery, 0, "");
		return;
	}
	lease->is_waiting = true;
	r = delivery_refill(&lease->delivery, on_refilled);
	if (r < 0)
		on_refilled(&lease->delivery, r, "mayfly-mounter is being restarted");
}

/* Takes PLAN over. */
static void change_plan(struct lease *lease, struct plan *plan)
{
	struct lease_beginnings *beginnings = lease->beginnings;
	struct value_sources sources = lease->context->sources;
	struct mayfly_error err;
	int r;

	/* Whoever opens a file of it waits for 10 s at most, also after a boot. */
	sources.limit_ms = FETCH_LIMIT_MS;
	beginnings->next_plan = *plan;
	*plan = (struct plan){ 0 };
	lease->is_waiting = true;
	r = value_fetch_start(lease->context->loop, &sources, &beginnings->next_plan, on_fetched,
		lease, &beginnings->fetch, &err);
	if (r < 0) {
		lease->is_waiting = false;
		plan_done(&beginnings->next_plan);
		lease_refuse(lease, err.text);
	}
}

/* Decides for FACTS with the present policy: what was decided at Mount may have been taken back
 * since. Returns false when the container is refused (which is then done). *RET_IS_SAME: what is
 * armed is what it gets. */
static bool decide(struct lease *lease, const struct container_facts *facts, struct plan *ret_plan,
	bool *ret_is_same)
{
	const struct lease_context *context = lease->context;
	struct mayfly_error err;
	struct trail unsaid = { 0 };
	const struct policy_question question = lease_question(lease, facts);
	const int r = policy_decide(context->policy, &question,
		lease->beginnings->has_plan ? &unsaid : lease_trail(lease), ret_plan, &err);

	trail_done(&unsaid);
	if (r < 0) {
		lease_refuse(lease, err.text);
		return false;
	}
	*ret_is_same =
		lease->beginnings->has_plan && plan_equal(&lease->beginnings->plan, ret_plan);
	return true;
}

static bool posture_holds(
	struct lease *lease, const struct plan *plan, const struct running_posture *running)
{
	char why[256];

	if (running_posture_holds(plan, running, why, sizeof why)) {
		running_posture_note(lease_trail(lease), &lease->init, running);
		return true;
	}
	lease_refuse(lease, why);
	return false;
}

/* The delivery is in this container: that is the proof of who has it. Once more: may it? */
static void on_verified(struct lease *lease)
{
	const struct container_facts *facts = &lease->beginnings->container;
	const char *target = facts->volumes[lease->beginnings->target].target;
	struct running_posture running;
	struct plan plan = { 0 };
	bool is_same;

	trail_add(lease_trail(lease), STEP_PASSED, "identity",
		"delivery found at /%s in the mount namespace of process %d, mount %llu, cgroup "
		"%llu",
		target, lease->init.pid, (unsigned long long)lease->delivery.located.mount_id,
		(unsigned long long)lease->init.cgroup.id);
	if (lease_set_holder(lease, facts->id, facts->name, facts->image_id, target) < 0) {
		lease_refuse(lease, "out of memory");
		return;
	}
	/* From here on its end is this lease's end. */
	if (!lease_watch_init(lease) || !running_posture_read(lease->context, &lease->init, facts,
						lease->delivery.located.flags, &running)) {
		lease_end(lease, "the container has ended before its files were released");
		return;
	}
	deadline_cancel(&lease->deadline);
	if (!decide(lease, facts, &plan, &is_same))
		return;
	if (!posture_holds(lease, &plan, &running)) {
		plan_done(&plan);
		return;
	}
	if (is_same)
		release(lease);
	else if (lease->mode == LEASE_AT_MOUNT)
		lease_refuse(lease, "the policy has changed since the mount");
	else
		change_plan(lease, &plan);
	plan_done(&plan);
}

static void locate_next(struct lease *lease);

static void on_located(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = container_of(delivery, struct lease, delivery);

	if (!lease_step_done(lease))
		return;
	if (status == 0) {
		on_verified(lease);
		return;
	}
	if (status == -ECONNRESET || status == -ETIMEDOUT) {
		trail_add(lease_trail(lease), STEP_NOTED, "identity", "%s", detail);
		/* The same start again, once the mounter is back. */
		lease_keep_start(lease, &lease->beginnings->container);
		start_is_over(lease);
		return;
	}
	lease->beginnings->target++;
	locate_next(lease);
}

static bool adopt_from_container(struct lease *lease);

static void locate_next(struct lease *lease)
{
	struct lease_beginnings *beginnings = lease->beginnings;
	const struct container_facts *container = &beginnings->container;

	while (beginnings->target < container->volumes_count &&
		strcmp(container->volumes[beginnings->target].name, lease->volume) != 0)
		beginnings->target++;
	if (beginnings->target >= container->volumes_count) {
		if (strcmp(beginnings->bundled_id, container->id) == 0 && lease_is_alive(lease))
			lease_refuse(lease, "the container has something else in the place of this "
					    "delivery");
		else
			/* Another replica's: this container has a delivery of its own. */
			start_is_over(lease);
		return;
	}
	if (adopt_from_container(lease))
		return;
	lease->is_waiting = true;
	if (delivery_locate(&lease->delivery, lease->init.pidfd,
		    container->volumes[beginnings->target].target, on_located) < 0)
		on_located(&lease->delivery, -ECONNRESET, "mayfly-mounter is being restarted");
}

static void on_adopted(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = container_of(delivery, struct lease, delivery);

	if (!lease_step_done(lease))
		return;
	if (status < 0) {
		trail_add(lease_trail(lease), STEP_FAILED, "adopt", "%s", detail);
		lease->beginnings->target++;
	}
	locate_next(lease);
}

/* Armed before everything of ours died: the container may be the only one that still has it. What
 * it shows now has been without its guard, so it is never filled: refilling makes new files. */
static bool adopt_from_container(struct lease *lease)
{
	const struct container_facts *container = &lease->beginnings->container;
	const size_t target = lease->beginnings->target;
	struct lease_context *context = lease->context;

	if (lease->delivery.phase != PHASE_EMPTY || target >= container->volumes_count)
		return false;
	lease->is_waiting = true;
	if (delivery_adopt(&lease->delivery, lease->group, lease->init.pidfd,
		    context->engine_pidfds[lease->engine], container->volumes[target].target,
		    on_adopted) < 0)
		on_adopted(&lease->delivery, -ECONNRESET, "mayfly-mounter is being restarted");
	return true;
}

/* Pins the process that the engine names, then looks for the delivery in it. */
static void verify(struct lease *lease)
{
	const struct container_facts *container = &lease->beginnings->container;
	struct mayfly_error err;
	int r = container_process_pin(
		&lease->context->roots, container->pid, container->id, &lease->init, &err);

	if (r < 0) {
		trail_add(lease_trail(lease), STEP_NOTED, "start", "%s", err.text);
		start_is_over(lease);
		return;
	}
	lease->state = LEASE_STARTING;
	lease->beginnings->target = 0;
	locate_next(lease);
}

/* What will run is known 200 ms before it runs: files that it gets are put in place before it can
 * look. */
static void look_at_bundle(struct lease *lease)
{
	struct lease_beginnings *beginnings = lease->beginnings;
	const struct container_facts *named = NULL;
	struct container_facts facts;
	struct plan plan = { 0 };
	bool is_same = false;

	beginnings->has_new_bundle = false;
	for (size_t i = 0; i < beginnings->candidates_count; i++)
		if (strcmp(beginnings->candidates[i].id, beginnings->bundled_id) == 0)
			named = &beginnings->candidates[i];
	trail_add(lease_trail(lease), STEP_NOTED, "bundle",
		"the runtime mounts this delivery into container %.12s", beginnings->bundled_id);
	lease_save(lease);
	if (!named)
		/* Its start tells its facts; until then it keeps what is armed. */
		return;
	facts = *named;
	/* The runtime's numbers are what will be; those from the passwd file were looked up. */
	facts.user_error = NULL;
	facts.uid = beginnings->bundled_uid;
	facts.gid = beginnings->bundled_gid;
	if (!decide(lease, &facts, &plan, &is_same))
		return;
	if (!is_same)
		change_plan(lease, &plan);
	plan_done(&plan);
}

/* The next start that was told, but for those of other containers than the runtime has named. */
static bool take_start(struct lease_beginnings *beginnings, struct container_facts *ret_facts)
{
	while (beginnings->starts_count > 0) {
		*ret_facts = beginnings->starts[0];
		beginnings->starts_count--;
		memmove(beginnings->starts, beginnings->starts + 1,
			beginnings->starts_count * sizeof *beginnings->starts);
		if (!beginnings->bundled_id[0] ||
			strcmp(beginnings->bundled_id, ret_facts->id) == 0)
			return true;
		container_facts_done(ret_facts);
	}
	return false;
}

void lease_start_next(struct lease *lease)
{
	struct lease_beginnings *beginnings = lease->beginnings;

	if (lease->state != LEASE_ARMED || lease->is_waiting ||
		!mounter_link_is_up(lease->context->mounter))
		return;
	if (beginnings->has_new_bundle)
		look_at_bundle(lease);
	/* Unless the bundle has brought something to do, or its refusal has ended the lease. */
	if (lease->state == LEASE_ARMED && !lease->is_waiting && !lease->end_reason &&
		take_start(beginnings, &beginnings->container))
		verify(lease);
}

void lease_keep_start(struct lease *lease, const struct container_facts *facts)
{
	struct lease_beginnings *beginnings = lease->beginnings;
	struct container_facts *list =
		reallocarray(beginnings->starts, beginnings->starts_count + 1, sizeof *list);

	if (!list)
		return;
	beginnings->starts = list;
	list[beginnings->starts_count++] = container_facts_ref(facts);
}

void lease_on_start(struct lease *lease, const struct container_facts *facts)
{
	lease_on_joined(lease, facts);
	if (lease->state > LEASE_STARTING || lease->state == LEASE_NEW)
		return;
	/* Another container has this delivery, as the runtime's own bundle says. */
	if (lease->beginnings->bundled_id[0] &&
		strcmp(lease->beginnings->bundled_id, facts->id) != 0)
		return;
	lease_keep_start(lease, facts);
	lease_start_next(lease);
}

/* The start of another container may be looked at just now, as far as the mounter's answer: the
 * bundle's turn comes then. */
void lease_on_bundle(struct lease *lease, const char *id, uint32_t uid, uint32_t gid)
{
	struct lease_beginnings *beginnings = lease->beginnings;

	if (lease->state == LEASE_NEW || lease->state > LEASE_STARTING || beginnings->bundled_id[0])
		return;
	(void)snprintf(beginnings->bundled_id, sizeof beginnings->bundled_id, "%s", id);
	beginnings->bundled_uid = uid;
	beginnings->bundled_gid = gid;
	beginnings->has_new_bundle = true;
	lease_start_next(lease);
}
