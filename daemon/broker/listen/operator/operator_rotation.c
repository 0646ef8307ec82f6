/* Rotation: prepare, discard, read what is prepared, rotate, confirm a roll back. */
#include "daemon/broker/listen/operator/operator_socket.h"

#include "daemon/broker/store/store_prepared.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- one secret --- */

static const char *name_of(const struct operator_job *job, char text[MAYFLY_REFERENCE_MAX + 2])
{
	(void)snprintf(
		text, MAYFLY_REFERENCE_MAX + 2, "%s/%s", job->reference.set, job->reference.name);
	return text;
}

static void fail_prepared(struct operator_job *job, int code, const struct mayfly_error *err)
{
	if (code == -EALREADY)
		job_fail(job, OPERATOR_ERROR("Exists"), "%s", err->text);
	else
		job_fail_store(job, code, err);
}

static void run_prepare(struct operator_job *job)
{
	const bool previous = job_flag(job, "previous");
	enum put_outcome outcome;
	struct secret_info info;
	struct mayfly_error err;
	uint32_t version = 0;
	int r;

	if (job_flag(job, "generate") && !job_generate(job))
		return;
	r = store_prepare(job->broker->store, &job->reference, previous ? NULL : &job->input,
		&outcome, &version, &err);
	if (r == 0)
		r = store_info(job->broker->store, &job->reference, &info, &err);
	if (r < 0)
		fail_prepared(job, r, &err);
	else
		job->reply = json_pack("{s:s, s:I, s:I}", "outcome",
			outcome == PUT_UNCHANGED ? "unchanged" : "prepared", "version",
			(json_int_t)version, "current", (json_int_t)info.current);
}

void on_prepare(struct operator_job *job)
{
	const bool has_value = json_object_get(job->parameters, "value_fd") != NULL;

	job->run = run_prepare;
	if ((int)has_value + job_flag(job, "generate") + job_flag(job, "previous") != 1) {
		job_fail(job, OPERATOR_ERROR("Invalid"),
			"one of value_fd, generate and previous says what the next value is");
		job_finish(job);
	} else if (!job_reference(job) || !job_is_of_store(job, job->reference.set) ||
		   (has_value &&
			   !job_secret(job, "value_fd", MAYFLY_VALUE_MAX_BYTES, &job->input))) {
		job_finish(job);
	} else {
		job->record = job_secret_record(job, "prepare");
		job_start(job);
	}
}

static void run_discard(struct operator_job *job)
{
	struct mayfly_error err;
	uint32_t version = 0;
	const int r = store_discard(job->broker->store, &job->reference, &version, &err);

	if (r < 0)
		job_fail_store(job, r, &err);
	else
		job->reply = json_pack("{s:I}", "version", (json_int_t)version);
}

void on_discard(struct operator_job *job)
{
	job->run = run_discard;
	if (!job_reference(job)) {
		job_finish(job);
		return;
	}
	job->record = job_secret_record(job, "discard");
	job_start(job);
}

static void run_read_prepared(struct operator_job *job)
{
	AUTO_SECRET before = { 0 };
	AUTO_SECRET after = { 0 };
	struct mayfly_error err;
	uint32_t before_version = 0, after_version = 0;
	int r = store_get(job->broker->store, &job->reference, VERSION_PREPARED, &after,
		&after_version, &err);

	if (r == 0)
		r = store_get(job->broker->store, &job->reference, VERSION_CURRENT, &before,
			&before_version, &err);
	if (r < 0)
		job_fail_store(job, r, &err);
	else if (job_give(job, "before_into_fd", &before) && job_give(job, "after_into_fd", &after))
		job->reply = json_pack("{s:I, s:I}", "before", (json_int_t)before_version, "after",
			(json_int_t)after_version);
}

/* Values leave the broker: recorded, and only while one is prepared. */
void on_read_prepared(struct operator_job *job)
{
	job->run = run_read_prepared;
	if (!job_reference(job)) {
		job_finish(job);
		return;
	}
	job->record = job_secret_record(job, "apply");
	job_start(job);
}

/* --- a rotation --- */

struct rotating {
	struct rotation_watch watch;
	struct operator_job *job;
	char id[ROTATION_ID_LENGTH + 1];
	struct store_change changes[ROTATION_CHANGES_MAX];
	size_t count;
};

/* Before the store changes: from here on a restart of ours finds out whether it has. */
static int write_row(struct operator_job *job, struct rotating *rotating, struct mayfly_error *err)
{
	json_t *row = NULL;
	int r = 0;

	for (size_t i = 0; i < rotating->count && r == 0; i++) {
		struct secret_info info;

		r = store_info(job->broker->store, &rotating->changes[i].reference, &info, err);
		rotating->changes[i].before = info.current;
	}
	if (r < 0)
		return r;
	row = json_pack("{s:s, s:s, s:o, s:O, s:I, s:b, s:[]}", "id", rotating->id, "boot_id",
		job->broker->rotations.boot_id, "changes",
		rotation_changes_to_json(rotating->changes, rotating->count), "actor",
		json_object_get(job->record, "actor"), "canary",
		job_optional_number(job, "canary", 0), "apply", job_flag(job, "apply"), "targets");
	if (!row)
		return error_errno(err, -ENOMEM, "write the rotation down");
	r = state_db_rotation_put(job->broker->state, rotating->id, row, err);
	json_decref(row);
	return r;
}

static void run_rotate(struct operator_job *job)
{
	struct rotating *rotating = job->extra;
	struct mayfly_error err, ignored;
	int r = write_row(job, rotating, &err);

	if (r == 0) {
		r = store_activate(job->broker->store, rotating->changes, rotating->count, &err);
		if (r < 0)
			(void)state_db_rotation_remove(job->broker->state, rotating->id, &ignored);
	}
	if (r < 0)
		job_fail_store(job, r, &err);
}

static void on_event(struct rotation_watch *watch, json_t *event, bool is_last)
{
	struct rotating *rotating = container_of(watch, struct rotating, watch);
	struct operator_job *job = rotating->job;
	json_t *told = json_deep_copy(event);

	(void)json_object_set_new(told, "rotation", json_string(rotating->id));
	if (!is_last && job->exchange) {
		(void)varlink_continue(job->exchange, told);
		return;
	}
	/* Over, or whoever wanted to know has left: the rotation goes on without him. */
	rotation_unwatch(watch);
	job->reply = told;
	job_finish(job);
}

static void done_rotate(struct operator_job *job)
{
	struct rotating *rotating = job->extra;
	const struct rotation_options options = {
		.actor = json_object_get(job->record, "actor"),
		.canary = (unsigned)job_optional_number(job, "canary", 0),
		.has_apply = job_flag(job, "apply"),
	};
	const struct rotation_target *target;
	struct rotation *rotation;
	json_t *begun;
	int containers = 0;

	if (job->error)
		return;
	if (rotation_begin(&job->broker->rotations, rotating->id, rotating->changes,
		    rotating->count, &options, &rotation) < 0) {
		job_fail(job, OPERATOR_ERROR("Failed"),
			"the values have changed, and there is no memory to bring them to the "
			"containers: restart Mayfly, it goes on then");
		return;
	}
	TAILQ_FOREACH(target, &rotation->targets, entry)
	containers++;
	begun = json_pack("{s:s, s:s, s:o, s:i}", "event", "begun", "rotation", rotating->id,
		"secrets", rotation_changes_to_json(rotating->changes, rotating->count),
		"containers", containers);
	if (!job->wants_more) {
		job->reply = begun;
		return;
	}
	if (job->exchange)
		(void)varlink_continue(job->exchange, begun);
	else
		json_decref(begun);
	/* What has changed may be waited for; the job itself ends with the rotation. */
	broker_wake(job->broker);
	json_decref(job->record);
	job->record = NULL;
	job->is_continued = true;
	rotation_watch(rotation, &rotating->watch);
}

static bool read_names(struct operator_job *job, struct rotating *rotating, json_t *ret_secrets)
{
	json_t *names = json_object_get(job->parameters, "names"), *name;
	char text[MAYFLY_REFERENCE_MAX + 2];
	size_t i;

	if (json_array_size(names) < 1 || json_array_size(names) > ROTATION_CHANGES_MAX) {
		job_fail(job, OPERATOR_ERROR("Invalid"), "a rotation has 1 to %d names",
			ROTATION_CHANGES_MAX);
		return false;
	}
	json_array_foreach (names, i, name) {
		struct mayfly_error err;

		if (!json_is_string(name) || secret_reference_parse(json_string_value(name),
						     &job->reference, &err) < 0) {
			job_fail(job, OPERATOR_ERROR("Invalid"), "%s",
				json_is_string(name) ? err.text : "a name is a string");
			return false;
		}
		for (size_t k = 0; k < i; k++)
			if (memcmp(&rotating->changes[k].reference, &job->reference,
				    sizeof job->reference) == 0) {
				job_fail(job, OPERATOR_ERROR("Invalid"), "%s is named twice",
					name_of(job, text));
				return false;
			}
		if (!job_knows_set(job, job->reference.set) ||
			!job_is_of_store(job, job->reference.set))
			return false;
		rotating->changes[rotating->count++].reference = job->reference;
		(void)json_array_append_new(
			ret_secrets, json_pack("{s:s, s:s}", "set", job->reference.set, "name",
					     job->reference.name));
	}
	return true;
}

void on_rotate(struct operator_job *job)
{
	struct rotating *rotating = calloc(1, sizeof *rotating);
	json_t *secrets = json_array();

	job->extra = rotating;
	job->run = run_rotate;
	job->done = done_rotate;
	if (!rotating || !secrets) {
		job_fail(job, OPERATOR_ERROR("Failed"), "out of memory");
	} else if (read_names(job, rotating, secrets)) {
		rotating->job = job;
		rotating->watch.on_event = on_event;
		rotating->watch.runs_apply = job_flag(job, "apply") && job->wants_more;
		rotation_make_id(rotating->id);
		job->record = job_record(job, "rotate");
		(void)json_object_set(job->record, "secrets", secrets);
		(void)json_object_set_new(job->record, "rotation", json_string(rotating->id));
	}
	json_decref(secrets);
	if (job->error)
		job_finish(job);
	else
		job_start(job);
}

void on_confirm_rollback(struct operator_job *job)
{
	const char *id;
	struct rotation *rotation;

	if (!job_text(job, "rotation", &id)) {
		job_finish(job);
		return;
	}
	rotation = rotation_find(&job->broker->rotations, id);
	if (!rotation)
		job_fail(job, OPERATOR_ERROR("NotFound"), "no rotation %s is under way", id);
	else
		rotation_confirm_back(rotation);
	job_finish(job);
}
