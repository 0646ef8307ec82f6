/* The front for operators: org.mayfly.Operator (proto/org.mayfly.Operator.varlink) on
 * /run/mayfly/operator.sock. The file's mode lets root and the operator group in, nobody else.
 *
 * A method is a row of the table in operator_socket.c. Quick ones reply at once. The others are a
 * job: audit record durable (if it has one) -> run() on the work queue -> done() on the loop ->
 * reply so that nothing is done that is not recorded first. Values come and go by descriptor only.
 */
#pragma once

#include "daemon/broker/loop/work_queue.h"
#include "daemon/broker/request/broker.h"
#include "daemon/broker/wire/varlink_server.h"

#include <jansson.h>

#define OPERATOR_INTERFACE   "org.mayfly.Operator"
#define OPERATOR_ERROR(name) OPERATOR_INTERFACE "." name

struct operator_socket;

int operator_socket_serve(struct broker *broker, int fd, struct operator_socket **ret_socket,
	struct mayfly_error *err);
void operator_socket_close(struct operator_socket *socket);

/* One call under way. */
struct operator_job {
	struct work_item work;
	struct operator_socket *socket;
	struct broker *broker;
	struct varlink_exchange *exchange; /* NULL: the caller has gone */
	struct varlink_peer peer;
	json_t *parameters; /* a reference */
	bool wants_more;
	struct fd_set_passed fds;
	/* what the method prepares */
	struct secret_reference reference;
	struct secret input, second_input; /* values, passphrases; wiped with the job */
	void *extra;			   /* freed with the job */
	json_t *record;			   /* for the audit, before RUN */
	/* RUN: on a pool thread; sets the reply or the error. */
	void (*run)(struct operator_job *job);
	/* DONE: on the loop, before the reply; may be NULL. */
	void (*done)(struct operator_job *job);
	bool is_continued; /* set by DONE: the job goes on and is finished later */
	/* what comes out */
	json_t *reply;
	const char *error; /* NULL: it went well */
	json_t *error_parameters;
};

typedef void operator_method(struct operator_job *job);

/* Starts JOB's RUN, after its record; the job replies and frees itself. The method returns
 * afterwards without touching it. */
void job_start(struct operator_job *job);
/* Replies now with job->reply or job->error, and frees JOB. */
void job_finish(struct operator_job *job);

/* Error setters, for RUN and for methods. */
void job_fail(struct operator_job *job, const char *error, const char *format, ...)
	MAYFLY_PRINTF(3, 4);
void job_fail_nearest(struct operator_job *job, const char *error, const char *nearest,
	const char *format, ...) MAYFLY_PRINTF(4, 5);
/* Translates a result of the store into the interface's errors. */
void job_fail_store(struct operator_job *job, int code, const struct mayfly_error *err);
/* With `complaints`. */
void job_fail_complaints(struct operator_job *job, const struct complaints *complaints);
json_t *complaints_to_json(const struct complaints *list);

/* Parameters. The getters set the job's error and return false when the parameter is missing or of
 * the wrong kind. */
bool job_text(struct operator_job *job, const char *name, const char **ret_text);
/* NULL, 0, false when absent. */
const char *job_optional_text(const struct operator_job *job, const char *name);
json_int_t job_optional_number(const struct operator_job *job, const char *name, json_int_t absent);
bool job_flag(const struct operator_job *job, const char *name);
/* The parameter `name` as a reference to a secret of a known set, in job->reference. */
bool job_reference(struct operator_job *job);
/* False, with an error that says where to look, when SET's secrets lie on a server: what Mayfly does
 * there is put and generate. */
bool job_is_of_store(struct operator_job *job, const char *set);
/* True when CONFIG knows SET; else the error UnknownSet with the nearest name. */
bool job_knows_set(struct operator_job *job, const char *set);
/* The descriptor that NAME gives the index of, -1 (and an error unless OPTIONAL) otherwise. It
 * stays the job's. */
int job_descriptor(struct operator_job *job, const char *name, bool is_optional);
/* Reads the sealed memfd of parameter NAME into *RET_SECRET. */
bool job_secret(
	struct operator_job *job, const char *name, size_t max_bytes, struct secret *ret_secret);
/* Writes VALUE into the caller's empty memfd of parameter NAME. */
bool job_give(struct operator_job *job, const char *name, const struct secret *value);

/* A random value into job->input, by the parameters `length`, `charset` and `bytes`; false with an
 * error. On a pool thread. */
bool job_generate(struct operator_job *job);

/* An audit record of what the caller does: {"action", "decision": "granted", "actor": {...}}. */
json_t *job_record(const struct operator_job *job, const char *action);
/* The same with the set and name of job->reference. */
json_t *job_secret_record(const struct operator_job *job, const char *action);

/* One row for each method; see operator_*.c. */
operator_method on_init, on_backup, on_restore, on_unlock, on_lock, on_list_slots, on_add_slot,
	on_remove_slot, on_rotate_key;
operator_method on_put, on_generate, on_list, on_show, on_history, on_verify, on_reveal, on_remove,
	on_undelete, on_keep;
operator_method on_prepare, on_discard, on_read_prepared, on_rotate, on_confirm_rollback;
operator_method on_list_sets, on_diff, on_fill_set;
operator_method on_check_policy, on_show_policy, on_reload;
operator_method on_list_leases, on_revoke;
operator_method on_status, on_explain, on_doctor;
operator_method on_read_audit, on_verify_audit;
