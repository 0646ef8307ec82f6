#include "daemon/broker/request/request_flow.h"

#include "daemon/broker/lease/lease_index.h"
#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/loop/deadline.h"
#include "daemon/broker/request/engine_process.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENGINE_DEADLINE_MS 5000	 /* mayfly-engine, or the end of an older lease of this id */
#define GROUP_DEADLINE_MS  60000 /* a free fanotify group: others are being started */
#define BOOT_PERIOD_S	   120	 /* so long after boot a Mount waits for unlocking ... */
#define BOOT_WAIT_MS	   30000 /* ... so long */

/* What a request waits for, in the order in which it is looked at. */
enum waiting_for { NOTHING = 0, OLD_LEASE, ADOPTION, THE_MOUNTER, THE_ENGINE, UNLOCKING, A_GROUP };

struct mount_request {
	TAILQ_ENTRY(mount_request) entry; /* while it waits */
	struct handle_group handles;
	struct broker *broker;
	unsigned engine;
	char *volume;
	struct volume_options options;
	char mount_id[DELIVERY_HEX_LENGTH + 1];
	struct deadline deadline;
	enum waiting_for waits;
	bool has_asked; /* the candidates are known */
	struct engine_question question;
	bool is_asking;
	struct lease *lease; /* until it is armed or has refused */
	struct value_fetch *fetch;
	struct plan plan;
	/* both must be over before the engine is answered */
	bool is_armed, is_recorded;
	mount_answer_function *on_answer;
	void *data;
};

static void go_on(struct mount_request *request);

static void on_empty(struct handle_group *handles)
{
	struct mount_request *request = container_of(handles, struct mount_request, handles);

	volume_options_done(&request->options);
	plan_done(&request->plan);
	free(request->volume);
	free(request);
}

static void stop_waiting(struct mount_request *request)
{
	if (request->waits != NOTHING)
		TAILQ_REMOVE(&request->broker->waiting, request, entry);
	request->waits = NOTHING;
	deadline_cancel(&request->deadline);
}

/* The end of a request: its one answer, if somebody still wants it. */
static void answer(struct mount_request *request, const char *path, const char *why)
{
	if (!handle_group_end(&request->handles))
		return;
	stop_waiting(request);
	if (request->is_asking)
		engine_link_forget(
			request->broker->leases.engines[request->engine], &request->question);
	if (request->fetch)
		value_fetch_abandon(request->fetch);
	if (request->on_answer)
		request->on_answer(request->data, path, why);
	deadline_close(&request->deadline);
	handle_group_release(&request->handles);
}

static void answer_path(struct mount_request *request)
{
	char path[4096 + DELIVERY_HEX_LENGTH];

	(void)snprintf(path, sizeof path, "%s/%s", request->broker->leases.volumes_path,
		request->mount_id);
	answer(request, path, NULL);
}

/* The decision is written down where `explain` and audit find it. */
static void refuse(struct mount_request *request, const char *why)
{
	struct lease *lease = request->lease;

	/* The lease's end wakes whoever waits: not this one. */
	stop_waiting(request);
	request->lease = NULL;
	if (lease) {
		lease_forget_arming(lease);
		lease_refuse(lease, why);
	}
	answer(request, NULL, why);
}

static void refuse_locked(struct mount_request *request)
{
	struct broker *broker = request->broker;
	const char *name = request->lease ? lease_container_name(request->lease) : "";
	char locked[128], why[512];

	broker_locked_text(broker, locked, sizeof locked);
	if (!name[0]) {
		refuse(request, locked);
		return;
	}
	(void)snprintf(why, sizeof why, "%s, then `docker start %s`", locked, name);
	(void)json_object_set_new(broker->refused_while_locked, lease_container_id(request->lease),
		json_string(name));
	refuse(request, why);
}

static void finish_if_both(struct mount_request *request)
{
	if (!request->is_armed || !request->is_recorded)
		return;
	lease_save_decision(
		request->lease, "pending", "mounted; released when the start is verified");
	request->lease = NULL;
	answer_path(request);
}

/* Held by the request's handles: a record that is under way cannot be called back. */
static void on_recorded(void *data, int status)
{
	struct mount_request *request = data;
	struct handle_group *handles = &request->handles;

	if (!handles->is_ending && status < 0) {
		refuse(request, "the audit record could not be made durable; see `mayfly status`");
	} else if (!handles->is_ending) {
		request->is_recorded = true;
		finish_if_both(request);
	}
	handle_group_release(handles);
}

static void on_armed(struct lease *lease, int status, const char *why, void *data)
{
	struct mount_request *request = data;

	(void)lease;
	if (status < 0) {
		/* The lease ends by itself. */
		request->lease = NULL;
		answer(request, NULL, why);
		return;
	}
	request->is_armed = true;
	finish_if_both(request);
}

static void record(struct mount_request *request)
{
	json_t *object = lease_audit_record(request->lease, "mount", "granted", NULL);
	int r = -ENOMEM;

	handle_group_hold(&request->handles);
	if (object)
		r = audit_queue_append(
			request->broker->leases.audit, object, on_recorded, request, NULL);
	json_decref(object);
	if (r < 0)
		on_recorded(request, r);
}

/* The last step: the mounter's work and the record go side by side. */
static void arm(struct mount_request *request)
{
	struct mount_request *const kept = request;

	lease_arm(request->lease, on_armed, request);
	if (!kept->handles.is_ending)
		record(kept);
}

static void on_fetched(
	void *data, int status, struct fetched *fetched, const struct mayfly_error *err)
{
	struct mount_request *request = data;

	request->fetch = NULL;
	if (status == -ENOKEY) {
		/* It was locked while the values were being fetched. */
		go_on(request);
		return;
	}
	if (status < 0) {
		refuse(request, err->text);
		return;
	}
	trail_add(lease_trail(request->lease), STEP_PASSED, "values",
		"%zu value%s fetched and held sealed", fetched->used->count,
		fetched->used->count == 1 ? "" : "s");
	if (fetched->from[0])
		trail_add(lease_trail(request->lease), STEP_PASSED, "server", "%s", fetched->from);
	if (fetched->stale > 0)
		trail_add(lease_trail(request->lease), STEP_NOTED, "values",
			"%zu of them from the cache: no server answered; see `mayfly status`",
			fetched->stale);
	lease_set_plan(request->lease, &request->plan, fetched);
	arm(request);
}

/* Decides for each candidate. Returns how many may have something; *RET_SAME: all may have the
 * same. The first refusal stays in ERR, the first plan in request->plan. */
static size_t decide_all(struct mount_request *request, bool *ret_same, struct mayfly_error *err)
{
	struct lease *lease = request->lease;
	size_t granted = 0;
	bool is_same = true;

	plan_done(&request->plan);
	request->plan = (struct plan){ 0 };
	for (size_t i = 0; i < lease->beginnings->candidates_count; i++) {
		const struct policy_question question =
			lease_question(lease, &lease->beginnings->candidates[i]);
		struct mayfly_error refusal;
		struct plan plan = { 0 };

		if (policy_decide(request->broker->leases.policy, &question, lease_trail(lease),
			    &plan, &refusal) < 0) {
			if (granted == i)
				*err = refusal;
			is_same = false;
		} else if (granted++ == 0) {
			request->plan = plan;
			plan = (struct plan){ 0 };
		} else {
			is_same = is_same && plan_equal(&request->plan, &plan);
		}
		plan_done(&plan);
	}
	*ret_same = is_same;
	return granted;
}

/* What the kernel cannot do, the grant must accept. Returns false when it does not. */
static bool choose_release(struct mount_request *request)
{
	struct lease *lease = request->lease;

	if (lease->mode == LEASE_GUARDED)
		return true;
	if (request->plan.release == RELEASE_GUARD)
		return false;
	if (request->plan.release == RELEASE_MOUNT && lease->beginnings->candidates_count == 1)
		lease->mode = LEASE_AT_MOUNT;
	return true;
}

static void decide(struct mount_request *request)
{
	struct broker *broker = request->broker;
	struct mayfly_error err = { 0 };
	bool is_same;
	int r;

	if (decide_all(request, &is_same, &err) == 0) {
		refuse(request, err.text);
		return;
	}
	if (!is_same) {
		trail_add(lease_trail(request->lease), STEP_NOTED, "candidates",
			"they may have different files: which one this is for shows when the "
			"runtime names it");
		arm(request);
		return;
	}
	if (!choose_release(request)) {
		refuse(request, "this kernel has no permission events, and the grant says "
				"\"release\": \"guard\"; see "
				"`mayfly doctor`");
		return;
	}
	r = value_fetch_start(broker->loop, &broker->leases.sources, &request->plan, on_fetched,
		request, &request->fetch, &err);
	if (r < 0)
		refuse(request, err.text);
}

static void wait_for(struct mount_request *request, enum waiting_for what, uint64_t limit_ms)
{
	if (request->waits == what)
		return;
	stop_waiting(request);
	request->waits = what;
	TAILQ_INSERT_TAIL(&request->broker->waiting, request, entry);
	deadline_arm(&request->deadline, limit_ms);
}

static void on_late(struct deadline *deadline)
{
	struct mount_request *request = container_of(deadline, struct mount_request, deadline);

	switch (request->waits) {
	case UNLOCKING:
		refuse_locked(request);
		return;
	case A_GROUP:
		refuse(request, "too many containers are being started at once; try again");
		return;
	case OLD_LEASE:
		refuse(request,
			"the files of the container's last run are still being wiped; try again");
		return;
	case THE_MOUNTER:
		refuse(request, "mayfly-mounter was not there for 5 s; see `mayfly status`");
		return;
	case ADOPTION:
	case THE_ENGINE:
	case NOTHING:
		break;
	}
	refuse(request, "mayfly-engine gave no answer in 5 s; see `mayfly status`");
}

/* Nobody uses the volume and is being started: a mount of `docker create`, or of `docker cp` for a
 * stopped container. */
static void give_decoy(struct mount_request *request)
{
	request->is_recorded = true;
	lease_arm_decoy(request->lease, on_armed, request);
}

static void note_candidates(struct mount_request *request)
{
	struct lease *lease = request->lease;
	char shown[64];

	for (size_t i = 0; i < lease->beginnings->candidates_count; i++) {
		const struct container_facts *facts = &lease->beginnings->candidates[i];

		trail_add(lease_trail(lease), STEP_PASSED, "candidate",
			"%s (%.12s): uses the volume, is being started; claimed by the engine's "
			"own files",
			error_quote(shown, sizeof shown, facts->name, strlen(facts->name)),
			facts->id);
	}
}

static void on_candidate(struct engine_question *question, const struct container_facts *facts,
	const char *id, const char *why)
{
	struct mount_request *request = container_of(question, struct mount_request, question);

	if (!facts) {
		trail_add(lease_trail(request->lease), STEP_FAILED, "candidate", "%.12s: %s", id,
			why);
		request->lease->beginnings->has_unjudged = true;
		return;
	}
	/* Not announced: it is being created, and is not being started. */
	if (facts->announced && facts->root_mounted && !facts->running)
		(void)lease_add_candidate(request->lease, facts);
}

static void on_candidates(struct engine_question *question, int status, const char *why)
{
	struct mount_request *request = container_of(question, struct mount_request, question);

	request->is_asking = false;
	if (status == -ECONNRESET) {
		/* mayfly-engine has died; the next one is asked. */
		go_on(request);
		return;
	}
	if (status < 0 || request->lease->beginnings->has_unjudged) {
		refuse(request, status < 0 ? why
					   : "a container that mounts this volume cannot be "
					     "judged; see `mayfly explain`");
		return;
	}
	request->has_asked = true;
	note_candidates(request);
	if (request->lease->beginnings->candidates_count == 0)
		give_decoy(request);
	else
		go_on(request);
}

/* The lease is there from here on, so that every way on can be explained. */
static void ask(struct mount_request *request)
{
	struct broker *broker = request->broker;
	struct mayfly_error err;

	if (!request->lease) {
		if (lease_new(&broker->leases, request->mount_id, request->engine, request->volume,
			    &request->options, &request->lease, &err) < 0) {
			answer(request, NULL, err.text);
			return;
		}
		trail_add(lease_trail(request->lease), STEP_PASSED, "request",
			"engine %s mounts volume %s (id %.12s)",
			broker->engines[request->engine].name, request->volume, request->mount_id);
	}
	/* A second time when mayfly-engine has died over the first. */
	lease_clear_candidates(request->lease);
	request->question.on_facts = on_candidate;
	request->question.on_done = on_candidates;
	request->is_asking = true;
	if (engine_link_candidates(broker->leases.engines[request->engine], request->volume,
		    &request->question) < 0) {
		request->is_asking = false;
		wait_for(request, THE_ENGINE, ENGINE_DEADLINE_MS);
	}
}

static void go_on_locked(struct mount_request *request)
{
	if (store_state(request->broker->store, NULL) == STORE_UNINITIALISED) {
		refuse(request, "there is no store yet; run `mayfly init`");
		return;
	}
	if (seconds_since_boot() < BOOT_PERIOD_S)
		wait_for(request, UNLOCKING, BOOT_WAIT_MS);
	else
		refuse_locked(request);
}

/* `docker cp`: the same path; there is nothing in it any more, or opening it is refused. */
static void answer_again(struct mount_request *request, struct lease *lease)
{
	lease_on_mount_again(lease);
	answer_path(request);
}

/* Goes as far as it can. Called at the start and whenever something that it may wait for has
 * happened. */
static void go_on(struct mount_request *request)
{
	struct broker *broker = request->broker;
	struct lease *old = lease_find(&broker->leases, request->mount_id);

	if (!broker->is_adopted) {
		wait_for(request, ADOPTION, ENGINE_DEADLINE_MS);
	} else if (old && old != request->lease) {
		if (old->state == LEASE_ENDED)
			lease_end(old, "its id is used again");
		if (old->state == LEASE_ENDING || old->state == LEASE_ENDED)
			wait_for(request, OLD_LEASE, ENGINE_DEADLINE_MS);
		else
			answer_again(request, old);
	} else if (!mounter_link_is_up(broker->leases.mounter)) {
		wait_for(request, THE_MOUNTER, ENGINE_DEADLINE_MS);
	} else if (engine_link_status(broker->leases.engines[request->engine])->state ==
			   ENGINE_ABSENT ||
		   !engine_process_is_known(&broker->engines[request->engine])) {
		wait_for(request, THE_ENGINE, ENGINE_DEADLINE_MS);
	} else if (!request->has_asked) {
		stop_waiting(request);
		ask(request);
	} else if (store_state(broker->store, NULL) == STORE_LOCKED ||
		   store_state(broker->store, NULL) == STORE_UNINITIALISED) {
		go_on_locked(request);
	} else if (request->lease->mode == LEASE_GUARDED &&
		   !guard_has_free_group(broker->leases.guard)) {
		wait_for(request, A_GROUP, GROUP_DEADLINE_MS);
	} else {
		stop_waiting(request);
		decide(request);
	}
}

/* Each of those that wait is looked at once; what a look adds comes later. */
void mount_requests_wake(struct broker *broker)
{
	struct mount_request *request;
	size_t count = 0;

	TAILQ_FOREACH(request, &broker->waiting, entry)
	count++;
	while (count-- > 0 && (request = TAILQ_FIRST(&broker->waiting))) {
		TAILQ_REMOVE(&broker->waiting, request, entry);
		TAILQ_INSERT_TAIL(&broker->waiting, request, entry);
		go_on(request);
	}
}

/* Not from within the call that starts it: the answer never comes before that returns. */
static void on_begin(struct deadline *deadline)
{
	struct mount_request *request = container_of(deadline, struct mount_request, deadline);

	request->deadline.on_passed = on_late;
	go_on(request);
}

static bool is_mount_id(const char *id)
{
	return strlen(id) == DELIVERY_HEX_LENGTH &&
	       strspn(id, "0123456789abcdef") == DELIVERY_HEX_LENGTH;
}

int mount_request_start(struct broker *broker, unsigned engine, const char *volume,
	const struct volume_options *options, const char *mount_id,
	mount_answer_function *on_answer, void *data, struct mount_request **ret_request,
	struct mayfly_error *err)
{
	struct mount_request *request;

	if (!is_mount_id(mount_id))
		return error_set(err, -EINVAL, "a mount id is 64 hex digits");
	request = calloc(1, sizeof *request);
	if (!request)
		return error_errno(err, -ENOMEM, "mount");
	request->volume = strdup(volume);
	if (!request->volume || volume_options_copy(options, &request->options) < 0) {
		free(request->volume);
		free(request);
		return error_errno(err, -ENOMEM, "mount");
	}
	request->broker = broker;
	request->engine = engine;
	memcpy(request->mount_id, mount_id, sizeof request->mount_id);
	request->on_answer = on_answer;
	request->data = data;
	handle_group_init(&request->handles, on_empty);
	deadline_init(&request->deadline, broker->loop, &request->handles, on_begin);
	deadline_arm(&request->deadline, 0);
	*ret_request = request;
	return 0;
}

void mount_request_abandon(struct mount_request *request)
{
	struct lease *lease = request->lease;

	request->on_answer = NULL;
	request->lease = NULL;
	if (lease) {
		lease_forget_arming(lease);
		lease_end(lease, "the engine has given the mount up");
	}
	answer(request, NULL, NULL);
}
