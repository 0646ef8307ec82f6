/* Policy: check, show, reload. */
#include "daemon/broker/listen/operator/operator_socket.h"

#include "daemon/broker/lease/lease_record.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define POLICY_FILES_MAX 1024

/* The files of a call, borrowed from its parameters. */
static size_t texts_of(struct operator_job *job, struct policy_text **ret_texts)
{
	json_t *files = json_object_get(job->parameters, "files"), *file;
	struct policy_text *texts = calloc(json_array_size(files) + 1, sizeof *texts);
	size_t count = 0, i;

	*ret_texts = texts;
	json_array_foreach (files, i, file) {
		const char *name = json_string_value(json_object_get(file, "name"));
		const char *text = json_string_value(json_object_get(file, "text"));

		if (texts && name && text && count < POLICY_FILES_MAX)
			texts[count++] = (struct policy_text){
				.file = name, .text = text, .length = strlen(text)
			};
	}
	return count;
}

/* "db-password, api-key" or why nothing. */
static char *outcome_of(
	struct policy *policy, const struct lease *lease, const struct container_facts *facts)
{
	const struct policy_question question = lease_question(lease, facts);
	struct trail trail = { 0 };
	struct plan plan = { 0 };
	struct mayfly_error err;
	char *text = NULL;

	if (policy_decide(policy, &question, &trail, &plan, &err) < 0)
		text = strdup(err.text);
	for (size_t i = 0; i < plan.files_count; i++) {
		char *longer = NULL;

		if (asprintf(&longer, "%s%s%s (%s)", text ? text : "", text ? ", " : "",
			    plan.files[i].path, plan.files[i].grant->name) < 0)
			break;
		free(text);
		text = longer;
	}
	plan_done(&plan);
	trail_done(&trail);
	return text;
}

/* A check against what runs: facts of each container of ours come from the engines, one after the
 * other. */
struct running_check {
	struct operator_job *job;
	struct policy *policy; /* to be checked; NULL: it is not valid */
	json_t *changes;
	unsigned engine;
	struct engine_question question;
};

static void check_next_engine(struct running_check *check);

static void compare(
	struct running_check *check, struct lease *lease, const struct container_facts *facts)
{
	AUTO_FREE char *before = outcome_of(check->job->broker->leases.policy, lease, facts);
	AUTO_FREE char *after = outcome_of(check->policy, lease, facts);

	if (before && after && strcmp(before, after) != 0)
		(void)json_array_append_new(check->changes,
			json_pack("{s:s, s:s, s:s, s:s}", "container", facts->name, "container_id",
				facts->id, "before", before, "after", after));
}

static void on_facts(struct engine_question *question, const struct container_facts *facts,
	const char *id, const char *why)
{
	struct running_check *check = container_of(question, struct running_check, question);
	struct lease *lease;

	(void)id;
	(void)why;
	if (!facts || !facts->running)
		return;
	TAILQ_FOREACH(lease, &check->job->broker->leases.leases, entry)
	if (strcmp(lease_container_id(lease), facts->id) == 0)
		compare(check, lease, facts);
}

static void on_facts_done(struct engine_question *question, int status, const char *why)
{
	struct running_check *check = container_of(question, struct running_check, question);

	(void)status;
	(void)why;
	check->engine++;
	check_next_engine(check);
}

static void check_next_engine(struct running_check *check)
{
	struct broker *broker = check->job->broker;

	while (check->engine < broker->engines_count &&
		engine_link_containers(
			broker->leases.engines[check->engine], NULL, &check->question) < 0)
		check->engine++;
	if (check->engine < broker->engines_count)
		return;
	(void)json_object_set_new(check->job->reply, "changes", check->changes);
	policy_unref(check->policy);
	job_finish(check->job);
	free(check);
}

static void check_against_running(struct operator_job *job, struct policy *policy)
{
	struct running_check *check = calloc(1, sizeof *check);

	if (!check) {
		policy_unref(policy);
		job_fail(job, OPERATOR_ERROR("Failed"), "out of memory");
		job_finish(job);
		return;
	}
	*check = (struct running_check){ .job = job,
		.policy = policy,
		.changes = json_array(),
		.question = { .on_facts = on_facts, .on_done = on_facts_done } };
	check_next_engine(check);
}

/* Reading and checking a large policy takes longer than the loop may wait. */
static void run_check_policy(struct operator_job *job)
{
	struct broker_files *files = job->extra;
	AUTO_FREE struct policy_text *texts = NULL;
	const size_t count = texts_of(job, &texts);
	struct mayfly_error err = { 0 };
	const int r = broker_files_read(job->broker->root, texts, count, files, &err);

	if (r < 0 && files->complaints.count == 0)
		job_fail(job, OPERATOR_ERROR("Failed"), "%s", err.text);
}

static void done_check_policy(struct operator_job *job)
{
	struct broker_files *files = job->extra;
	struct policy *policy = ptr_take(&files->policy);

	if (!job->error)
		job->reply = json_pack("{s:I, s:o, s:o, s:[]}", "grants",
			(json_int_t)(policy ? policy->grants_count : 0), "complaints",
			complaints_to_json(&files->complaints), "notes",
			complaints_to_json(&files->notes), "changes");
	broker_files_done(files);
	if (policy && job_flag(job, "against_running")) {
		job->is_continued = true;
		check_against_running(job, policy);
	} else if (policy) {
		policy_unref(policy);
	}
}

static void start_with_files(struct operator_job *job, void (*run)(struct operator_job *),
	void (*done)(struct operator_job *))
{
	job->extra = calloc(1, sizeof(struct broker_files));
	job->run = run;
	job->done = done;
	if (job->extra) {
		job_start(job);
		return;
	}
	job_fail(job, OPERATOR_ERROR("Failed"), "out of memory");
	job_finish(job);
}

void on_check_policy(struct operator_job *job)
{
	start_with_files(job, run_check_policy, done_check_policy);
}

static void run_reload(struct operator_job *job)
{
	struct broker_files *files = job->extra;
	struct mayfly_error err = { 0 };
	const int r = broker_files_read(job->broker->root, NULL, 0, files, &err);

	if (r < 0 && files->complaints.count > 0)
		job_fail_complaints(job, &files->complaints);
	else if (r < 0)
		job_fail(job, OPERATOR_ERROR("Failed"), "%s", err.text);
}

static void done_reload(struct operator_job *job)
{
	struct broker_files *files = job->extra;
	json_t *restart_needed = json_array();

	if (!job->error)
		broker_files_apply(job->broker, files, restart_needed);
	job->reply = json_pack("{s:I, s:o}", "grants",
		(json_int_t)job->broker->leases.policy->grants_count, "restart_needed",
		restart_needed);
	broker_files_done(files);
}

/* All or nothing. */
void on_reload(struct operator_job *job)
{
	job->record = job_record(job, "reload");
	start_with_files(job, run_reload, done_reload);
}

void on_show_policy(struct operator_job *job)
{
	const struct policy *policy = job->broker->leases.policy;
	const char *wanted = job_optional_text(job, "grant");
	AUTO_FREE const char **names = calloc(policy->grants_count + 1, sizeof *names);
	json_t *grants = json_array();

	for (size_t i = 0; i < policy->grants_count; i++) {
		const struct policy_grant *grant = &policy->grants[i];

		if (names)
			names[i] = grant->name;
		if (wanted && strcmp(wanted, grant->name) != 0)
			continue;
		(void)json_array_append_new(grants, json_deep_copy(grant->source));
	}
	if (wanted && json_array_size(grants) == 0)
		job_fail_nearest(job, OPERATOR_ERROR("NotFound"),
			names ? nearest_word(wanted, names, policy->grants_count) : NULL,
			"there is no such grant");
	job->reply = json_pack("{s:o}", "grants", grants);
	job_finish(job);
}
