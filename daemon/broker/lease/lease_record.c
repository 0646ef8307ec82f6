#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/lease/lease_steps.h"

#include "daemon/broker/lease/lease_open.h"
#include "daemon/broker/lease/lease_steps.h"
#include "proto/boot_clock.h"
#include "proto/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* One write to state.db. */
struct saving {
	struct work_item work;
	struct state_db *state;
	char mount_id[DELIVERY_HEX_LENGTH + 1];
	json_t *row; /* NULL: remove it */
	json_t *decision;
	char *container_id, *container_name;
	char *ended; /* the decision only gets an end */
	bool is_refused;
	void (*on_saved)(void *data, int status); /* NULL: nobody waits for it */
	void *data;
	struct mayfly_error err;
	int status;
};

static void run_saving(struct work_item *work)
{
	struct saving *saving = container_of(work, struct saving, work);

	if (saving->ended)
		saving->status = state_db_decision_end(
			saving->state, saving->mount_id, saving->ended, &saving->err);
	else if (saving->decision)
		saving->status = state_db_decision_put(saving->state, saving->mount_id,
			saving->container_id, saving->container_name, saving->is_refused,
			saving->decision, &saving->err);
	else if (saving->row)
		saving->status = state_db_delivery_put(
			saving->state, saving->mount_id, saving->row, &saving->err);
	else
		saving->status =
			state_db_delivery_remove(saving->state, saving->mount_id, &saving->err);
}

static void on_saved(struct work_item *work, bool is_abandoned)
{
	struct saving *saving = container_of(work, struct saving, work);

	(void)is_abandoned;
	/* Without the row a restart wipes instead of adopting; without the decision `explain` knows
	 * less. */
	if (saving->status < 0)
		log_error("write down delivery %.12s: %s", saving->mount_id, saving->err.text);
	if (saving->on_saved)
		saving->on_saved(saving->data, saving->status);
	json_decref(saving->row);
	json_decref(saving->decision);
	free(saving->container_id);
	free(saving->container_name);
	free(saving->ended);
	free(saving);
}

/* KEY: 64 hex digits. */
static struct saving *saving_new(struct lease_context *context, const char *key)
{
	struct saving *saving = calloc(1, sizeof *saving);

	if (!saving)
		return NULL;
	saving->work = (struct work_item){ .run = run_saving, .on_done = on_saved };
	saving->state = context->state;
	memcpy(saving->mount_id, key, sizeof saving->mount_id);
	return saving;
}

/* One after the other: the newest row must be the one that stays. */
static void saving_start(struct lease *lease, struct saving *saving)
{
	serial_queue_add(&lease->context->savings, &saving->work);
}

/* Before it is known who has it: whose start is looked at, the one that the runtime has named, or
 * the only candidate. */
static const struct container_facts *likely_container(const struct lease *lease)
{
	const struct lease_beginnings *beginnings = lease->beginnings;

	if (!beginnings)
		return NULL;
	if (beginnings->container.object)
		return &beginnings->container;
	for (size_t i = 0; i < beginnings->candidates_count; i++)
		if (beginnings->candidates_count == 1 ||
			strcmp(beginnings->candidates[i].id, beginnings->bundled_id) == 0)
			return &beginnings->candidates[i];
	return NULL;
}

const char *lease_container_name(const struct lease *lease)
{
	const struct container_facts *facts = likely_container(lease);

	if (lease->holder.id)
		return lease->holder.name;
	return facts ? facts->name : "";
}

const char *lease_container_id(const struct lease *lease)
{
	const struct container_facts *facts = likely_container(lease);

	if (lease->holder.id)
		return lease->holder.id;
	return facts ? facts->id : "";
}

static json_t *options_to_json(const struct volume_options *options)
{
	json_t *files = json_array();

	for (size_t i = 0; options && i < options->files_count; i++) {
		const struct file_choice *choice = &options->files[i];
		json_t *file =
			json_pack("{s:s, s:s}", "path", choice->path, "new_path", choice->new_path);

		if (choice->has_uid)
			(void)json_object_set_new(file, "uid", json_integer(choice->uid));
		if (choice->has_gid)
			(void)json_object_set_new(file, "gid", json_integer(choice->gid));
		if (choice->has_mode)
			(void)json_object_set_new(file, "mode", json_integer(choice->mode));
		(void)json_array_append_new(files, file);
	}
	return json_pack("{s:s, s:o}", "grant", options ? options->grant : "", "files", files);
}

static json_t *grant_names(const struct lease *lease)
{
	return lease->grants ? json_deep_copy(lease->grants) : json_array();
}

json_t *lease_to_row(const struct lease *lease)
{
	const struct lease_context *context = lease->context;
	const struct delivery *delivery = lease->inside ? lease->inside : &lease->delivery;
	uint64_t start_ticks = 0;
	json_t *row = json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:s, s:o, s:o}", "engine",
		engine_link_name(context->engines[lease->engine]), "volume", lease->volume,
		"options", options_to_json(lease->options), "container",
		lease_container_name(lease), "container_id", lease_container_id(lease), "image_id",
		lease->holder.image_id ? lease->holder.image_id : "", "target",
		lease->holder.target ? lease->holder.target : "", "grants", grant_names(lease),
		"used", used_secrets_to_json(lease->used));
	json_t *delivered;

	if (lease->init.pid > 0)
		(void)process_start_time(&context->roots, lease->init.pid, &start_ticks);
	delivered = json_pack("{s:b, s:b, s:b, s:b, s:b, s:b, s:I, s:i, s:I, s:i, s:I}",
		"is_released", lease->is_verified, "is_plain", delivery->is_plain, "is_guarded",
		lease->group != GUARD_NO_GROUP, "is_decoy", lease->state == LEASE_DECOY,
		"keeps_guard", lease->keeps_guard, "guards_always", lease_asks_always(lease),
		"device", (json_int_t)delivery->device, "generation", (int)delivery->generation,
		"mount_id", (json_int_t)delivery->located.mount_id, "pid", (int)lease->init.pid,
		"start_ticks", (json_int_t)start_ticks);
	if (lease->mode == LEASE_AT_REQUEST)
		(void)json_object_set_new(row, "at_request", json_true());
	if (lease->inside)
		(void)json_object_set_new(row, "inside", json_string(lease->inside->hex));
	if (lease->state == LEASE_ENDED)
		(void)json_object_set_new(row, "has_ended", json_true());
	(void)json_object_set_new(row, "term", lease_term_to_json(&lease->term));
	if (lease->once)
		(void)json_object_set_new(row, "once", json_deep_copy(lease->once));
	if (lease->taken)
		(void)json_object_set_new(row, "taken", json_deep_copy(lease->taken));
	if (lease->to_take)
		(void)json_object_set_new(row, "to_take", json_deep_copy(lease->to_take));
	(void)json_object_update(row, delivered);
	json_decref(delivered);
	return row;
}

void lease_save(struct lease *lease)
{
	struct saving *saving = saving_new(lease->context, lease->delivery.hex);

	if (!saving)
		return;
	saving->row = lease_to_row(lease);
	saving_start(lease, saving);
}

int lease_save_first(struct lease *lease, void (*on_first)(void *data, int status), void *data)
{
	struct saving *saving = saving_new(lease->context, lease->delivery.hex);

	if (!saving)
		return -ENOMEM;
	saving->row = lease_to_row(lease);
	saving->on_saved = on_first;
	saving->data = data;
	saving_start(lease, saving);
	return 0;
}

void lease_unsave(struct lease *lease)
{
	struct saving *saving = saving_new(lease->context, lease->delivery.hex);

	if (saving)
		saving_start(lease, saving);
}

static json_t *time_to_json(int64_t unix_s)
{
	char text[32];
	const time_t seconds = unix_s;
	struct tm parts;

	(void)gmtime_r(&seconds, &parts);
	(void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
	return json_string(text);
}

/* DECISION is taken over; a copy of what it is about goes with it, and the writing waits its turn. */
static void decision_start(struct saving *saving, struct serial_queue *queue, json_t *decision)
{
	const char *outcome = json_string_value(json_object_get(decision, "outcome"));

	saving->is_refused = outcome && strcmp(outcome, "refused") == 0;
	saving->container_id =
		strdup(json_string_value(json_object_get(decision, "container_id")) ?: "");
	saving->container_name =
		strdup(json_string_value(json_object_get(decision, "container")) ?: "");
	saving->decision = decision;
	if (saving->container_id && saving->container_name && decision)
		serial_queue_add(queue, &saving->work);
	else
		on_saved(&saving->work, true);
}

static json_t *steps_of(const struct trail *trail)
{
	/* A copy: the trail grows on while the writing waits. */
	return trail && trail->steps ? json_deep_copy(trail->steps) : json_array();
}

void lease_save_decision(struct lease *lease, const char *outcome, const char *summary)
{
	struct saving *saving = saving_new(lease->context, lease->delivery.hex);

	if (saving)
		decision_start(saving, &lease->context->savings,
			json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "time",
				time_to_json(time(NULL)), "outcome", outcome, "engine",
				engine_link_name(lease->context->engines[lease->engine]),
				"container", lease_container_name(lease), "container_id",
				lease_container_id(lease), "volume", lease->volume, "mount_id",
				lease->delivery.hex, "summary", summary, "steps",
				steps_of(lease_trail(lease))));
}

void lease_save_refusal(struct lease_context *context, unsigned engine,
	const struct container_facts *facts, const struct trail *trail, const char *why)
{
	/* One for each container: the newest is what people ask about. */
	struct saving *saving = saving_new(context, facts->id);

	if (saving)
		decision_start(saving, &context->savings,
			json_pack("{s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "time",
				time_to_json(time(NULL)), "outcome", "refused", "engine",
				engine_link_name(context->engines[engine]), "container",
				facts->name, "container_id", facts->id, "volume", "", "mount_id",
				"", "summary", why, "steps", steps_of(trail)));
}

void lease_end_decision(struct lease *lease, const char *summary)
{
	struct saving *saving = saving_new(lease->context, lease->delivery.hex);

	if (!saving)
		return;
	saving->ended = strdup(summary);
	if (saving->ended)
		saving_start(lease, saving);
	else
		on_saved(&saving->work, true);
}

json_t *lease_audit_record(
	const struct lease *lease, const char *action, const char *decision, const char *reason)
{
	json_t *record = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o}", "action", action,
		"decision", decision, "engine",
		engine_link_name(lease->context->engines[lease->engine]), "container",
		lease_container_name(lease), "container_id", lease_container_id(lease), "volume",
		lease->volume, "mount_id", lease->delivery.hex, "grants", grant_names(lease));

	if (record && lease->used)
		(void)json_object_set_new(record, "secrets", used_secrets_to_json(lease->used));
	if (record && lease->holder.image_id)
		(void)json_object_set_new(record, "image_id", json_string(lease->holder.image_id));
	if (record && reason)
		(void)json_object_set_new(record, "reason", json_string(reason));
	return record;
}

static void on_recorded(void *data, int status)
{
	(void)data;
	if (status < 0)
		log_error("a record is missing from the audit file: %s", strerrordesc_np(-status));
}

void lease_append_record(struct lease_context *context, json_t *record)
{
	const int r = record ? audit_queue_append(context->audit, record, on_recorded, NULL, NULL)
			     : -ENOMEM;

	if (r < 0)
		on_recorded(NULL, r);
	json_decref(record);
}

void lease_audit(struct lease *lease, const char *action, const char *decision, const char *reason)
{
	lease_append_record(lease->context, lease_audit_record(lease, action, decision, reason));
}

/* TEXT_KEY gets AT_MS of boot_clock_ms() as a time of the wall clock, LEFT_KEY the seconds until then. */
static void add_time(json_t *object, const char *text_key, const char *left_key, int64_t at_ms)
{
	const int64_t left_ms = at_ms - boot_clock_ms();

	(void)json_object_set_new(object, text_key, time_to_json(time(NULL) + left_ms / 1000));
	(void)json_object_set_new(object, left_key, json_integer(left_ms / 1000));
}

static void add_term(const struct lease *lease, json_t *object)
{
	const struct lease_term *term = &lease->term;

	(void)json_object_set_new(
		object, "unrenewed", json_string(term->empties_unrenewed ? "empty" : "keep"));
	if (!term->began_ms)
		return;
	(void)json_object_set_new(
		object, "age_s", json_integer((boot_clock_ms() - term->began_ms) / 1000));
	add_time(object, "renewal", "renewal_in_s", term->period_end_ms);
	if (lease_term_end_ms(term))
		add_time(object, "expires", "expires_in_s", lease_term_end_ms(term));
}

json_t *lease_describe(const struct lease *lease)
{
	json_t *files = json_array(), *object;

	for (size_t i = 0; lease->used && i < lease->used->count; i++) {
		const struct used_secret *used = &lease->used->items[i];

		(void)json_array_append_new(
			files, json_pack("{s:s, s:s, s:s++, s:I}", "path", used->path, "grant",
				       used->grant, "secret", used->set, "/", used->name, "version",
				       (json_int_t)used->version));
	}
	object = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "lease", lease->delivery.hex,
		"container", lease_container_name(lease), "container_id", lease_container_id(lease),
		"engine", engine_link_name(lease->context->engines[lease->engine]), "volume",
		lease->volume, "state", lease->state == LEASE_RELEASED ? "released" : "armed",
		"grants", grant_names(lease), "files", files);
	add_term(lease, object);
	return object;
}

/* The files in the order of their paths' first mention; a template's file has several secrets. */
static json_t *files_inside(const struct lease *lease)
{
	json_t *files = json_array(), *file = NULL;
	const char *last = "";

	for (size_t i = 0; lease->used && i < lease->used->count; i++) {
		const struct used_secret *used = &lease->used->items[i];

		if (strcmp(last, used->path) != 0) {
			file = json_pack("{s:s+++, s:[]}", "path", "/", lease->holder.target, "/",
				used->path, "secrets");
			(void)json_array_append_new(files, file);
		}
		last = used->path;
		(void)json_array_append_new(json_object_get(file, "secrets"),
			json_pack("{s:s++, s:I}", "name", used->set, "/", used->name, "version",
				(json_int_t)used->version));
	}
	return files;
}

int64_t lease_expires_unix(const struct lease *lease)
{
	const int64_t end_ms = lease_term_end_ms(&lease->term);

	return end_ms ? time(NULL) + (end_ms - boot_clock_ms()) / 1000 : 0;
}

json_t *lease_describe_inside(const struct lease *lease)
{
	const struct delivery *delivery = lease->inside ? lease->inside : &lease->delivery;

	const int64_t expires = lease_expires_unix(lease);

	return json_pack("{s:s, s:s+, s:i, s:o, s:o}", "lease", lease->delivery.hex, "target", "/",
		lease->holder.target, "generation", (int)delivery->generation, "expires",
		expires ? time_to_json(expires) : json_null(), "files", files_inside(lease));
}
