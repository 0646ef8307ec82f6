#include "daemon/broker/listen/operator/operator_socket.h"

#include "operator_interface_generated.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A script in a loop must not lock out its owner. */
#define CONNECTIONS_MAX		64
#define CONNECTIONS_PER_UID_MAX 16
#define UNREAD_MAX_BYTES	(16 * 1024 * 1024)

struct operator_socket {
	struct broker *broker;
	struct varlink_server *server;
};

static const struct {
	const char *name;
	operator_method *run;
} methods[] = {
	{ "Init", on_init },
	{ "Backup", on_backup },
	{ "Restore", on_restore },
	{ "Unlock", on_unlock },
	{ "Lock", on_lock },
	{ "ListSlots", on_list_slots },
	{ "AddSlot", on_add_slot },
	{ "RemoveSlot", on_remove_slot },
	{ "RotateKey", on_rotate_key },
	{ "Put", on_put },
	{ "Generate", on_generate },
	{ "List", on_list },
	{ "Show", on_show },
	{ "History", on_history },
	{ "Verify", on_verify },
	{ "Reveal", on_reveal },
	{ "Remove", on_remove },
	{ "Undelete", on_undelete },
	{ "Keep", on_keep },
	{ "Prepare", on_prepare },
	{ "Discard", on_discard },
	{ "ReadPrepared", on_read_prepared },
	{ "Rotate", on_rotate },
	{ "ConfirmRollback", on_confirm_rollback },
	{ "ListSets", on_list_sets },
	{ "Diff", on_diff },
	{ "FillSet", on_fill_set },
	{ "CheckPolicy", on_check_policy },
	{ "ShowPolicy", on_show_policy },
	{ "Reload", on_reload },
	{ "ListLeases", on_list_leases },
	{ "Revoke", on_revoke },
	{ "Status", on_status },
	{ "Explain", on_explain },
	{ "Doctor", on_doctor },
	{ "ReadAudit", on_read_audit },
	{ "VerifyAudit", on_verify_audit },
};

static void job_free(struct operator_job *job)
{
	job->broker->jobs--;
	fd_set_passed_done(&job->fds);
	secret_done(&job->input);
	secret_done(&job->second_input);
	json_decref(job->parameters);
	json_decref(job->record);
	json_decref(job->reply);
	json_decref(job->error_parameters);
	free(job->extra);
	free(job);
}

void job_finish(struct operator_job *job)
{
	struct varlink_exchange *exchange = job->exchange;

	if (exchange && job->error)
		varlink_fail(exchange, job->error, ptr_take(&job->error_parameters));
	else if (exchange)
		varlink_reply(exchange, ptr_take(&job->reply));
	/* What is recorded changes something, and somebody may wait for that: a secret, a grant. */
	if (job->record && !job->error)
		broker_wake(job->broker);
	job_free(job);
}

/* What was begun and went wrong is recorded too; nobody waits for that. */
static void record_failure(struct operator_job *job)
{
	json_t *record = job->record ? json_deep_copy(job->record) : NULL;
	const char *text = json_string_value(json_object_get(job->error_parameters, "text"));

	if (!record)
		return;
	(void)json_object_set_new(record, "decision", json_string("refused"));
	(void)json_object_set_new(record, "reason", json_string(text ? text : job->error));
	broker_audit(job->broker, record);
}

static void run_job(struct work_item *work)
{
	struct operator_job *job = container_of(work, struct operator_job, work);

	job->run(job);
}

static void on_run(struct work_item *work, bool is_abandoned)
{
	struct operator_job *job = container_of(work, struct operator_job, work);

	(void)is_abandoned;
	if (job->error)
		record_failure(job);
	if (job->done)
		job->done(job);
	if (!job->is_continued)
		job_finish(job);
}

static void on_recorded(void *data, int status)
{
	struct operator_job *job = data;

	if (status < 0) {
		job_fail(job, OPERATOR_ERROR("Failed"),
			"the audit record could not be written (%s): nothing was done",
			strerrordesc_np(-status));
		job_finish(job);
		return;
	}
	job->work = (struct work_item){ .run = run_job, .on_done = on_run };
	if (work_queue_start(job->broker->loop, &job->work, NULL) < 0) {
		job_fail(job, OPERATOR_ERROR("Failed"), "the work queue takes nothing more");
		job_finish(job);
	}
}

void job_start(struct operator_job *job)
{
	int r;

	if (!job->record) {
		on_recorded(job, 0);
		return;
	}
	r = audit_queue_append(job->broker->leases.audit, job->record, on_recorded, job, NULL);
	if (r < 0)
		on_recorded(job, r);
}

__attribute__((format(printf, 4, 0))) static void set_error(struct operator_job *job,
	const char *error, const char *nearest, const char *format, va_list arguments)
{
	char text[1024];

	(void)vsnprintf(text, sizeof text, format, arguments);
	json_decref(job->error_parameters);
	job->error = error;
	job->error_parameters = json_pack("{s:s, s:s*}", "text", text, "nearest", nearest);
}

void job_fail(struct operator_job *job, const char *error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	set_error(job, error, NULL, format, arguments);
	va_end(arguments);
}

void job_fail_nearest(
	struct operator_job *job, const char *error, const char *nearest, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	set_error(job, error, nearest, format, arguments);
	va_end(arguments);
}

void job_fail_store(struct operator_job *job, int code, const struct mayfly_error *err)
{
	char locked[128];

	switch (code) {
	case -ENODATA:
		job_fail(job, OPERATOR_ERROR("NotInitialised"),
			"there is no store yet; run `mayfly init`");
		break;
	case -ENOKEY:
		broker_locked_text(job->broker, locked, sizeof locked);
		job_fail(job, OPERATOR_ERROR("Locked"), "%s", locked);
		break;
	case -EKEYREJECTED:
		job_fail(job, OPERATOR_ERROR("WrongKey"), "%s", err->text);
		break;
	case -ENOENT:
		job_fail(job, OPERATOR_ERROR("NotFound"), "%s", err->text);
		break;
	case -EEXIST:
		job_fail(job, OPERATOR_ERROR("Exists"), "%s", err->text);
		break;
	case -EBADMSG:
	case -EUCLEAN:
		job_fail(job, OPERATOR_ERROR("Damaged"), "%s", err->text);
		break;
	case -EINVAL:
	case -EFBIG:
		job_fail(job, OPERATOR_ERROR("Invalid"), "%s", err->text);
		break;
	default:
		job_fail(job, OPERATOR_ERROR("Failed"), "%s", err->text);
	}
}

json_t *complaints_to_json(const struct complaints *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++)
		(void)json_array_append_new(
			array, json_pack("{s:s, s:s, s:s*}", "where", list->items[i].where, "text",
				       list->items[i].text, "nearest", list->items[i].nearest));
	return array;
}

void job_fail_complaints(struct operator_job *job, const struct complaints *complaints)
{
	json_decref(job->error_parameters);
	job->error = OPERATOR_ERROR("PolicyInvalid");
	job->error_parameters = json_pack("{s:o}", "complaints", complaints_to_json(complaints));
}

static void fail_parameter(struct operator_job *job, const char *name)
{
	json_decref(job->error_parameters);
	job->error = VARLINK_ERROR_INVALID_PARAMETER;
	job->error_parameters = json_pack("{s:s}", "parameter", name);
}

bool job_text(struct operator_job *job, const char *name, const char **ret_text)
{
	*ret_text = json_string_value(json_object_get(job->parameters, name));
	if (!*ret_text)
		fail_parameter(job, name);
	return *ret_text != NULL;
}

const char *job_optional_text(const struct operator_job *job, const char *name)
{
	return json_string_value(json_object_get(job->parameters, name));
}

json_int_t job_optional_number(const struct operator_job *job, const char *name, json_int_t absent)
{
	json_t *value = json_object_get(job->parameters, name);

	return json_is_integer(value) ? json_integer_value(value) : absent;
}

bool job_flag(const struct operator_job *job, const char *name)
{
	return json_is_true(json_object_get(job->parameters, name));
}

bool job_knows_set(struct operator_job *job, const char *set)
{
	AUTO_FREE const char **names = NULL;
	char shown[80];
	size_t count;

	if (config_set_find(job->broker->config, set))
		return true;
	names = broker_set_names(job->broker->config, &count);
	job_fail_nearest(job, OPERATOR_ERROR("UnknownSet"),
		names ? nearest_word(set, names, count) : NULL, "there is no set '%s'",
		error_quote(shown, sizeof shown, set, strlen(set)));
	return false;
}

bool job_is_of_store(struct operator_job *job, const char *set)
{
	const struct config_vault *vault = config_set_of_server(job->broker->config, set);

	if (vault)
		job_fail(job, OPERATOR_ERROR("Invalid"),
			"set %s is on %s: look there, below %s/%s; from here its secrets can be "
			"`put` "
			"and `generate`d",
			set, vault->addresses[0], vault->mount, vault->prefix);
	return !vault;
}

bool job_reference(struct operator_job *job)
{
	struct mayfly_error err;
	const char *text;

	if (!job_text(job, "name", &text))
		return false;
	if (secret_reference_parse(text, &job->reference, &err) < 0) {
		job_fail(job, OPERATOR_ERROR("Invalid"), "%s", err.text);
		return false;
	}
	return job_knows_set(job, job->reference.set);
}

int job_descriptor(struct operator_job *job, const char *name, bool is_optional)
{
	json_t *value = json_object_get(job->parameters, name);
	const json_int_t index = json_integer_value(value);

	if (is_optional && (!value || json_is_null(value)))
		return -1;
	if (!json_is_integer(value) || index < 0 || (size_t)index >= job->fds.count) {
		fail_parameter(job, name);
		return -1;
	}
	return job->fds.fds[index];
}

bool job_secret(
	struct operator_job *job, const char *name, size_t max_bytes, struct secret *ret_secret)
{
	const int fd = job_descriptor(job, name, false);
	struct mayfly_error err;

	if (fd < 0)
		return false;
	if (secret_read_memfd(job->broker->arena, fd, max_bytes, ret_secret, &err) < 0) {
		job_fail(job, OPERATOR_ERROR("Invalid"), "%s", err.text);
		return false;
	}
	return true;
}

bool job_give(struct operator_job *job, const char *name, const struct secret *value)
{
	const int fd = job_descriptor(job, name, false);
	size_t done = 0;

	if (fd < 0)
		return false;
	/* Only into memory: never into a file, a pipe or a terminal that somebody else reads. */
	if (fcntl(fd, F_GET_SEALS) < 0) {
		job_fail(job, OPERATOR_ERROR("Invalid"), "a value is given into a memfd only");
		return false;
	}
	while (done < value->length) {
		const ssize_t n =
			pwrite(fd, value->bytes + done, value->length - done, (off_t)done);

		if (n <= 0) {
			job_fail(job, OPERATOR_ERROR("Failed"),
				"write into the passed descriptor: %s",
				strerrordesc_np(n < 0 ? errno : EIO));
			return false;
		}
		done += (size_t)n;
	}
	return true;
}

json_t *job_record(const struct operator_job *job, const char *action)
{
	json_t *actor = json_pack("{s:s, s:I, s:I, s:I}", "kind", "operator", "uid",
		(json_int_t)job->peer.uid, "gid", (json_int_t)job->peer.gid, "pid",
		(json_int_t)job->peer.pid);

	/* Who logged in, behind sudo and su: the kernel's audit login uid. */
	if (job->peer.login_uid != UINT32_MAX)
		(void)json_object_set_new(actor, "login_uid", json_integer(job->peer.login_uid));
	return json_pack(
		"{s:s, s:s, s:o}", "action", action, "decision", "granted", "actor", actor);
}

json_t *job_secret_record(const struct operator_job *job, const char *action)
{
	json_t *record = job_record(job, action);

	(void)json_object_set_new(record, "set", json_string(job->reference.set));
	(void)json_object_set_new(record, "name", json_string(job->reference.name));
	return record;
}

static struct operator_job *job_new(struct operator_socket *socket,
	struct varlink_exchange *exchange, struct varlink_call *call, struct fd_set_passed *fds)
{
	struct operator_job *job = calloc(1, sizeof *job);

	if (!job) {
		varlink_fail(exchange, OPERATOR_ERROR("Failed"),
			json_pack("{s:s}", "text", "out of memory"));
		return NULL;
	}
	job->socket = socket;
	job->broker = socket->broker;
	job->exchange = exchange;
	job->peer = *varlink_exchange_peer(exchange);
	job->parameters = json_incref(call->parameters);
	job->wants_more = call->more;
	job->fds = *fds;
	fds->count = 0;
	socket->broker->jobs++;
	varlink_exchange_set(exchange, job);
	return job;
}

static void on_call(struct varlink_exchange *exchange, struct varlink_call *call,
	struct fd_set_passed *fds, void *data)
{
	const size_t prefix = sizeof OPERATOR_INTERFACE; /* with the dot in place of the NUL */
	struct operator_socket *socket = data;
	struct operator_job *job;

	if (!broker_caller_is_of_host(
		    socket->broker, varlink_exchange_socket(exchange), "operator")) {
		varlink_fail(exchange, OPERATOR_ERROR("Forbidden"),
			json_pack("{s:s}", "text",
				"nobody operates Mayfly from inside a container; call it on the "
				"host"));
		return;
	}
	if (strncmp(call->method, OPERATOR_INTERFACE ".", prefix) != 0) {
		varlink_answer_service(exchange, call, OPERATOR_INTERFACE, operator_interface);
		return;
	}
	for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
		if (strcmp(call->method + prefix, methods[i].name) == 0) {
			job = job_new(data, exchange, call, fds);
			if (job)
				methods[i].run(job);
			return;
		}
	varlink_fail(exchange, VARLINK_ERROR_METHOD_NOT_FOUND,
		json_pack("{s:s}", "method", call->method));
}

/* What was begun is finished; its reply has no reader. */
static void on_gone(struct varlink_exchange *exchange, void *state, void *data)
{
	struct operator_job *job = state;

	(void)exchange;
	(void)data;
	job->exchange = NULL;
}

int operator_socket_serve(struct broker *broker, int fd, struct operator_socket **ret_socket,
	struct mayfly_error *err)
{
	static const struct varlink_limits limits = { .connections = CONNECTIONS_MAX,
		.connections_per_uid = CONNECTIONS_PER_UID_MAX,
		.unread_bytes = UNREAD_MAX_BYTES,
		.descriptors = FD_PASSING_MAX,
		.message_bytes = VARLINK_MESSAGE_MAX_BYTES };
	struct operator_socket *socket = calloc(1, sizeof *socket);
	const struct varlink_handler handler = {
		.on_call = on_call, .on_gone = on_gone, .data = socket
	};
	int r;

	if (!socket)
		return error_errno(err, -ENOMEM, "serve the operator socket");
	socket->broker = broker;
	r = varlink_server_new(broker->loop, fd, &limits, &handler, &socket->server, err);
	if (r < 0) {
		free(socket);
		return r;
	}
	*ret_socket = socket;
	return 0;
}

void operator_socket_close(struct operator_socket *socket)
{
	varlink_server_close(socket->server);
}
