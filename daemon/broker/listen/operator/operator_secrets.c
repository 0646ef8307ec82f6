/* Secrets: put, generate, list, show, history, verify, reveal, remove, undelete, keep. */
#include "daemon/broker/listen/operator/operator_socket.h"

#include "daemon/broker/provider/set_search.h"
#include "daemon/broker/vault/vault_write.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GENERATED_LENGTH     32
#define GENERATED_MAX_LENGTH 4096
#define LIST_CHUNK	     200
#define HISTORY_MAX	     MAYFLY_VERSIONS_KEPT_MAX
#define NEAREST_AMONG	     20000 /* names: comparing more would take too long for a hint */

static const char letters_and_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/* The secret of the set that was probably meant, as SET/NAME; false when none is near. */
static bool find_nearest(const struct operator_job *job, char nearest[MAYFLY_REFERENCE_MAX + 1])
{
	const char *set = job->reference.set, *found = NULL;
	AUTO_FREE struct secret_info *list = NULL;
	AUTO_FREE const char **names = NULL;
	size_t count = 0, live = 0;

	if (store_list(job->broker->store, set, &list, &count, NULL) < 0 || count > NEAREST_AMONG)
		return false;
	names = calloc(count + 1, sizeof *names);
	for (size_t i = 0; names && i < count; i++)
		if (list[i].removed_unix_s == 0 && list[i].versions > 0)
			names[live++] = list[i].name;
	found = names ? nearest_word(job->reference.name, names, live) : NULL;
	return found && snprintf(nearest, MAYFLY_REFERENCE_MAX + 1, "%s/%s", set, found) > 0;
}

static void fail_secret(struct operator_job *job, int code, const struct mayfly_error *err)
{
	char nearest[MAYFLY_REFERENCE_MAX + 1];

	if (code == -ENOENT && find_nearest(job, nearest))
		job_fail_nearest(job, OPERATOR_ERROR("NotFound"), nearest, "%s", err->text);
	else
		job_fail_store(job, code, err);
}

static const char *outcome_name(enum put_outcome outcome)
{
	switch (outcome) {
	case PUT_CREATED:
		return "created";
	case PUT_STAGED:
		return "staged";
	case PUT_UNCHANGED:
	case PUT_INVALID:
		break;
	}
	return "unchanged";
}

static bool put(struct operator_job *job, enum put_outcome *ret_outcome, uint32_t *ret_version)
{
	struct mayfly_error err;
	const int r = store_put(job->broker->store, &job->reference, &job->input,
		job_flag(job, "stage"), ret_outcome, ret_version, &err);

	if (r < 0)
		job_fail_store(job, r, &err);
	return r == 0;
}

/* ---- Sets of provider `vault`: written through. ---- */

struct server_write {
	struct vault_write write;
	struct operator_job *job;
	bool is_generated;
};

static struct vault_backend *backend_of(const struct operator_job *job)
{
	return vault_sets_find(&job->broker->vaults, job->reference.set);
}

static void on_written(void *context, int status, enum put_outcome outcome, uint32_t version,
	const struct mayfly_error *err)
{
	struct server_write *written = context;
	struct operator_job *job = written->job;
	struct mayfly_error refusal;

	if (status == 0) {
		job->reply = json_pack("{s:I}", "version", (json_int_t)version);
		if (!written->is_generated)
			(void)json_object_set_new(
				job->reply, "outcome", json_string(outcome_name(outcome)));
	} else {
		refusal = *err;
		(void)error_within(&refusal, "%s/%s", job->reference.set, job->reference.name);
		job_fail(job,
			status == -EEXIST			 ? OPERATOR_ERROR("Exists")
			: status == -EACCES			 ? OPERATOR_ERROR("Forbidden")
			: status == -EINVAL || status == -EILSEQ ? OPERATOR_ERROR("Invalid")
								 : OPERATOR_ERROR("Failed"),
			"%s", refusal.text);
	}
	job_finish(job);
}

/* After RUN, on the loop: JOB's input goes to the server. */
static void write_through(struct operator_job *job)
{
	struct server_write *written;
	struct mayfly_error err;

	if (job->error)
		return;
	written = calloc(1, sizeof *written);
	if (!written || !backend_of(job)) {
		free(written);
		job_fail(job, OPERATOR_ERROR("Failed"), "set %s cannot be asked just now",
			job->reference.set);
		return;
	}
	job->extra = written;
	written->job = job;
	written->is_generated =
		strcmp(json_string_value(json_object_get(job->record, "action")), "generate") == 0;
	written->write = (struct vault_write){ .value = &job->input,
		.stage = job_flag(job, "stage"),
		.context = written,
		.on_written = on_written };
	if (vault_write_start(&written->write, backend_of(job), job->reference.name, &err) < 0)
		job_fail(job, OPERATOR_ERROR("Invalid"), "%s", err.text);
	else
		job->is_continued = true;
}

static void run_nothing(struct operator_job *job)
{
	(void)job;
}

/* Methods that only need the reference, and RUN. ACTION NULL: nothing is recorded. */
static void start_with_reference(
	struct operator_job *job, const char *action, void (*run)(struct operator_job *))
{
	job->run = run;
	if (!job_reference(job) || !job_is_of_store(job, job->reference.set)) {
		job_finish(job);
		return;
	}
	if (action)
		job->record = job_secret_record(job, action);
	job_start(job);
}

static void run_put(struct operator_job *job)
{
	enum put_outcome outcome;
	uint32_t version;

	if (put(job, &outcome, &version))
		job->reply = json_pack("{s:s, s:I}", "outcome", outcome_name(outcome), "version",
			(json_int_t)version);
}

void on_put(struct operator_job *job)
{
	job->run = run_put;
	if (!job_reference(job) ||
		!job_secret(job, "value_fd", MAYFLY_VALUE_MAX_BYTES, &job->input)) {
		job_finish(job);
		return;
	}
	if (job->input.length == 0) {
		job_fail(job, OPERATOR_ERROR("Invalid"), "a value has at least one byte");
		job_finish(job);
		return;
	}
	job->record = job_secret_record(job, "put");
	if (config_set_of_server(job->broker->config, job->reference.set)) {
		job->run = run_nothing;
		job->done = write_through;
	}
	job_start(job);
}

/* Each character with the same probability; randombytes_uniform() has no modulo bias. */
static void fill_random(struct secret *value, const char *charset)
{
	const uint32_t count = (uint32_t)strlen(charset);

	for (size_t i = 0; i < value->length; i++)
		value->bytes[i] = (unsigned char)charset[randombytes_uniform(count)];
}

bool job_generate(struct operator_job *job)
{
	const json_int_t bytes = job_optional_number(job, "bytes", 0);
	const json_int_t length =
		bytes ? bytes : job_optional_number(job, "length", GENERATED_LENGTH);
	const char *charset = job_optional_text(job, "charset");
	struct mayfly_error err;

	if (length < 1 || length > GENERATED_MAX_LENGTH || (charset && strlen(charset) < 2)) {
		job_fail(job, OPERATOR_ERROR("Invalid"),
			"1 to %d characters or bytes, of a charset of at least two characters",
			GENERATED_MAX_LENGTH);
		return false;
	}
	if (secret_new(job->broker->arena, (size_t)length, &job->input, &err) < 0) {
		job_fail(job, OPERATOR_ERROR("Failed"), "%s", err.text);
		return false;
	}
	if (bytes)
		randombytes_buf(job->input.bytes, job->input.length);
	else
		fill_random(&job->input, charset ? charset : letters_and_digits);
	return true;
}

static void run_generate(struct operator_job *job)
{
	enum put_outcome outcome;
	uint32_t version;

	if (job_generate(job) && put(job, &outcome, &version))
		job->reply = json_pack("{s:I}", "version", (json_int_t)version);
}

static void run_generate_only(struct operator_job *job)
{
	(void)job_generate(job);
}

void on_generate(struct operator_job *job)
{
	job->run = run_generate;
	if (!job_reference(job)) {
		job_finish(job);
		return;
	}
	if (config_set_of_server(job->broker->config, job->reference.set)) {
		job->run = run_generate_only;
		job->done = write_through;
	}
	job->record = job_secret_record(job, "generate");
	job_start(job);
}

static json_t *secret_to_json(const char *set, const struct secret_info *info)
{
	char changed[32], removed[32];

	time_text(changed, info->changed_unix_s);
	time_text(removed, info->removed_unix_s);
	return json_pack("{s:s++, s:I, s:I, s:s, s:s*}", "name", set, "/", info->name, "current",
		(json_int_t)info->current, "versions", (json_int_t)info->versions, "changed",
		changed, "removed", info->removed_unix_s ? removed : NULL);
}

static int add_set(
	struct operator_job *job, const char *set, json_t *found, struct mayfly_error *err)
{
	const char *prefix = job_optional_text(job, "prefix");
	struct secret_info *list = NULL;
	size_t count = 0;
	const int r = store_list(job->broker->store, set, &list, &count, err);

	for (size_t i = 0; i < count; i++)
		if ((!prefix || strncmp(list[i].name, prefix, strlen(prefix)) == 0) &&
			(list[i].removed_unix_s != 0) == job_flag(job, "removed"))
			(void)json_array_append_new(found, secret_to_json(set, &list[i]));
	free(list);
	return r;
}

static void run_list(struct operator_job *job)
{
	const struct set_search *sets = job->extra;
	json_t *found = json_array();
	struct mayfly_error err;
	int r = 0;

	for (size_t i = 0; i < sets->count && r == 0; i++)
		r = add_set(job, sets->names[i], found, &err);
	job->reply = json_pack("{s:o}", "secrets", found);
	if (r < 0)
		job_fail_store(job, r, &err);
}

/* A long list in several replies: a message has 256 KiB at most. */
static void done_list(struct operator_job *job)
{
	json_t *all = json_object_get(job->reply, "secrets"), *part, *secret;
	size_t i;

	if (job->error || !job->wants_more || json_array_size(all) <= LIST_CHUNK)
		return;
	part = json_array();
	json_array_foreach (all, i, secret) {
		(void)json_array_append(part, secret);
		if (json_array_size(part) == LIST_CHUNK && i + 1 < json_array_size(all)) {
			if (!job->exchange || !varlink_continue(job->exchange,
						      json_pack("{s:o}", "secrets", part)))
				return;
			part = json_array();
		}
	}
	(void)json_object_set_new(job->reply, "secrets", part);
}

void on_list(struct operator_job *job)
{
	const char *set = job_optional_text(job, "set");
	struct set_search *sets = calloc(1, sizeof *sets);

	job->run = run_list;
	job->done = done_list;
	job->extra = sets;
	if (!sets) {
		job_fail(job, OPERATOR_ERROR("Failed"), "out of memory");
		job_finish(job);
	} else if (set && (!job_knows_set(job, set) || !job_is_of_store(job, set))) {
		job_finish(job);
	} else {
		if (set) {
			(void)snprintf(sets->names[0], sizeof sets->names[0], "%s", set);
			sets->count = 1;
		} else {
			set_search_make_all(job->broker->config, sets);
		}
		job_start(job);
	}
}

static bool is_text(const struct secret *value)
{
	for (size_t i = 0; i < value->length; i++)
		if (value->bytes[i] == 0 ||
			(value->bytes[i] < 32 && !strchr("\t\n\r\f\v\033", value->bytes[i])))
			return false;
	return true;
}

static void describe_value(json_t *reply, const struct secret *value)
{
	size_t lines = 0;
	const bool final_newline = value->length > 0 && value->bytes[value->length - 1] == '\n';

	for (size_t i = 0; i < value->length; i++)
		lines += value->bytes[i] == '\n';
	if (value->length > 0 && !final_newline)
		lines++;
	(void)json_object_set_new(reply, "bytes", json_integer((json_int_t)value->length));
	(void)json_object_set_new(reply, "lines", json_integer((json_int_t)lines));
	(void)json_object_set_new(reply, "final_newline", json_boolean(final_newline));
	(void)json_object_set_new(reply, "is_text", json_boolean(is_text(value)));
}

/* The name is missing where it was looked for first; that it is not inherited comes second. */
static void fail_show(struct operator_job *job, const struct set_search *search, int code,
	const struct mayfly_error *err)
{
	struct mayfly_error missing;

	if (code != -ENOENT) {
		job_fail_store(job, code, err);
		return;
	}
	(void)snprintf(job->reference.set, sizeof job->reference.set, "%s", search->names[0]);
	(void)error_set(&missing, code, "there is no secret %s/%s%s", job->reference.set,
		job->reference.name,
		search->count > 1 ? ", and none of that name in what the set inherits" : "");
	fail_secret(job, code, &missing);
}

/* In the set itself, or in what it inherits. */
static void run_show(struct operator_job *job)
{
	const struct set_search *search = job->extra;
	struct secret_info info;
	struct mayfly_error err;
	AUTO_SECRET value = { 0 };
	int r = -ENOENT;

	for (size_t i = 0; i < search->count && r == -ENOENT; i++) {
		(void)snprintf(
			job->reference.set, sizeof job->reference.set, "%s", search->names[i]);
		r = store_info(job->broker->store, &job->reference, &info, &err);
	}
	/* A removed one has no value to look at. */
	if (r == 0 && info.removed_unix_s == 0)
		r = store_get(
			job->broker->store, &job->reference, VERSION_CURRENT, &value, NULL, &err);
	if (r < 0) {
		fail_show(job, search, r, &err);
		return;
	}
	job->reply =
		json_pack("{s:o, s:s, s:I}", "secret", secret_to_json(job->reference.set, &info),
			"found_in", job->reference.set, "keep", (json_int_t)info.keep);
	describe_value(job->reply, &value);
}

void on_show(struct operator_job *job)
{
	struct set_search *search = calloc(1, sizeof *search);

	job->run = run_show;
	job->extra = search;
	if (!search) {
		job_fail(job, OPERATOR_ERROR("Failed"), "out of memory");
		job_finish(job);
	} else if (job_reference(job) && job_is_of_store(job, job->reference.set) &&
		   set_search_make(job->broker->config, job->reference.set, search) == 0) {
		job_start(job);
	} else {
		job_finish(job);
	}
}

static void run_history(struct operator_job *job)
{
	struct version_info versions[HISTORY_MAX];
	struct secret_info info = { 0 };
	json_t *array = json_array();
	bool has_current = false, has_previous = false;
	struct mayfly_error err;
	size_t count = 0;
	int r = store_info(job->broker->store, &job->reference, &info, &err);

	if (r == 0)
		r = store_history(
			job->broker->store, &job->reference, versions, HISTORY_MAX, &count, &err);
	for (size_t i = 0; i < count; i++) {
		const bool is_current = versions[i].number == info.current;
		const bool is_prepared = versions[i].number == info.prepared;
		const bool is_previous = has_current && !is_prepared && !has_previous;
		char created[32];

		has_current |= is_current;
		has_previous |= is_previous;
		time_text(created, versions[i].created_unix_s);
		(void)json_array_append_new(
			array, json_pack("{s:I, s:s, s:s, s:I}", "number",
				       (json_int_t)versions[i].number, "state",
				       is_current    ? "current"
				       : is_prepared ? "prepared"
				       : is_previous ? "previous"
						     : "kept",
				       "created", created, "bytes", (json_int_t)versions[i].bytes));
	}
	job->reply = json_pack("{s:o}", "versions", array);
	if (r < 0)
		fail_secret(job, r, &err);
}

void on_history(struct operator_job *job)
{
	start_with_reference(job, NULL, run_history);
}

static uint32_t wanted_version(const struct operator_job *job)
{
	const json_int_t number = job_optional_number(job, "version", 0);

	return number > 0 && number < VERSION_PREVIOUS ? (uint32_t)number : VERSION_CURRENT;
}

static void run_verify(struct operator_job *job)
{
	AUTO_SECRET stored = { 0 };
	struct mayfly_error err;
	uint32_t version = 0;
	const int r = store_get(
		job->broker->store, &job->reference, wanted_version(job), &stored, &version, &err);

	if (r < 0)
		fail_secret(job, r, &err);
	else
		job->reply = json_pack("{s:b, s:I}", "same", secret_equal(&stored, &job->input),
			"version", (json_int_t)version);
}

/* Recorded: it tells whether a guess is right. */
void on_verify(struct operator_job *job)
{
	job->run = run_verify;
	if (!job_reference(job) ||
		!job_secret(job, "value_fd", MAYFLY_VALUE_MAX_BYTES, &job->input)) {
		job_finish(job);
		return;
	}
	job->record = job_secret_record(job, "verify");
	job_start(job);
}

static void run_reveal(struct operator_job *job)
{
	AUTO_SECRET value = { 0 };
	struct mayfly_error err;
	uint32_t version = 0;
	const int r = store_get(
		job->broker->store, &job->reference, wanted_version(job), &value, &version, &err);

	if (r < 0)
		fail_secret(job, r, &err);
	else if (job_give(job, "into_fd", &value))
		job->reply = json_pack("{s:I}", "version", (json_int_t)version);
}

void on_reveal(struct operator_job *job)
{
	if (!job->broker->config->allow_reveal) {
		job_fail(job, OPERATOR_ERROR("Forbidden"),
			"values are not printed: \"allow_reveal\" is not set in "
			"/etc/mayfly/mayflyd.json; `mayfly verify` "
			"compares one");
		job_finish(job);
		return;
	}
	start_with_reference(job, "reveal", run_reveal);
}

static void run_remove(struct operator_job *job)
{
	struct mayfly_error err;
	uint32_t versions = 0;
	const int r = store_remove(
		job->broker->store, &job->reference, job_flag(job, "purge"), &versions, &err);

	if (r < 0)
		fail_secret(job, r, &err);
	else
		job->reply = json_pack("{s:I}", "versions", (json_int_t)versions);
}

void on_remove(struct operator_job *job)
{
	start_with_reference(job, job_flag(job, "purge") ? "purge" : "remove", run_remove);
}

static void run_undelete(struct operator_job *job)
{
	struct mayfly_error err;
	uint32_t version = 0;
	const int r = store_undelete(job->broker->store, &job->reference, &version, &err);

	if (r < 0)
		fail_secret(job, r, &err);
	else
		job->reply = json_pack("{s:I}", "version", (json_int_t)version);
}

void on_undelete(struct operator_job *job)
{
	start_with_reference(job, "undelete", run_undelete);
}

static void run_keep(struct operator_job *job)
{
	const json_int_t keep = job_optional_number(job, "versions", 0);
	struct mayfly_error err;
	uint32_t destroyed = 0;
	int r;

	if (keep < 1 || keep > MAYFLY_VERSIONS_KEPT_MAX) {
		job_fail(job, OPERATOR_ERROR("Invalid"), "1 to %d versions are kept",
			MAYFLY_VERSIONS_KEPT_MAX);
		return;
	}
	r = store_keep(job->broker->store, &job->reference, (uint32_t)keep, &destroyed, &err);
	if (r < 0)
		fail_secret(job, r, &err);
	else
		job->reply = json_pack("{s:I}", "destroyed", (json_int_t)destroyed);
}

void on_keep(struct operator_job *job)
{
	start_with_reference(job, "keep", run_keep);
}
