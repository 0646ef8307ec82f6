/* How it stands: status, explain, doctor. */
#include "daemon/broker/listen/operator/operator_socket.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *state_name(enum store_state state)
{
	switch (state) {
	case STORE_UNINITIALISED:
		return "uninitialised";
	case STORE_LOCKED:
		return "locked";
	case STORE_UNLOCKED:
		return "unlocked";
	case STORE_DAMAGED:
		break;
	}
	return "damaged";
}

static const char *engine_state_name(enum engine_state state)
{
	switch (state) {
	case ENGINE_CONNECTED:
		return "connected";
	case ENGINE_WAITING:
		return "waiting";
	case ENGINE_ABSENT:
		break;
	}
	return "absent";
}

static json_t *engines_to_json(const struct broker *broker)
{
	json_t *engines = json_array();

	for (size_t i = 0; i < broker->engines_count; i++) {
		const struct engine_status *status = engine_link_status(broker->leases.engines[i]);

		(void)json_array_append_new(
			engines, json_pack("{s:s, s:s, s:s, s:s, s:s*}", "name",
					 broker->engines[i].name, "kind", "docker", "state",
					 engine_state_name(status->state), "detail", status->detail,
					 "version", status->version[0] ? status->version : NULL));
	}
	return engines;
}

static void count_leases(
	const struct broker *broker, json_int_t *ret_armed, json_int_t *ret_released)
{
	const struct lease *lease;

	*ret_armed = *ret_released = 0;
	TAILQ_FOREACH(lease, &broker->leases.leases, entry)
	{
		*ret_armed += lease->state == LEASE_ARMED || lease->state == LEASE_STARTING;
		*ret_released += lease->state == LEASE_RELEASED;
	}
}

static void run_status(struct operator_job *job)
{
	struct mayfly_error err;
	uint64_t secrets = 0;

	uint64_t own = 0;

	(void)store_count(job->broker->store, NULL, &secrets, &err);
	/* What is kept for sets of provider `vault` is nobody's secret here. */
	(void)store_count(job->broker->store, VAULT_OWN_SET, &own, &err);
	secrets -= own < secrets ? own : secrets;
	(void)json_object_set_new(job->reply, "secrets", json_integer((json_int_t)secrets));
}

void on_status(struct operator_job *job)
{
	const struct broker *broker = job->broker;
	const char *detail = NULL;
	const enum store_state state = store_state(broker->store, &detail);
	json_int_t armed, released;
	char locked[128] = "", head[65];
	json_t *numbers, *problem, *problems = json_array();
	const char *what;
	uint64_t seq;

	if (state == STORE_LOCKED)
		broker_locked_text(broker, locked, sizeof locked);
	json_object_foreach (broker->problems, what, problem) {
		(void)json_array_append(problems, problem);
	}
	count_leases(broker, &armed, &released);
	audit_head(broker->audit, &seq, head);
	job->reply = json_pack("{s:s, s:s, s:s, s:s*, s:o, s:o, s:s, s:o, s:o}", "version",
		MAYFLY_VERSION, "state", state_name(state), "detail", detail ? detail : locked,
		"environment", broker->config->environment, "refused_while_locked",
		broker_refused_names(broker), "engines", engines_to_json(broker), "audit_head",
		head, "problems", problems, "rotations", rotations_describe(&broker->rotations));
	(void)json_object_set_new(job->reply, "backends", vault_sets_status(&broker->vaults));
	numbers = json_pack("{s:I, s:I, s:I, s:I}", "grants",
		(json_int_t)broker->leases.policy->grants_count, "armed", armed, "released",
		released, "audit_records", (json_int_t)seq);
	(void)json_object_update(job->reply, numbers);
	json_decref(numbers);
	job->run = run_status;
	job_start(job);
}

static void run_explain(struct operator_job *job)
{
	const char *container = job_optional_text(job, "container");
	json_t *decision = NULL;
	struct mayfly_error err;
	const int r = state_db_decision(job->broker->state, container, &decision, &err);

	if (r == 0)
		job->reply = json_pack("{s:o}", "decision", decision);
	else if (r == -ENOENT)
		job_fail(job, OPERATOR_ERROR("NotFound"), "%s",
			container ? "no decision about such a container is known: it has not asked "
				    "for a volume of Mayfly, or "
				    "too long ago"
				  : "nothing was refused");
	else
		job_fail(job, OPERATOR_ERROR("Failed"), "%s", err.text);
}

void on_explain(struct operator_job *job)
{
	job->run = run_explain;
	job_start(job);
}

/* One finding of the doctor. ADVICE may be NULL. */
static void check(json_t *checks, const char *name, const char *outcome, const char *advice,
	const char *format, ...) __attribute__((format(printf, 5, 6)));

static void check(json_t *checks, const char *name, const char *outcome, const char *advice,
	const char *format, ...)
{
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	(void)json_array_append_new(
		checks, json_pack("{s:s, s:s, s:s, s:s*}", "name", name, "outcome", outcome, "text",
				text, "advice", advice));
}

static void check_kernel(const struct broker *broker, json_t *checks)
{
	const uint32_t has = broker->leases.mounter_abilities;

	if (has & MOUNTER_HAS_OPEN_GUARD)
		check(checks, "open guard", "ok", NULL,
			"the kernel asks before a file of an armed delivery is opened");
	else
		check(checks, "open guard", "warning",
			"use a kernel with CONFIG_FANOTIFY_ACCESS_PERMISSIONS, or say in the grant "
			"what it accepts: "
			"\"release\"",
			"no fanotify permission events: files come after the start of a container, "
			"or at its mount");
	if (has & MOUNTER_HAS_NOSWAP)
		check(checks, "swap", "ok", NULL, "deliveries are on tmpfs that is never swapped");
	else
		check(checks, "swap", "warning", "turn swap off, or use a kernel of 6.4 or later",
			"this kernel has no tmpfs noswap: with swap on nothing is delivered");
	if (!(has & MOUNTER_HAS_UNIQUE_MOUNT_ID))
		check(checks, "mount ids", "warning",
			"a kernel of 6.8 or later has unique mount ids",
			"mount ids are reused by this kernel; they are compared while their mount "
			"is held");
}

static bool file_says(const char *path, const char *word)
{
	char text[4096];
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	const ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	if (length < 0)
		return false;
	text[length] = '\0';
	return strstr(text, word) != NULL;
}

static void check_host(json_t *checks)
{
	if (file_says("/proc/cmdline", "init_on_free=1"))
		check(checks, "freed memory", "ok", NULL,
			"the kernel zeroes pages when they are freed");
	else
		check(checks, "freed memory", "warning", "boot with init_on_free=1",
			"the kernel does not zero freed pages; deliveries are overwritten before "
			"they are freed, "
			"applications' own copies are not");
}

static void check_engine(const struct broker *broker, size_t i, json_t *checks)
{
	const struct engine_status *status = engine_link_status(broker->leases.engines[i]);
	const char *name = broker->engines[i].name;

	if (status->state != ENGINE_CONNECTED) {
		check(checks, "engine", "warning",
			"start it, or correct \"engines\" in the configuration",
			"engine %s does not answer: %s", name,
			status->detail[0] ? status->detail : "mayfly-engine is being started");
		return;
	}
	check(checks, "engine", "ok", NULL, "engine %s %s, %s, cgroup version %d, in %s", name,
		status->version, status->storage_driver, status->cgroup_version, status->data_root);
	if (status->detail[0])
		check(checks, "engine", "warning", NULL, "engine %s: %s", name, status->detail);
}

static void check_config(const struct broker *broker, json_t *checks)
{
	if (!broker->config->environment)
		check(checks, "environment", "failed", "run `mayfly init --environment SET`",
			"the configuration names no environment: grants without a set are refused");
	else
		check(checks, "environment", "ok", NULL, "%s", broker->config->environment);
	if (broker->leases.policy->grants_count == 0)
		check(checks, "policy", "warning", "run `mayfly allow ...`",
			"there is no grant: nobody gets anything");
	else
		check(checks, "policy", "ok", NULL, "%zu grant%s",
			broker->leases.policy->grants_count,
			broker->leases.policy->grants_count == 1 ? "" : "s");
	if (broker->config->allow_reveal)
		check(checks, "reveal", "warning",
			"remove \"allow_reveal\" when it is not needed any more",
			"operators can print values");
}

static void check_backend(json_t *backend, json_t *checks)
{
	const char *set = json_string_value(json_object_get(backend, "set"));
	const char *state = json_string_value(json_object_get(backend, "state"));
	const char *detail = json_string_value(json_object_get(backend, "detail"));
	json_t *address = json_array_get(json_object_get(backend, "addresses"), 0);
	const char *url = json_string_value(json_object_get(address, "url"));

	if (strcmp(state, "connected") == 0 && !detail[0])
		check(checks, "backend", "ok", NULL, "set %s: %s answers and we are logged in", set,
			url);
	else if (strcmp(state, "waiting") == 0)
		check(checks, "backend", "ok", NULL, "set %s: %s has not been needed yet", set,
			url);
	else
		check(checks, "backend", strcmp(state, "connected") == 0 ? "warning" : "failed",
			"look at the server; `mayfly status` shows when it is well again",
			"set %s: %s: %s%s%s", set, url, state, detail[0] ? ": " : "", detail);
}

static void check_backends(const struct broker *broker, json_t *checks)
{
	json_t *backends = vault_sets_status(&broker->vaults), *backend;
	size_t i;

	json_array_foreach (backends, i, backend) {
		check_backend(backend, checks);
	}
	json_decref(backends);
}

static void check_store_state(struct operator_job *job, json_t *checks)
{
	const char *detail = NULL;
	char locked[128];

	switch (store_state(job->broker->store, &detail)) {
	case STORE_UNINITIALISED:
		check(checks, "store", "failed", "run `mayfly init`", "there is no store yet");
		return;
	case STORE_LOCKED:
		broker_locked_text(job->broker, locked, sizeof locked);
		check(checks, "store", "warning", "run `mayfly unlock`", "%s", locked);
		return;
	case STORE_DAMAGED:
		check(checks, "store", "failed", "restore it from a backup", "%s",
			detail ? detail : "damaged");
		return;
	case STORE_UNLOCKED:
		break;
	}
}

/* Long for a large store: on a thread of the pool. */
static void run_doctor(struct operator_job *job)
{
	json_t *checks = json_object_get(job->reply, "checks");
	struct slot_info slots[16];
	struct mayfly_error err;
	uint64_t records = 0;
	size_t count = 0;

	if (store_state(job->broker->store, NULL) != STORE_UNLOCKED)
		return;
	if (store_verify(job->broker->store, &records, &err) < 0)
		check(checks, "store", "failed", "restore it from a backup", "%s", err.text);
	else
		check(checks, "store", "ok", NULL, "%llu records, every one opens where it stands",
			(unsigned long long)records);
	if (store_slots(job->broker->store, slots, 16, &count, &err) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		if (slots[i].kind == SLOT_HOST_KEY)
			check(checks, "keys", "warning",
				"`mayfly key add passphrase`, then remove the host key, if a human "
				"can be there at boot",
				"unlocked by a key file on this host: it protects a stolen backup, "
				"not a stolen disk");
}

void on_doctor(struct operator_job *job)
{
	const struct broker *broker = job->broker;
	json_t *checks = json_array(), *problem;
	const char *what;
	size_t i;

	check_kernel(broker, checks);
	check_host(checks);
	for (i = 0; i < broker->engines_count; i++)
		check_engine(broker, i, checks);
	check_config(broker, checks);
	check_backends(broker, checks);
	check_store_state(job, checks);
	json_object_foreach (broker->problems, what, problem)
		check(checks, "broker", "failed", NULL, "%s", json_string_value(problem));
	job->reply = json_pack("{s:o}", "checks", checks);
	job->run = run_doctor;
	job_start(job);
}
