/* The audit file: read, follow, verify. */
#include "daemon/broker/listen/operator/operator_socket.h"

#include "daemon/broker/loop/deadline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_RECORDS 200
#define FOLLOW_MS     250

/* One reading, or a following that reads again and again. */
struct reading {
	struct operator_job *job;
	struct handle_group handles;
	struct deadline next;
	struct work_item work;
	uint64_t after; /* seq of the last record that was sent */
	json_t *records;
	int status;
	struct mayfly_error err;
};

static void on_reading_empty(struct handle_group *handles)
{
	struct reading *reading = container_of(handles, struct reading, handles);

	json_decref(reading->records);
	free(reading);
}

static struct audit_filter filter_of(const struct operator_job *job)
{
	return (struct audit_filter){
		.since = job_optional_text(job, "since"),
		.until = job_optional_text(job, "until"),
		.secret = job_optional_text(job, "secret"),
		.container = job_optional_text(job, "container"),
		.action = job_optional_text(job, "action"),
		.refused_only = job_flag(job, "refused"),
		.last = (uint64_t)job_optional_number(job, "last", 0),
	};
}

static bool keep_record(json_t *record, void *data)
{
	struct reading *reading = data;

	reading->after = (uint64_t)json_integer_value(json_object_get(record, "seq"));
	return json_array_append(reading->records, record) == 0;
}

static void run(struct work_item *work)
{
	struct reading *reading = container_of(work, struct reading, work);
	struct audit_filter filter = filter_of(reading->job);

	/* Only the first look back is limited. */
	if (reading->after > 0)
		filter.last = 0;
	reading->status = audit_read(reading->job->broker->audit, reading->after, &filter,
		keep_record, reading, &reading->err);
}

static void end(struct reading *reading)
{
	struct operator_job *job = reading->job;

	if (!handle_group_end(&reading->handles))
		return;
	if (reading->status < 0)
		job_fail(job, OPERATOR_ERROR("Failed"), "%s", reading->err.text);
	else
		job->reply = json_pack("{s:O}", "records", reading->records);
	job_finish(job);
	deadline_close(&reading->next);
	handle_group_release(&reading->handles);
}

/* Sends all but the last chunk; with FOLLOW that too. */
static void send_chunks(struct reading *reading, bool follow)
{
	struct operator_job *job = reading->job;
	json_t *part = json_array(), *record;
	size_t i;

	json_array_foreach (reading->records, i, record) {
		(void)json_array_append(part, record);
		if (json_array_size(part) < CHUNK_RECORDS)
			continue;
		if (!job->exchange ||
			!varlink_continue(job->exchange, json_pack("{s:o}", "records", part)))
			return;
		part = json_array();
	}
	if (follow && json_array_size(part) > 0 && job->exchange) {
		(void)varlink_continue(job->exchange, json_pack("{s:o}", "records", part));
		part = json_array();
	}
	json_decref(reading->records);
	reading->records = part;
}

static void on_read(struct work_item *work, bool is_abandoned)
{
	struct reading *reading = container_of(work, struct reading, work);
	struct operator_job *job = reading->job;
	const bool follow = job->wants_more && job_flag(job, "follow");

	(void)is_abandoned;
	if (reading->status == 0 && job->wants_more)
		send_chunks(reading, follow);
	/* A follower that has left, or a stop of ours, ends it. */
	if (reading->status < 0 || !follow || !job->exchange || job->broker->is_stopping)
		end(reading);
	else
		deadline_arm(&reading->next, FOLLOW_MS);
	handle_group_release(&reading->handles);
}

static void read_on(struct reading *reading)
{
	uint64_t seq;
	char mac[65];

	if (!reading->job->exchange || reading->job->broker->is_stopping) {
		end(reading);
		return;
	}
	audit_head(reading->job->broker->audit, &seq, mac);
	if (reading->after > 0 && seq <= reading->after) {
		deadline_arm(&reading->next, FOLLOW_MS);
		return;
	}
	handle_group_hold(&reading->handles);
	reading->work = (struct work_item){ .run = run, .on_done = on_read };
	if (work_queue_start(reading->job->broker->loop, &reading->work, NULL) < 0) {
		handle_group_release(&reading->handles);
		end(reading);
	}
}

static void on_next(struct deadline *deadline)
{
	read_on(container_of(deadline, struct reading, next));
}

void on_read_audit(struct operator_job *job)
{
	struct reading *reading = calloc(1, sizeof *reading);

	if (!reading) {
		job_fail(job, OPERATOR_ERROR("Failed"), "out of memory");
		job_finish(job);
		return;
	}
	reading->job = job;
	reading->records = json_array();
	handle_group_init(&reading->handles, on_reading_empty);
	deadline_init(&reading->next, job->broker->loop, &reading->handles, on_next);
	read_on(reading);
}

static void run_verify_audit(struct operator_job *job)
{
	AUTO_SECRET first_key = { 0 };
	struct audit_report report;
	struct mayfly_error err;
	int r = store_audit_key(job->broker->store, &first_key, &err);

	if (r < 0) {
		job_fail_store(job, r, &err);
		return;
	}
	r = audit_verify(job->broker->audit, &first_key, &report, &err);
	if (r == -EBADMSG)
		job_fail(job, OPERATOR_ERROR("Damaged"), "%s", err.text);
	else if (r < 0)
		job_fail(job, OPERATOR_ERROR("Failed"), "%s", err.text);
	else
		job->reply = json_pack("{s:I, s:s, s:s, s:s}", "records",
			(json_int_t)report.records, "first", report.first_time, "last",
			report.last_time, "head", report.head_mac);
}

void on_verify_audit(struct operator_job *job)
{
	job->run = run_verify_audit;
	job_start(job);
}
