/* The store as a whole: init, backup, restore, unlock, lock; its keys: slots, rotation. */
#include "daemon/broker/listen/operator/operator_socket.h"

#include "daemon/broker/backup/backup.h"
#include "daemon/broker/request/upkeep.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SLOTS_MAX 16

static enum slot_kind kind_of(const char *text)
{
	if (strcmp(text, "host_key") == 0)
		return SLOT_HOST_KEY;
	if (strcmp(text, "passphrase") == 0)
		return SLOT_PASSPHRASE;
	return strcmp(text, "recovery") == 0 ? SLOT_RECOVERY : SLOT_INVALID;
}

static const char *kind_name(enum slot_kind kind)
{
	switch (kind) {
	case SLOT_HOST_KEY:
		return "host_key";
	case SLOT_PASSPHRASE:
		return "passphrase";
	case SLOT_RECOVERY:
	case SLOT_INVALID:
		break;
	}
	return "recovery";
}

static json_t *slot_to_json(const struct slot_info *slot)
{
	char created[32];

	time_text(created, slot->created_unix_s);
	return json_pack("{s:I, s:s, s:s}", "id", (json_int_t)slot->id, "kind",
		kind_name(slot->kind), "created", created);
}

/* Reads the host key file, which is open since the start or since the supervisor made it. */
static bool read_host_key(struct operator_job *job, struct secret *ret_key)
{
	struct mayfly_error err;

	if (job->broker->host_key < 0 ||
		secret_new(job->broker->arena, HOST_KEY_BYTES, ret_key, &err) < 0 ||
		pread(job->broker->host_key, ret_key->bytes, HOST_KEY_BYTES, 0) != HOST_KEY_BYTES) {
		job_fail(job, OPERATOR_ERROR("Failed"),
			"there is no host key file, or it cannot be read");
		return false;
	}
	return true;
}

static void run_init(struct operator_job *job)
{
	struct broker *broker = job->broker;
	AUTO_SECRET audit_key = { 0 };
	AUTO_SECRET recovery = { 0 };
	AUTO_SECRET host_key = { 0 };
	struct mayfly_error err;
	struct store_init_args args = { .audit_key = &audit_key };
	int r;

	if (job->input.length > 0)
		args.passphrase = &job->input;
	else if (read_host_key(job, &host_key))
		args.host_key = &host_key;
	else
		return;
	r = audit_first_key(broker->audit, &audit_key, &err);
	if (r == 0)
		r = store_init(broker->store, &args, &recovery, &err);
	if (r == 0)
		r = audit_first_key_sealed(broker->audit, &err);
	if (r == -EEXIST)
		job_fail(job, OPERATOR_ERROR("AlreadyInitialised"), "%s", err.text);
	else if (r < 0)
		job_fail_store(job, r, &err);
	else
		(void)job_give(job, "recovery_fd", &recovery);
}

static void done_waking(struct operator_job *job)
{
	upkeep_start(job->broker);
	broker_wake(job->broker);
}

static void on_host_key(void *data, int status)
{
	struct operator_job *job = data;

	if (status < 0) {
		job_fail(job, OPERATOR_ERROR("Failed"), "make /etc/mayfly/host.key: %s",
			strerrordesc_np(-status));
		job_finish(job);
		return;
	}
	job_start(job);
}

void on_init(struct operator_job *job)
{
	const char *unlock;

	job->run = run_init;
	job->done = done_waking;
	job->record = job_record(job, "init");
	if (!job_text(job, "unlock", &unlock) || job_descriptor(job, "recovery_fd", false) < 0) {
		job_finish(job);
	} else if (store_state(job->broker->store, NULL) != STORE_UNINITIALISED) {
		job_fail(job, OPERATOR_ERROR("AlreadyInitialised"), "there is a store already");
		job_finish(job);
	} else if (!job->broker->config->environment) {
		job_fail(job, OPERATOR_ERROR("Invalid"),
			"the configuration names no environment; run `mayfly init --environment "
			"SET`");
		job_finish(job);
	} else if (kind_of(unlock) == SLOT_PASSPHRASE) {
		if (job_secret(job, "passphrase_fd", MAYFLY_PASSPHRASE_MAX_BYTES, &job->input))
			job_start(job);
		else
			job_finish(job);
	} else if (kind_of(unlock) == SLOT_HOST_KEY) {
		/* Only the supervisor can write below /etc. */
		broker_want_host_key(job->broker, on_host_key, job);
	} else {
		job_fail(job, OPERATOR_ERROR("Invalid"), "unlock by host_key or passphrase");
		job_finish(job);
	}
}

/* What restoring tells the audit and the caller. */
struct restored {
	struct backup_info info;
	struct backup_counts counts;
};

static void run_restore(struct operator_job *job)
{
	struct broker *broker = job->broker;
	struct restored *restored = job->extra;
	AUTO_SECRET audit_key = { 0 };
	AUTO_SECRET host_key = { 0 };
	struct mayfly_error err;
	struct restore_wish wish = { .recovery_text = &job->input, .audit_key = &audit_key };
	int r;

	if (job->second_input.length > 0)
		wish.passphrase = &job->second_input;
	else if (read_host_key(job, &host_key))
		wish.host_key = &host_key;
	else
		return;
	r = audit_first_key(broker->audit, &audit_key, &err);
	if (r == 0)
		r = backup_restore(broker->store, broker->arena,
			job_descriptor(job, "file_fd", false), &wish, &restored->info,
			&restored->counts, &err);
	if (r == 0)
		r = audit_first_key_sealed(broker->audit, &err);
	if (r == -EEXIST)
		job_fail(job, OPERATOR_ERROR("AlreadyInitialised"), "%s", err.text);
	else if (r < 0)
		job_fail_store(job, r, &err);
}

static void done_restore(struct operator_job *job)
{
	struct restored *restored = job->extra;
	const struct backup_info *info = &restored->info;
	char made[32], mac[2 * sizeof info->audit_mac + 1], store[2 * sizeof info->store + 1];
	json_t *record;

	done_waking(job);
	if (job->error)
		return;
	time_text(made, info->made_unix_s);
	(void)sodium_bin2hex(mac, sizeof mac, info->audit_mac, sizeof info->audit_mac);
	(void)sodium_bin2hex(store, sizeof store, info->store, sizeof info->store);
	/* Where the other chain ended: who has its files can prove them against this. */
	record = job_record(job, "restored");
	(void)json_object_update_new(
		record, json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:I}", "decision", "done",
				"from_store", store, "from_host", info->host, "made", made,
				"audit_seq", (json_int_t)info->audit_seq, "audit_mac", mac,
				"secrets", (json_int_t)restored->counts.secrets));
	broker_audit(job->broker, record);
	job->reply = json_pack("{s:I, s:I, s:s, s:s, s:I, s:s}", "secrets",
		(json_int_t)restored->counts.secrets, "versions",
		(json_int_t)restored->counts.versions, "made", made, "host", info->host,
		"audit_seq", (json_int_t)info->audit_seq, "audit_head", mac);
}

void on_restore(struct operator_job *job)
{
	const char *unlock = job_optional_text(job, "unlock");
	const enum slot_kind kind = unlock ? kind_of(unlock) : SLOT_HOST_KEY;

	job->run = run_restore;
	job->done = done_restore;
	job->extra = calloc(1, sizeof(struct restored));
	job->record = job_record(job, "restore");
	if (store_state(job->broker->store, NULL) != STORE_UNINITIALISED)
		job_fail(job, OPERATOR_ERROR("AlreadyInitialised"), "there is a store already");
	else if (kind != SLOT_HOST_KEY && kind != SLOT_PASSPHRASE)
		job_fail(job, OPERATOR_ERROR("Invalid"), "unlock by host_key or passphrase");
	else if (!job->extra)
		job_fail(job, OPERATOR_ERROR("Failed"), "out of memory");
	else if (job_descriptor(job, "file_fd", false) >= 0 &&
		 job_secret(job, "recovery_fd", MAYFLY_PASSPHRASE_MAX_BYTES, &job->input) &&
		 (kind == SLOT_HOST_KEY ||
			 job_secret(job, "passphrase_fd", MAYFLY_PASSPHRASE_MAX_BYTES,
				 &job->second_input))) {
		if (kind == SLOT_HOST_KEY)
			broker_want_host_key(job->broker, on_host_key, job);
		else
			job_start(job);
		return;
	}
	job_finish(job);
}

struct backup_wish {
	unsigned char public_key[BACKUP_KEY_BYTES];
	char environment[MAYFLY_SET_NAME_MAX + 1];
};

static void run_backup(struct operator_job *job)
{
	const struct backup_wish *wish = job->extra;
	MAYFLY_CLEANUP(damaged_names_done) struct damaged_names damaged = { 0 };
	const struct backup_source source = { .root = job->broker->root,
		.environment = wish->environment[0] ? wish->environment : NULL,
		.arena = job->broker->arena,
		.store = job->broker->store,
		.audit = job->broker->audit };
	struct backup_counts counts;
	struct mayfly_error err;
	json_t *names;
	const int r = backup_make(&source, job_descriptor(job, "file_fd", false), wish->public_key,
		&counts, &damaged, &err);

	if (r < 0) {
		job_fail_store(job, r, &err);
		return;
	}
	names = json_array();
	for (size_t i = 0; i < damaged.count; i++)
		(void)json_array_append_new(names, json_string(damaged.names[i]));
	job->reply = json_pack("{s:I, s:I, s:I, s:o}", "files", (json_int_t)counts.files, "secrets",
		(json_int_t)counts.secrets, "versions", (json_int_t)counts.versions, "damaged",
		names);
}

void on_backup(struct operator_job *job)
{
	struct backup_wish *wish = calloc(1, sizeof *wish);
	const char *environment = job->broker->config->environment;
	struct mayfly_error err;
	const char *key;

	job->run = run_backup;
	job->extra = wish;
	job->record = job_record(job, "backup");
	if (!wish || !job_text(job, "key", &key) || job_descriptor(job, "file_fd", false) < 0) {
		if (!wish)
			job_fail(job, OPERATOR_ERROR("Failed"), "out of memory");
		job_finish(job);
		return;
	}
	if (backup_key_read(key, wish->public_key, &err) < 0) {
		job_fail(job, OPERATOR_ERROR("Invalid"), "%s", err.text);
		job_finish(job);
		return;
	}
	/* For whom: a key that nobody knows is seen here. */
	(void)json_object_set_new(job->record, "to", json_string(key));
	(void)snprintf(
		wish->environment, sizeof wish->environment, "%s", environment ? environment : "");
	job_start(job);
}

static bool is_given(const struct operator_job *job, const char *name)
{
	json_t *value = json_object_get(job->parameters, name);

	return value && !json_is_null(value);
}

/* With the key that the caller gives, else with the host key file. */
static enum slot_kind unlock_kind(const struct operator_job *job)
{
	if (is_given(job, "recovery_fd"))
		return SLOT_RECOVERY;
	return is_given(job, "passphrase_fd") ? SLOT_PASSPHRASE : SLOT_HOST_KEY;
}

static void run_unlock(struct operator_job *job)
{
	const enum slot_kind kind = unlock_kind(job);
	struct mayfly_error err;
	int r;

	if (kind == SLOT_HOST_KEY && !read_host_key(job, &job->input))
		return;
	r = store_unlock(job->broker->store, kind, &job->input, &err);
	if (r < 0)
		job_fail_store(job, r, &err);
}

static void done_unlock(struct operator_job *job)
{
	struct broker *broker = job->broker;

	if (job->error)
		return;
	job->reply = json_pack("{s:o}", "waiting", broker_refused_names(broker));
	json_object_clear(broker->refused_while_locked);
	if (unlock_kind(job) == SLOT_HOST_KEY)
		broker_problem(broker, "host key", NULL);
	upkeep_start(broker);
	broker_wake(broker);
}

void on_unlock(struct operator_job *job)
{
	const enum slot_kind kind = unlock_kind(job);

	job->run = run_unlock;
	job->done = done_unlock;
	job->record = job_record(job, "unlock");
	if (kind == SLOT_HOST_KEY ||
		job_secret(job, kind == SLOT_RECOVERY ? "recovery_fd" : "passphrase_fd",
			MAYFLY_PASSPHRASE_MAX_BYTES, &job->input))
		job_start(job);
	else
		job_finish(job);
}

static void run_lock(struct operator_job *job)
{
	store_lock(job->broker->store);
}

static void done_lock(struct operator_job *job)
{
	time_text(job->broker->locked_since, time(NULL));
}

void on_lock(struct operator_job *job)
{
	job->run = run_lock;
	job->done = done_lock;
	job->record = job_record(job, "lock");
	job_start(job);
}

static void run_list_slots(struct operator_job *job)
{
	struct slot_info slots[SLOTS_MAX];
	json_t *array = json_array();
	struct mayfly_error err;
	size_t count = 0;
	const int r = store_slots(job->broker->store, slots, SLOTS_MAX, &count, &err);

	for (size_t i = 0; i < count; i++)
		(void)json_array_append_new(array, slot_to_json(&slots[i]));
	job->reply = json_pack("{s:o}", "slots", array);
	if (r < 0)
		job_fail_store(job, r, &err);
}

void on_list_slots(struct operator_job *job)
{
	job->run = run_list_slots;
	job_start(job);
}

static void run_add_slot(struct operator_job *job)
{
	const enum slot_kind kind = kind_of(job_optional_text(job, "kind"));
	AUTO_SECRET recovery = { 0 };
	AUTO_SECRET host_key = { 0 };
	struct slot_info slot;
	struct mayfly_error err;
	const struct secret *key = kind == SLOT_PASSPHRASE ? &job->input : NULL;
	int r;

	if (kind == SLOT_HOST_KEY) {
		if (!read_host_key(job, &host_key))
			return;
		key = &host_key;
	}
	r = store_slot_add(job->broker->store, kind, key, &recovery, &slot, &err);
	if (r < 0) {
		job_fail_store(job, r, &err);
		return;
	}
	job->reply = json_pack("{s:o}", "slot", slot_to_json(&slot));
	if (kind == SLOT_RECOVERY)
		(void)job_give(job, "recovery_fd", &recovery);
}

static void done_add_host_key(struct operator_job *job)
{
	if (!job->error)
		broker_problem(job->broker, "host key", NULL);
}

void on_add_slot(struct operator_job *job)
{
	const char *kind;

	job->run = run_add_slot;
	job->record = job_record(job, "key add");
	if (!job_text(job, "kind", &kind)) {
		job_finish(job);
		return;
	}
	switch (kind_of(kind)) {
	case SLOT_PASSPHRASE:
		if (job_secret(job, "passphrase_fd", MAYFLY_PASSPHRASE_MAX_BYTES, &job->input))
			job_start(job);
		else
			job_finish(job);
		return;
	case SLOT_HOST_KEY:
		job->done = done_add_host_key;
		broker_want_host_key(job->broker, on_host_key, job);
		return;
	case SLOT_RECOVERY:
		if (job_descriptor(job, "recovery_fd", false) >= 0)
			job_start(job);
		else
			job_finish(job);
		return;
	case SLOT_INVALID:
		break;
	}
	job_fail(job, OPERATOR_ERROR("Invalid"),
		"a key is a host_key, a passphrase or a recovery key");
	job_finish(job);
}

static void run_remove_slot(struct operator_job *job)
{
	struct mayfly_error err;
	const int r =
		store_slot_remove(job->broker->store, job_optional_number(job, "id", -1), &err);

	if (r < 0)
		job_fail_store(job, r, &err);
}

void on_remove_slot(struct operator_job *job)
{
	job->run = run_remove_slot;
	job->record = job_record(job, "key remove");
	job_start(job);
}

static void run_rotate_key(struct operator_job *job)
{
	AUTO_SECRET recovery = { 0 };
	AUTO_SECRET host_key = { 0 };
	struct slot_info slots[SLOTS_MAX];
	struct mayfly_error err;
	uint64_t rewrapped = 0;
	size_t count = 0;
	bool has_host_key = false;
	int r = store_slots(job->broker->store, slots, SLOTS_MAX, &count, &err);

	for (size_t i = 0; i < count; i++)
		has_host_key = has_host_key || slots[i].kind == SLOT_HOST_KEY;
	if (r == 0 && has_host_key && !read_host_key(job, &host_key))
		return;
	if (r == 0)
		r = store_rotate_root_key(job->broker->store, has_host_key ? &host_key : NULL,
			job->input.length > 0 ? &job->input : NULL, &recovery, &rewrapped, &err);
	if (r < 0) {
		job_fail_store(job, r, &err);
		return;
	}
	job->reply = json_pack("{s:I}", "rewrapped", (json_int_t)rewrapped);
	(void)job_give(job, "recovery_fd", &recovery);
}

void on_rotate_key(struct operator_job *job)
{
	job->run = run_rotate_key;
	job->record = job_record(job, "key rotate");
	if (job_descriptor(job, "recovery_fd", false) < 0 ||
		(json_is_integer(json_object_get(job->parameters, "passphrase_fd")) &&
			!job_secret(
				job, "passphrase_fd", MAYFLY_PASSPHRASE_MAX_BYTES, &job->input)))
		job_finish(job);
	else
		job_start(job);
}
