#include "daemon/broker/lease/lease_renew.h"

#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/lease/lease_steps.h"
#include "daemon/broker/lease/lease_take.h"
#include "daemon/broker/provider/set_search.h"
#include "proto/boot_clock.h"
#include "proto/duration.h"
#include "proto/log.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static void on_told(const struct mounter_reply *reply, int fd, void *data)
{
	(void)fd;
	(void)data;
	/* With another mounter it is told again. */
	if (reply->status < 0 && reply->status != -ECONNRESET)
		log_warning("tell the mounter when a delivery ends: %s", reply->detail);
}

/* The mounter needs it only when nobody else is there. */
static void tell_mounter(const struct lease *lease)
{
	const struct delivery *delivery = lease->inside ? lease->inside : &lease->delivery;
	struct mounter_request request = { .op = MOUNTER_OP_DEADLINE,
		.deadline_ms = (uint64_t)lease_term_deadline_ms(&lease->term) };

	memcpy(request.delivery, delivery->id, DELIVERY_ID_BYTES);
	/* Without a mounter: as in on_told(). */
	(void)mounter_link_send(lease->context->mounter, &request, NULL, 0, on_told, NULL);
}

static void arm(struct lease *lease)
{
	boot_alarm_arm(&lease->alarm, lease_term_due_ms(&lease->term));
}

static void postpone(struct lease *lease)
{
	lease_term_postpone(&lease->term, boot_clock_ms(), randombytes_random());
	arm(lease);
}

/* --- what is still granted --- */

static bool is_made_of(const struct policy_entry *entry, const char *name)
{
	if (entry->name)
		return strcmp(entry->name, name) == 0;
	for (size_t i = 0; i < entry->parts_count; i++)
		if (entry->parts[i].secret && strcmp(entry->parts[i].secret, name) == 0)
			return true;
	return false;
}

static bool gives_set(
	const struct config *config, const struct policy_grant *grant, const char *set)
{
	const char *wanted = grant->set ? grant->set : config->environment;
	struct set_search search;

	if (!wanted || set_search_make(config, wanted, &search) < 0)
		return false;
	for (size_t i = 0; i < search.count; i++)
		if (strcmp(search.names[i], set) == 0)
			return true;
	return false;
}

static bool is_granted(
	const struct lease *lease, const struct plan *plan, const struct used_secret *used)
{
	for (size_t i = 0; i < plan->files_count; i++) {
		const struct plan_file *file = &plan->files[i];

		if (strcmp(file->path, used->path) == 0)
			return is_made_of(file->entry, used->name) &&
			       gives_set(lease->context->sources.config, file->grant, used->set);
	}
	return false;
}

/* The files that LEASE has and PLAN does not give any more; the caller's. */
static json_t *lost_files(const struct lease *lease, const struct plan *plan)
{
	json_t *lost = json_array();

	for (size_t i = 0; lease->used && i < lease->used->count; i++)
		if (!is_granted(lease, plan, &lease->used->items[i]))
			(void)json_array_append_new(lost, json_string(lease->used->items[i].path));
	return lost;
}

/* Leaves the files of PLAN that LEASE has and keeps: their grants' terms count. */
static void leave_kept(const struct lease *lease, struct plan *plan)
{
	size_t kept = 0;

	for (size_t i = 0; i < plan->files_count; i++)
		for (size_t k = 0; lease->used && k < lease->used->count; k++)
			if (strcmp(lease->used->items[k].path, plan->files[i].path) == 0) {
				plan->files[kept++] = plan->files[i];
				break;
			}
	plan->files_count = kept;
}

/* --- renewal --- */

static void forget_question(struct lease *lease)
{
	if (lease->is_renewing)
		engine_link_forget(lease->context->engines[lease->engine], &lease->renewal);
	lease->is_renewing = false;
}

static void renewed(struct lease *lease, struct plan *plan)
{
	json_t *lost = lost_files(lease, plan);
	struct lease_term wanted;

	lease_take(lease, lost, "the policy does not give it any more");
	json_decref(lost);
	if (lease->end_reason)
		return;
	leave_kept(lease, plan);
	wanted = lease_term_of_plan(plan);
	json_decref(lease->grants);
	lease->grants = plan_grant_names(plan);
	lease_term_renew(&lease->term, &wanted, boot_clock_ms(), randombytes_random());
	lease_save(lease);
	tell_mounter(lease);
	arm(lease);
}

static void refuse(struct lease *lease, const char *why)
{
	char reason[1100];

	(void)snprintf(reason, sizeof reason, "not renewed: %s", why);
	lease_audit(lease, "renew", "refused", why);
	log_notice("%s: %s", lease_container_name(lease), reason);
	lease_end(lease, reason);
}

static void decide(struct lease *lease, const struct container_facts *facts)
{
	const struct policy_question question = lease_question(lease, facts);
	struct trail unsaid = { 0 };
	struct plan plan = { 0 };
	struct mayfly_error err;
	const int r = policy_decide(lease->context->policy, &question, &unsaid, &plan, &err);

	trail_done(&unsaid);
	if (r == -ENOMEM)
		postpone(lease);
	else if (r < 0)
		refuse(lease, err.text);
	else
		renewed(lease, &plan);
	plan_done(&plan);
}

/* The only answer: one container was asked for. */
static void on_facts(struct engine_question *question, const struct container_facts *facts,
	const char *id, const char *why)
{
	struct lease *lease = container_of(question, struct lease, renewal);

	(void)id;
	forget_question(lease);
	if (!lease_is_released(lease))
		return;
	/* What cannot be judged is not renewed, and not taken away before its period is over. Its
	 * container's end is heard of elsewhere. */
	if (why[0] || !facts || !facts->running)
		postpone(lease);
	else
		decide(lease, facts);
}

static void on_done(struct engine_question *question, int status, const char *why)
{
	struct lease *lease = container_of(question, struct lease, renewal);

	(void)status;
	(void)why;
	if (!lease->is_renewing)
		return;
	lease->is_renewing = false;
	postpone(lease);
}

static void renew(struct lease *lease)
{
	if (lease->is_renewing) {
		/* The answer is late; the question stands. */
		postpone(lease);
		return;
	}
	lease->renewal = (struct engine_question){ .on_facts = on_facts, .on_done = on_done };
	lease->is_renewing = lease->state == LEASE_RELEASED &&
			     engine_link_containers(lease->context->engines[lease->engine],
				     lease->holder.id, &lease->renewal) == 0;
	postpone(lease);
}

/* --- the alarm --- */

static void end_at_hard_end(struct lease *lease)
{
	char length[DURATION_TEXT_SIZE], reason[128];

	duration_text(length, lease->term.max_ttl_s);
	(void)snprintf(reason, sizeof reason, "its hard end has come: `max_ttl` is %s", length);
	lease_end(lease, reason);
}

static void do_what_is_due(struct lease *lease)
{
	switch (lease_term_step(&lease->term, boot_clock_ms())) {
	case TERM_NOTHING:
		arm(lease);
		return;
	case TERM_NOTICE:
		lease->term.was_announced = true;
		lease_save(lease);
		if (lease->state == LEASE_RELEASED)
			lease->context->on_event(lease->context, lease, LEASE_EVENT_EXPIRING);
		arm(lease);
		return;
	case TERM_RENEWAL:
		renew(lease);
		return;
	case TERM_UNRENEWED:
		lease_end(lease,
			"it could not be renewed before its period was over, and `unrenewed` is "
			"`empty`");
		return;
	case TERM_PASSED:
		break;
	}
	end_at_hard_end(lease);
}

static void on_due(struct boot_alarm *alarm)
{
	do_what_is_due(container_of(alarm, struct lease, alarm));
}

int lease_term_prepare(struct lease *lease)
{
	return boot_alarm_init(lease->context->alarms, &lease->alarm, on_due);
}

void lease_term_start(struct lease *lease)
{
	lease_term_begin(&lease->term, boot_clock_ms(), randombytes_random());
	tell_mounter(lease);
	arm(lease);
}

void lease_term_resume(struct lease *lease)
{
	if (!lease->term.began_ms) {
		lease_term_start(lease);
		return;
	}
	tell_mounter(lease);
	do_what_is_due(lease);
}

void lease_term_stop(struct lease *lease)
{
	boot_alarm_close(&lease->alarm);
	forget_question(lease);
}
