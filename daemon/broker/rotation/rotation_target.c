/* The way of one target: its facts from the engine -> the policy -> the values -> the files -> telling.
 * Read from the bottom: each step names the next. */
#include "daemon/broker/lease/lease_change.h"
#include "daemon/broker/lease/lease_index.h"
#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/rotation/target_work.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define AGAIN_MS 50
#define TRIES_MS 30000 /* something else is under way with it, the mounter is being restarted */

static void on_empty(struct handle_group *handles)
{
	struct target_work *work = container_of(handles, struct target_work, handles);

	trail_done(&work->trail);
	plan_done(&work->plan);
	container_process_done(&work->init);
	if (work->found >= 0)
		(void)close(work->found);
	free(work);
}

static void stop_asking(struct target_work *work, unsigned engine)
{
	if (work->is_asking)
		engine_link_forget(work->leases->engines[engine], &work->question);
	work->is_asking = false;
}

/* Takes WORK away from its target. */
static void end(struct target_work *work)
{
	struct rotation_target *target = work->target;

	stop_asking(work, target->engine);
	if (work->fetch)
		value_fetch_abandon(work->fetch);
	work->fetch = NULL;
	target->work = NULL;
	work->target = NULL;
	if (handle_group_end(&work->handles)) {
		deadline_close(&work->again);
		handle_group_release(&work->handles);
	}
}

void rotation_target_abandon(struct rotation_target *target)
{
	if (target->work)
		end(target->work);
}

void target_finish(struct target_work *work, enum target_outcome outcome, const char *format, ...)
{
	struct rotation_target *target = work->target;
	struct rotation *rotation = target->rotation;
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(target->text, sizeof target->text, format, arguments);
	va_end(arguments);
	target->state = TARGET_DONE;
	target->outcome = outcome;
	target->window_s = work->window_s;
	if (target->window_s == 0 && rotation->canary > 0 && !rotation->is_back)
		target->window_s = CANARY_WINDOW_S;
	if (outcome != TARGET_GONE && outcome != TARGET_FAILED)
		target->reached_s = boot_seconds();
	end(work);
	rotation->at_work--;
	rotation_save_soon(rotation);
	rotation_tell_watches(rotation, rotation_target_event(target), false);
	rotation_go_on(rotation);
}

/* It waits again, for something that rotations_wake() tells of. */
static void put_back(struct target_work *work)
{
	struct rotation_target *target = work->target;

	end(work);
	target->state = TARGET_WAITING;
	target->rotation->at_work--;
}

static void try_again(struct target_work *work, const char *why)
{
	if (uv_now(work->leases->loop) > work->tries_until_ms)
		target_finish(work, TARGET_FAILED, "%s", why);
	else
		deadline_arm(&work->again, AGAIN_MS);
}

struct lease *target_lease(struct target_work *work)
{
	struct lease *lease = lease_find(work->leases, work->target->mount_id);

	if (lease && !lease->end_reason && lease->state != LEASE_ENDING &&
		lease->state != LEASE_ENDED && !lease->is_draining)
		return lease;
	target_finish(work, TARGET_GONE, "it has stopped");
	return NULL;
}

/* --- files --- */

static void on_changed(struct lease *lease, int status, const char *why, void *data)
{
	struct target_work *work = data;
	const bool was_full = status == -ENOSPC || status == -EEXIST;

	(void)lease;
	if (work->target && status == 0)
		target_tell(work);
	else if (work->target && status == -ECANCELED)
		target_finish(work, TARGET_GONE, "it has stopped");
	else if (work->target && (status == -ECONNRESET || (was_full && work->tries++ == 0)))
		/* What older generations took up has been given back. */
		try_again(work, why);
	else if (work->target)
		target_finish(work, TARGET_FAILED, "%s", why);
	handle_group_release(&work->handles);
}

static void on_fetched(
	void *data, int status, struct fetched *fetched, const struct mayfly_error *err)
{
	struct target_work *work = data;
	struct lease *lease;
	int r;

	work->fetch = NULL;
	if (status == -ENOKEY) {
		put_back(work);
		return;
	}
	if (status < 0) {
		target_finish(work, TARGET_FAILED, "%s", err->text);
		return;
	}
	lease = target_lease(work);
	if (!lease)
		return;
	handle_group_hold(&work->handles);
	r = lease_change(lease, &work->plan, fetched, on_changed, work);
	if (r == 0)
		return;
	if (r == -EBUSY)
		try_again(work, "something else is under way with its files");
	else
		target_finish(work, TARGET_FAILED, "%s", strerrordesc_np(-r));
	handle_group_release(&work->handles);
}

/* --- who is told, and how --- */

static void add_signal(struct target_work *work, const struct policy_grant *grant)
{
	const char *process = grant->process ? grant->process : "";

	for (size_t i = 0; i < work->tellings_count; i++)
		if (work->tellings[i].signal == grant->signal &&
			strcmp(work->tellings[i].process, process) == 0)
			return;
	if (work->tellings_count == TELLINGS_MAX)
		return;
	work->tellings[work->tellings_count].signal = grant->signal;
	(void)snprintf(work->tellings[work->tellings_count++].process,
		sizeof work->tellings[0].process, "%s", process);
}

static void note_grant(struct target_work *work, const struct policy_grant *grant)
{
	switch (grant->telling) {
	case TELLING_RESTART:
		work->wants_restart = true;
		break;
	case TELLING_SIGNAL:
		add_signal(work, grant);
		break;
	case TELLING_NONE:
		work->is_quiet = true;
		break;
	case TELLING_UNSAID:
		break;
	}
	if (grant->health_window_s > work->window_s)
		work->window_s = grant->health_window_s;
}

/* The file at PATH of LEASE is made of a changed secret. */
static bool is_changed(const struct rotation *rotation, const struct lease *lease, const char *path)
{
	for (size_t i = 0; i < lease->used->count; i++)
		if (strcmp(lease->used->items[i].path, path) == 0 &&
			rotation_change_of(
				rotation, lease->used->items[i].set, lease->used->items[i].name))
			return true;
	return false;
}

/* Leaves the files that it has, and notes what the grants of the changed ones say. */
static void narrow(struct target_work *work, const struct lease *lease)
{
	struct plan *plan = &work->plan;
	size_t kept = 0;

	work->wants_restart = work->is_quiet = false;
	work->tellings_count = 0;
	work->window_s = 0;
	for (size_t i = 0; i < plan->files_count; i++) {
		if (!lease_has_path(lease, plan->files[i].path))
			continue;
		if (is_changed(work->target->rotation, lease, plan->files[i].path))
			note_grant(work, plan->files[i].grant);
		plan->files[kept++] = plan->files[i];
	}
	plan->files_count = kept;
}

static void fetch(struct target_work *work)
{
	struct mayfly_error err;

	if (value_fetch_start(work->leases->loop, &work->leases->sources, &work->plan, on_fetched,
		    work, &work->fetch, &err) < 0)
		target_finish(work, TARGET_FAILED, "%s", err.text);
}

static void decide(struct target_work *work, const struct container_facts *facts)
{
	struct lease *lease = target_lease(work);
	struct policy_question question;
	struct mayfly_error err;

	if (!lease)
		return;
	if (!lease_can_change(lease)) {
		try_again(work, "something else is under way with its files");
		return;
	}
	question = lease_question(lease, facts);
	trail_done(&work->trail);
	plan_done(&work->plan);
	if (policy_decide(work->leases->policy, &question, &work->trail, &work->plan, &err) < 0) {
		target_finish(work, TARGET_FAILED, "it keeps what it has: %s", err.text);
		return;
	}
	narrow(work, lease);
	if (work->plan.files_count == 0)
		target_finish(work, TARGET_FAILED,
			"it keeps what it has: no grant gives it these files any more");
	else if (rotation_has_reached(work->target->rotation, lease))
		target_tell(work);
	else {
		work->plan.expires_unix_s = lease_expires_unix(lease);
		fetch(work);
	}
}

/* --- facts --- */

static void on_facts(struct engine_question *question, const struct container_facts *facts,
	const char *id, const char *why)
{
	struct target_work *work = container_of(question, struct target_work, question);

	(void)id;
	stop_asking(work, work->target->engine);
	if (facts)
		decide(work, facts);
	else if (why[0])
		target_finish(work, TARGET_FAILED, "its engine says: %s", why);
	else
		target_finish(work, TARGET_GONE, "it has been removed");
}

static void on_asked(struct engine_question *question, int status, const char *why)
{
	struct target_work *work = container_of(question, struct target_work, question);

	work->is_asking = false;
	(void)status;
	/* The engine is away: it comes back, or the tries are over. */
	try_again(work, why);
}

static void look(struct target_work *work)
{
	struct lease *lease = target_lease(work);

	if (!lease)
		return;
	if (lease->state != LEASE_RELEASED || !lease->holder.id) {
		try_again(work, "it is being started");
		return;
	}
	work->question = (struct engine_question){ .on_facts = on_facts, .on_done = on_asked };
	work->is_asking = engine_link_containers(work->leases->engines[lease->engine],
				  lease->holder.id, &work->question) == 0;
	if (!work->is_asking)
		try_again(work, "its engine does not answer");
}

static void on_again(struct deadline *deadline)
{
	look(container_of(deadline, struct target_work, again));
}

void rotation_target_start(struct rotation_target *target)
{
	struct lease_context *leases = target->rotation->rotations->leases;
	struct target_work *work = calloc(1, sizeof *work);

	if (!work) {
		target->state = TARGET_DONE;
		target->outcome = TARGET_FAILED;
		(void)snprintf(target->text, sizeof target->text, "out of memory");
		target->rotation->at_work--;
		return;
	}
	work->target = target;
	work->leases = leases;
	work->found = -1;
	work->init.pidfd = -1;
	work->tries_until_ms = uv_now(leases->loop) + TRIES_MS;
	target->work = work;
	handle_group_init(&work->handles, on_empty);
	deadline_init(&work->again, leases->loop, &work->handles, on_again);
	/* Not from here: a failure goes on to the next target, and that to the next. */
	deadline_arm(&work->again, 0);
}
