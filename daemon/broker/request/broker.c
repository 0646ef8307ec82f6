#include "daemon/broker/request/broker.h"

#include "daemon/broker/identity/host_process.h"
#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/request/container_request.h"
#include "daemon/broker/request/request_flow.h"
#include "proto/boot_clock.h"
#include "proto/cleanup.h"
#include "proto/fd_passing.h"
#include "proto/log.h"
#include "proto/supervisor_protocol.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STRANGERS_ONE_BY_ONE 16
#define STRANGERS_PAUSE_MS   10000

uint64_t seconds_since_boot(void)
{
	return (uint64_t)(boot_clock_ms() / 1000);
}

void time_text(char text[32], int64_t unix_s)
{
	const time_t seconds = unix_s;
	struct tm parts;

	(void)gmtime_r(&seconds, &parts);
	(void)strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

void broker_locked_text(const struct broker *broker, char *text, size_t size)
{
	/* "2026-11-22T03:12:00Z": the day is known to whoever reads it. */
	const char *since = broker->locked_since;

	if (since[0] && strlen(since) > 16)
		(void)snprintf(text, size, "locked since %.5s; run `mayfly unlock`", since + 11);
	else
		(void)snprintf(text, size, "locked since boot; run `mayfly unlock`");
}

json_t *broker_refused_names(const struct broker *broker)
{
	json_t *names = json_array(), *name;
	const char *id;

	json_object_foreach (broker->refused_while_locked, id, name)
		(void)json_array_append(names, name);
	return names;
}

void broker_wake(struct broker *broker)
{
	/* Not from here: whoever calls may be in the middle of one of them. */
	if (!broker->is_stopping)
		deadline_arm(&broker->waking, 0);
}

static void on_waking(struct deadline *deadline)
{
	struct broker *broker = container_of(deadline, struct broker, waking);

	/* Not before: what comes wrapped is kept in the store. */
	if (store_state(broker->store, NULL) == STORE_UNLOCKED)
		vault_sets_begin(&broker->vaults);
	mount_requests_wake(broker);
	rotations_wake(&broker->rotations);
	container_requests_wake(broker);
}

void broker_init_waking(struct broker *broker)
{
	TAILQ_INIT(&broker->waiting);
	TAILQ_INIT(&broker->waiting_containers);
	TAILQ_INIT(&broker->strangers);
	handle_group_init(&broker->handles, broker->on_handles_empty);
	deadline_init(&broker->waking, broker->loop, &broker->handles, on_waking);
}

const char **broker_set_names(const struct config *config, size_t *ret_count)
{
	const char **names = calloc(config->sets_count + 1, sizeof *names);

	*ret_count = names ? config->sets_count : 0;
	for (size_t i = 0; i < *ret_count; i++)
		names[i] = config->sets[i].name;
	return names;
}

static bool is_same_engine(const struct config_engine *a, const struct config_engine *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->plugin_name, b->plugin_name) == 0 &&
	       strcmp(a->socket, b->socket) == 0 && strcmp(a->exec_root, b->exec_root) == 0;
}

static bool has_port(const struct config *config, uint16_t port)
{
	for (size_t i = 0; i < config->sets_count; i++) {
		const struct config_vault *vault = config->sets[i].vault;

		for (size_t k = 0; vault && k < vault->addresses_count; k++)
			if (vault->ports[k] == port)
				return true;
	}
	return false;
}

/* A sandbox that is entered lets nobody out to another port. */
static bool needs_other_ports(const struct config *born, const struct config *config)
{
	for (size_t i = 0; i < config->sets_count; i++) {
		const struct config_vault *vault = config->sets[i].vault;

		for (size_t k = 0; vault && k < vault->addresses_count; k++)
			if (!has_port(born, vault->ports[k]))
				return true;
	}
	return false;
}

/* What mayflyd and this process were started with and cannot change. */
static void note_restart_needed(
	const struct config *born, const struct config *config, json_t *restart_needed)
{
	bool is_same = config->engines_count == born->engines_count;

	for (size_t i = 0; is_same && i < born->engines_count; i++)
		is_same = is_same_engine(&config->engines[i], &born->engines[i]);
	if (!is_same)
		(void)json_array_append_new(restart_needed, json_string("engines"));
	if (needs_other_ports(born, config))
		(void)json_array_append_new(restart_needed, json_string("sets"));
	if (strcmp(config->user, born->user) != 0)
		(void)json_array_append_new(restart_needed, json_string("user"));
	if (strcmp(config->operator_group, born->operator_group) != 0)
		(void)json_array_append_new(restart_needed, json_string("operator_group"));
}

int broker_files_read(const char *root, const struct policy_text *texts, size_t count,
	struct broker_files *files, struct mayfly_error *err)
{
	AUTO_FREE const char **sets = NULL;
	size_t sets_count;
	int r;

	*files = (struct broker_files){ 0 };
	r = config_load(root, &files->config, &files->complaints, err);
	if (r < 0)
		return r;
	sets = broker_set_names(files->config, &sets_count);
	if (!sets)
		return error_errno(err, -ENOMEM, "read the policy");
	if (count > 0)
		return policy_parse(texts, count, sets, sets_count, &files->policy,
			&files->complaints, &files->notes);
	return policy_load(
		root, sets, sets_count, &files->policy, &files->complaints, &files->notes, err);
}

int broker_files_complete(struct broker_files *files, struct mayfly_error *err)
{
	int r = 0;

	complaints_done(&files->complaints);
	if (!files->config)
		r = config_parse("mayflyd.json", "{}", 2, &files->config, &files->complaints);
	if (r == 0)
		r = policy_parse(
			NULL, 0, NULL, 0, &files->policy, &files->complaints, &files->notes);
	return r < 0 ? error_set(err, r, "make an empty configuration") : 0;
}

void broker_files_done(struct broker_files *files)
{
	config_free(files->config);
	if (files->policy)
		policy_unref(files->policy);
	complaints_done(&files->complaints);
	complaints_done(&files->notes);
	*files = (struct broker_files){ 0 };
}

void broker_problem(struct broker *broker, const char *what, const char *text)
{
	if (text) {
		log_error("%s", text);
		(void)json_object_set_new(broker->problems, what, json_string(text));
	} else {
		(void)json_object_del(broker->problems, what);
	}
}

void broker_files_apply(struct broker *broker, struct broker_files *files, json_t *restart_needed)
{
	broker_problem(broker, "files", NULL);
	broker->files_epoch++;
	if (broker->born && restart_needed)
		note_restart_needed(broker->born, files->config, restart_needed);
	if (broker->config != broker->born)
		config_free(broker->config);
	broker->config = ptr_take(&files->config);
	broker->leases.sources.config = broker->config;
	if (broker->leases.policy)
		policy_unref(broker->leases.policy);
	broker->leases.policy = ptr_take(&files->policy);
	broker_vaults_apply(broker);
}

static void on_vault_alarm(void *context, const char *text)
{
	struct broker *broker = context;

	broker_problem(broker, "vault alarm", text);
	broker_audit(broker, json_pack("{s:s, s:s, s:s}", "action", "login", "decision", "refused",
				     "reason", text));
}

static void on_vault_changed(void *context, const char *set, const char *path, uint32_t version)
{
	struct broker *broker = context;

	rotations_on_remote_change(&broker->rotations, set, path, version);
}

void broker_vaults_init(struct broker *broker, bool may_connect)
{
	broker->vaults = (struct vault_sets){ .loop = broker->loop,
		.arena = broker->arena,
		.keeper = &broker->keeper,
		.store = broker->store,
		.may_connect = may_connect,
		.context = broker,
		.on_alarm = on_vault_alarm,
		.on_changed = on_vault_changed };
	vault_sets_init(&broker->vaults);
	broker->leases.sources.vaults = &broker->vaults;
	broker_vaults_apply(broker);
}

void broker_vaults_apply(struct broker *broker)
{
	struct mayfly_error err;

	/* At the start the files are read first. */
	if (!broker->vaults.loop)
		return;
	broker_problem(broker, "vault",
		vault_sets_apply(&broker->vaults, broker->config, &err) < 0 ? err.text : NULL);
	broker_problem(broker, "vault alarm", NULL);
	rotations_follow(&broker->rotations);
	broker_wake(broker);
}

void broker_audit(struct broker *broker, json_t *record)
{
	lease_append_record(&broker->leases, record);
}

bool broker_caller_is_of_host(struct broker *broker, int socket, const char *which)
{
	const uint64_t now = uv_now(broker->loop);
	char reason[160];

	if (host_process_is_peer(&broker->leases.roots, broker->leases.known, socket))
		return true;
	if (++broker->strangers_refused > STRANGERS_ONE_BY_ONE &&
		now - broker->stranger_told_ms < STRANGERS_PAUSE_MS)
		return false;
	broker->stranger_told_ms = now;
	(void)snprintf(reason, sizeof reason,
		"a call at the %s socket refused: the caller is in a container (%u refused so far)",
		which, broker->strangers_refused);
	log_warning("%s", reason);
	broker_audit(broker, json_pack("{s:s, s:s, s:s}", "action", "call", "decision", "refused",
				     "reason", reason));
	return false;
}

void broker_want_host_key(
	struct broker *broker, void (*on_host_key)(void *data, int status), void *data)
{
	const struct control_record record = { .type = CONTROL_NEED_HOST_KEY };

	/* One at a time: an init and a key add at once are one person's mistake. */
	if (broker->on_host_key) {
		on_host_key(data, -EBUSY);
		return;
	}
	broker->on_host_key = on_host_key;
	broker->on_host_key_data = data;
	/* If the supervisor has gone, so are we in a moment. */
	(void)fd_send(broker->control, &record, sizeof record, NULL, 0);
}

/* A small fact that is written in the background. */
struct fact {
	struct work_item work;
	struct state_db *state;
	char name[128], value[4096];
};

static void run_fact(struct work_item *work)
{
	struct fact *fact = container_of(work, struct fact, work);
	struct mayfly_error err;

	if (state_db_fact_put(fact->state, fact->name, fact->value, &err) < 0)
		log_error("remember %s: %s", fact->name, err.text);
}

static void on_fact(struct work_item *work, bool is_abandoned)
{
	(void)is_abandoned;
	free(container_of(work, struct fact, work));
}

void broker_remember(struct broker *broker, const char *engine, const char *what, const char *value)
{
	struct fact *fact = calloc(1, sizeof *fact);

	if (!fact)
		return;
	fact->work = (struct work_item){ .run = run_fact, .on_done = on_fact };
	fact->state = broker->state;
	(void)snprintf(fact->name, sizeof fact->name, "engine.%s.%s", engine, what);
	(void)snprintf(fact->value, sizeof fact->value, "%s", value);
	serial_queue_add(&broker->leases.savings, &fact->work);
}

void broker_note_engine_process(
	struct broker *broker, const struct broker_engine *engine, pid_t pid)
{
	uint64_t ticks = 0;
	char value[64];

	if (process_start_time(&broker->leases.roots, pid, &ticks) < 0)
		return;
	(void)snprintf(value, sizeof value, "%d %llu", pid, (unsigned long long)ticks);
	broker_remember(broker, engine->name, "process", value);
}
