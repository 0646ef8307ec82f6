#include "daemon/broker/request/container_request.h"

#include "daemon/broker/lease/lease_change.h"
#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/lease/lease_request.h"
#include "daemon/broker/lease/running_posture.h"
#include "daemon/broker/loop/deadline.h"
#include "daemon/broker/request/container_presence.h"
#include "daemon/broker/wire/fair_share.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUSY_DEADLINE_MS 30000 /* another request of the container, or its lease's end */

struct container_request {
	TAILQ_ENTRY(container_request) entry; /* while it waits */
	struct handle_group handles;
	struct broker *broker;
	struct attested who; /* a copy */
	int pidfd;
	char *grant;
	char **names;
	size_t names_count;
	struct fair_share *share; /* borrowed */
	struct deadline deadline;
	uint64_t waits_until_ms; /* of the loop's clock */
	bool is_waiting;
	struct mayfly_error last; /* why it waits, for the answer at the end of the waiting */
	enum container_outcome last_outcome;
	struct trail trail;
	struct plan plan;
	struct value_fetch *fetch;
	struct lease *lease; /* under way, until it is delivered or has ended by itself */
	container_answer_function *on_answer;
	void *data;
};

static void go_on(struct container_request *request);

static void names_free(char **names, size_t count)
{
	for (size_t i = 0; names && i < count; i++)
		free(names[i]);
	free(names);
}

static void on_empty(struct handle_group *handles)
{
	struct container_request *request =
		container_of(handles, struct container_request, handles);

	attested_done(&request->who);
	fd_close_p(&request->pidfd);
	free(request->grant);
	names_free(request->names, request->names_count);
	trail_done(&request->trail);
	plan_done(&request->plan);
	free(request);
}

static void stop_waiting(struct container_request *request)
{
	if (request->is_waiting)
		TAILQ_REMOVE(&request->broker->waiting_containers, request, entry);
	request->is_waiting = false;
	deadline_cancel(&request->deadline);
}

/* The end of a request: its one answer, if somebody still wants it. */
static void answer(struct container_request *request, const struct container_answer *answer)
{
	if (!handle_group_end(&request->handles))
		return;
	stop_waiting(request);
	if (request->fetch)
		value_fetch_abandon(request->fetch);
	if (request->lease)
		lease_forget_request(request->lease);
	if (request->on_answer)
		request->on_answer(request->data, answer);
	deadline_close(&request->deadline);
	handle_group_release(&request->handles);
}

static void answer_no(
	struct container_request *request, enum container_outcome outcome, const char *text)
{
	const struct container_answer no = { .outcome = outcome, .text = text };

	answer(request, &no);
}

static void answer_lease(struct container_request *request, enum container_outcome outcome,
	const struct lease *lease)
{
	const struct container_answer yes = { .outcome = outcome, .lease = lease };

	answer(request, &yes);
}

/* Writes down what is refused: there is no lease that would. */
static void record_refusal(struct container_request *request, const char *why)
{
	struct broker *broker = request->broker;
	const struct container_facts *facts = &request->who.facts;
	char reason[sizeof request->last.text + 64], more[64] = "";
	unsigned unrecorded;

	if (!fair_share_record(request->share, uv_now(broker->loop), &unrecorded))
		return;
	if (unrecorded > 0)
		(void)snprintf(more, sizeof more, " (%u before it are not recorded)", unrecorded);
	(void)snprintf(reason, sizeof reason, "%s%s", why, more);
	trail_add(&request->trail, STEP_FAILED, "request", "%s", why);
	lease_save_refusal(&broker->leases, request->who.engine, facts, &request->trail, why);
	broker_audit(broker,
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "action", "request", "decision",
			"refused", "engine", broker->engines[request->who.engine].name, "container",
			facts->name, "container_id", facts->id, "image_id", facts->image_id,
			"reason", reason));
}

/* It can still come: waits for it as long as the wish says. */
static void wait_or_answer(
	struct container_request *request, enum container_outcome outcome, const char *why)
{
	const uint64_t now = uv_now(request->broker->loop);

	if (now >= request->waits_until_ms) {
		if (outcome == OUTCOME_REFUSED)
			record_refusal(request, why);
		answer_no(request, outcome, why);
		return;
	}
	request->last_outcome = outcome;
	(void)error_set(&request->last, -EAGAIN, "%s", why);
	if (!request->is_waiting)
		TAILQ_INSERT_TAIL(&request->broker->waiting_containers, request, entry);
	request->is_waiting = true;
	deadline_arm(&request->deadline, request->waits_until_ms - now);
}

static void on_late(struct deadline *deadline)
{
	struct container_request *request =
		container_of(deadline, struct container_request, deadline);
	char why[sizeof request->last.text];

	/* The time is over: the same answer, for good. */
	(void)snprintf(why, sizeof why, "%s", request->last.text);
	request->waits_until_ms = 0;
	stop_waiting(request);
	wait_or_answer(request, request->last_outcome, why);
}

/* What somebody else does with this container's deliveries is over soon. */
static void wait_for_others(struct container_request *request)
{
	const uint64_t until = uv_now(request->broker->loop) + BUSY_DEADLINE_MS;

	if (request->waits_until_ms < until)
		request->waits_until_ms = until;
	wait_or_answer(request, OUTCOME_NOT_YET,
		"another delivery to this container is under way; ask again");
}

/* --- delivering --- */

static const char *still_fails(void *data)
{
	struct container_request *request = data;

	return attested_fails(request->broker, &request->who, request->pidfd);
}

static const char *advice_for(int status)
{
	switch (status) {
	case -EROFS:
		return "tmpfs: [ \"/run\" ]";
	case -EACCES:
	case -EPERM:
	case -EOVERFLOW:
		return "volumes: [ \"secrets:/run/secrets:ro\" ] with driver mayfly, or make the "
		       "directory in the image";
	default:
		return NULL;
	}
}

static void on_delivered(struct lease *lease, int status, const char *why, void *data)
{
	struct container_request *request = data;
	struct container_answer no = { .text = why, .advice = advice_for(status) };

	/* It ends by itself, or it is there: no business of this request any more. */
	request->lease = NULL;
	if (status == 0) {
		answer_lease(request, OUTCOME_DELIVERED, lease);
		return;
	}
	if (status == -ECONNRESET || status == -ECANCELED)
		no.outcome = OUTCOME_NOT_YET;
	else if (still_fails(request))
		no.outcome = OUTCOME_NOT_ATTESTED;
	else
		no.outcome =
			lease->delivery.phase == PHASE_MADE || lease->delivery.phase == PHASE_MARKED
				? OUTCOME_NO_TARGET
				: OUTCOME_FAILED;
	answer(request, &no);
}

static void deliver(struct container_request *request, struct fetched *fetched)
{
	struct broker *broker = request->broker;
	const struct lease_request what = { .init = &request->who.init,
		.facts = &request->who.facts,
		.target = request->plan.files[0].grant->target,
		.fails = still_fails,
		.on_delivered = on_delivered,
		.data = request };
	struct mayfly_error err;

	if (lease_new_for_request(&broker->leases, request->who.engine, &request->lease, &err) <
		0) {
		answer_no(request, OUTCOME_FAILED, err.text);
		return;
	}
	*lease_trail(request->lease) = request->trail;
	request->trail = (struct trail){ 0 };
	lease_set_plan(request->lease, &request->plan, fetched);
	lease_deliver(request->lease, &what);
}

static void on_changed(struct lease *lease, int status, const char *why, void *data)
{
	struct container_request *request = data;

	if (!request->handles.is_ending) {
		if (status == 0)
			answer_lease(request, OUTCOME_DELIVERED, lease);
		else
			answer_no(request, status == -ECONNRESET ? OUTCOME_NOT_YET : OUTCOME_FAILED,
				why);
	}
	handle_group_release(&request->handles);
}

static void on_fetched_more(
	void *data, int status, struct fetched *fetched, const struct mayfly_error *err);

/* --- deciding --- */

/* GRANT: this one alone; NULL: all that there are. */
static int decide(struct container_request *request, const char *grant, struct plan *ret_plan)
{
	struct broker *broker = request->broker;
	struct volume_options options = { 0 };
	const struct policy_question question = {
		.facts = &request->who.facts,
		.volume = "",
		.options = grant ? &options : NULL,
		.environment = broker->config->environment,
		.cgroup_version = engine_link_status(broker->leases.engines[request->who.engine])
					  ->cgroup_version,
	};

	if (grant)
		(void)snprintf(options.grant, sizeof options.grant, "%s", grant);
	trail_done(&request->trail);
	trail_add(&request->trail, STEP_PASSED, "identity",
		"process %d is in the container whose init is process %d: cgroup %llu, mount and "
		"pid namespace are that init's",
		request->who.pid, request->who.init.pid,
		(unsigned long long)request->who.init.cgroup.id);
	return policy_decide(
		broker->leases.policy, &question, &request->trail, ret_plan, &request->last);
}

static const char *different_target(const struct plan *plan)
{
	for (size_t i = 1; i < plan->files_count; i++)
		if (strcmp(plan->files[i].grant->target, plan->files[0].grant->target) != 0)
			return plan->files[i].grant->name;
	return NULL;
}

/* What runs is as PLAN wants it. False: it was answered, or waits. */
static bool check_running(struct container_request *request, const struct plan *plan)
{
	struct running_posture running;
	char why[sizeof request->last.text];

	if (!running_posture_read(&request->broker->leases, &request->who.init, &request->who.facts,
		    request->who.flags, &running)) {
		answer_no(request, OUTCOME_NOT_ATTESTED, "its container has ended");
		return false;
	}
	if (!running_posture_holds(plan, &running, why, sizeof why)) {
		wait_or_answer(request, OUTCOME_REFUSED, why);
		return false;
	}
	running_posture_note(&request->trail, &request->who.init, &running);
	return true;
}

/* What the grants say, narrowed by what was asked for. True: request->plan is it. */
static bool make_plan(struct container_request *request)
{
	const char *unknown = NULL, *other;
	char why[sizeof request->last.text];

	plan_done(&request->plan);
	if (decide(request, request->grant, &request->plan) < 0) {
		(void)snprintf(why, sizeof why, "%s", request->last.text);
		wait_or_answer(request, OUTCOME_REFUSED, why);
		return false;
	}
	if (request->names_count > 0 &&
		plan_narrow(&request->plan, (const char *const *)request->names,
			request->names_count, &unknown) < 0) {
		(void)snprintf(why, sizeof why,
			"no grant of this container has '%.255s'; see `mayfly explain`", unknown);
		wait_or_answer(request, OUTCOME_REFUSED, why);
		return false;
	}
	other = different_target(&request->plan);
	if (other) {
		(void)snprintf(why, sizeof why,
			"grants %s and %s have different targets: ask for one of them",
			request->plan.files[0].grant->name, other);
		wait_or_answer(request, OUTCOME_REFUSED, why);
		return false;
	}
	return check_running(request, &request->plan);
}

static void fetch(struct container_request *request, value_fetched_function *on_fetched)
{
	struct mayfly_error err;

	if (value_fetch_start(request->broker->loop, &request->broker->leases.sources,
		    &request->plan, on_fetched, request, &request->fetch, &err) < 0)
		answer_no(request, OUTCOME_FAILED, err.text);
}

/* True when there is nothing to be had of FETCHED (yet). */
static bool is_missing(
	struct container_request *request, int status, const struct mayfly_error *err)
{
	request->fetch = NULL;
	if (status == 0)
		return false;
	if (status == -ENOKEY)
		go_on(request);
	else
		wait_or_answer(request,
			status == -ENOENT || status == -EAGAIN ? OUTCOME_NOT_YET : OUTCOME_FAILED,
			err->text);
	return true;
}

static void on_fetched_more(
	void *data, int status, struct fetched *fetched, const struct mayfly_error *err)
{
	struct container_request *request = data;
	struct container_presence present;

	if (is_missing(request, status, err))
		return;
	present = container_presence(request->broker, &request->who, &request->plan);
	if (!present.at_target || present.is_busy) {
		go_on(request);
		return;
	}
	handle_group_hold(&request->handles);
	status = lease_change(present.at_target, &request->plan, fetched, on_changed, request);
	if (status < 0) {
		handle_group_release(&request->handles);
		answer_no(request, OUTCOME_FAILED, strerrordesc_np(-status));
	}
}

static void on_fetched(
	void *data, int status, struct fetched *fetched, const struct mayfly_error *err)
{
	struct container_request *request = data;

	if (is_missing(request, status, err))
		return;
	/* Another request of the same container may have been quicker. */
	if (container_presence(request->broker, &request->who, &request->plan).at_target)
		go_on(request);
	else
		deliver(request, fetched);
}

static bool is_asked_for(const struct container_request *request, const struct plan_file *file)
{
	if (request->grant && strcmp(file->grant->name, request->grant) != 0)
		return false;
	for (size_t i = 0; i < request->names_count; i++)
		if (plan_file_is_called(file, request->names[i]))
			return true;
	return request->names_count == 0;
}

/* There is a delivery at the target, with other files. */
static void extend(struct container_request *request, struct lease *lease)
{
	const char *target = request->plan.files[0].grant->target;
	struct plan whole = { 0 };
	size_t kept = 0;

	if (lease->mode != LEASE_AT_REQUEST) {
		answer_no(request, OUTCOME_NO_TARGET,
			"a volume of this container is mounted there and has other files; give the "
			"grant a `target` of its own");
		return;
	}
	/* Also of grants that were not named now; without them if they cannot be had any more. */
	if (decide(request, NULL, &whole) < 0 && decide(request, request->grant, &whole) < 0) {
		answer_no(request, OUTCOME_REFUSED, request->last.text);
		return;
	}
	for (size_t i = 0; i < whole.files_count; i++)
		/* Files that are there already stay: the next generation has them too. */
		if (strcmp(whole.files[i].grant->target, target) == 0 &&
			(lease_has_path(lease, whole.files[i].path) ||
				is_asked_for(request, &whole.files[i])))
			whole.files[kept++] = whole.files[i];
	whole.files_count = kept;
	if (!check_running(request, &whole)) {
		plan_done(&whole);
		return;
	}
	whole.expires_unix_s = lease_expires_unix(lease);
	plan_done(&request->plan);
	request->plan = whole;
	fetch(request, on_fetched_more);
}

static void go_on_unlocked(struct container_request *request)
{
	struct container_presence present;

	if (!make_plan(request))
		return;
	present = container_presence(request->broker, &request->who, &request->plan);
	if (present.covering)
		answer_lease(request, OUTCOME_PRESENT, present.covering);
	else if (present.is_busy)
		wait_for_others(request);
	else if (present.at_target)
		extend(request, present.at_target);
	else
		fetch(request, on_fetched);
}

/* Goes as far as it can. Called at the start and whenever something that it may wait for has
 * happened. */
static void go_on(struct container_request *request)
{
	struct broker *broker = request->broker;
	const enum store_state state = store_state(broker->store, NULL);
	char locked[128];

	stop_waiting(request);
	if (state == STORE_UNLOCKED) {
		go_on_unlocked(request);
	} else if (state == STORE_LOCKED) {
		broker_locked_text(broker, locked, sizeof locked);
		wait_or_answer(request, OUTCOME_NOT_YET, locked);
	} else {
		wait_or_answer(
			request, OUTCOME_NOT_YET, "there is no usable store; see `mayfly status`");
	}
}

void container_requests_wake(struct broker *broker)
{
	struct container_request *request;
	size_t count = 0;

	TAILQ_FOREACH(request, &broker->waiting_containers, entry)
	count++;
	/* Each is looked at once; what a look adds comes behind. */
	while (count-- > 0 && (request = TAILQ_FIRST(&broker->waiting_containers))) {
		TAILQ_REMOVE(&broker->waiting_containers, request, entry);
		TAILQ_INSERT_TAIL(&broker->waiting_containers, request, entry);
		go_on(request);
	}
}

/* Not from within the call that starts it: the answer never comes before that returns. */
static void on_begin(struct deadline *deadline)
{
	struct container_request *request =
		container_of(deadline, struct container_request, deadline);

	request->deadline.on_passed = on_late;
	go_on(request);
}

static bool copy_wish(struct container_request *request, const struct container_wish *wish)
{
	request->grant = wish->grant ? strdup(wish->grant) : NULL;
	request->names = calloc(wish->names_count + 1, sizeof *request->names);
	if ((wish->grant && !request->grant) || !request->names)
		return false;
	for (; request->names_count < wish->names_count; request->names_count++) {
		request->names[request->names_count] = strdup(wish->names[request->names_count]);
		if (!request->names[request->names_count])
			return false;
	}
	return true;
}

static bool copy_who(struct container_request *request, const struct attested *who, int pidfd)
{
	request->who = *who;
	request->who.facts = container_facts_ref(&who->facts);
	request->who.steps = json_incref(who->steps);
	request->who.init.pidfd = fcntl(who->init.pidfd, F_DUPFD_CLOEXEC, 0);
	request->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 0);
	return request->who.init.pidfd >= 0 && request->pidfd >= 0;
}

int container_request_start(struct broker *broker, const struct attested *who, int pidfd,
	const struct container_wish *wish, container_answer_function *on_answer, void *data,
	struct container_request **ret_request)
{
	struct container_request *request = calloc(1, sizeof *request);
	bool is_copied;

	if (!request)
		return -ENOMEM;
	is_copied = copy_who(request, who, pidfd);
	is_copied = copy_wish(request, wish) && is_copied;
	request->broker = broker;
	request->waits_until_ms =
		uv_now(broker->loop) + (wish->wait_ms < CONTAINER_REQUEST_WAIT_MAX_MS
						       ? wish->wait_ms
						       : CONTAINER_REQUEST_WAIT_MAX_MS);
	request->share = wish->share;
	request->on_answer = on_answer;
	request->data = data;
	handle_group_init(&request->handles, on_empty);
	deadline_init(&request->deadline, broker->loop, &request->handles, on_begin);
	if (!is_copied) {
		request->on_answer = NULL;
		answer_no(request, OUTCOME_FAILED, "out of memory");
		return -ENOMEM;
	}
	deadline_arm(&request->deadline, 0);
	*ret_request = request;
	return 0;
}

void container_request_abandon(struct container_request *request)
{
	struct lease *lease = request->lease;

	request->on_answer = NULL;
	request->lease = NULL;
	if (lease) {
		lease_forget_request(lease);
		lease_end(lease, "whoever has asked for it has gone");
	}
	answer_no(request, OUTCOME_FAILED, "");
}
