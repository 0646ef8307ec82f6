#include "daemon/broker/provider/value_fetch.h"

#include "daemon/broker/loop/handle_group.h"
#include "daemon/broker/policy/template.h"
#include "daemon/broker/provider/remote_values.h"
#include "daemon/broker/provider/set_search.h"
#include "proto/boot_clock.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BOOT_PERIOD_S 120

struct value_fetch {
	struct work_item work;
	struct value_sources sources;
	struct plan plan;
	struct set_search *searches; /* one for each file of the plan, in its order */
	struct set_search all;
	struct fetched fetched;
	json_t *used; /* grows while files are made */
	struct remote_values remote;
	uv_loop_t *loop;
	int status;
	struct mayfly_error err;
	char not_there[500]; /* what the grant's own set has said of a name */
	value_fetched_function *on_fetched;
	void *data;
};

void fetched_done(struct fetched *fetched)
{
	delivery_files_free(fetched->files, fetched->files_count);
	free(fetched->used);
	*fetched = (struct fetched){ 0 };
}

static void fetch_free(struct value_fetch *fetch)
{
	fetched_done(&fetch->fetched);
	remote_values_done(&fetch->remote);
	json_decref(fetch->used);
	plan_done(&fetch->plan);
	free(fetch->searches);
	free(fetch);
}

/* Another set that has NAME, for the message; NULL when none has. */
static const char *set_that_has(const struct value_fetch *fetch, const char *name)
{
	for (size_t i = 0; i < fetch->all.count; i++) {
		struct secret_reference reference = { 0 };
		struct secret_info info;

		(void)snprintf(reference.set, sizeof reference.set, "%s", fetch->all.names[i]);
		(void)snprintf(reference.name, sizeof reference.name, "%s", name);
		if (store_info(fetch->sources.store, &reference, &info, NULL) == 0 &&
			info.removed_unix_s == 0)
			return fetch->all.names[i];
	}
	return NULL;
}

static int missing(struct value_fetch *fetch, const struct policy_grant *grant,
	const struct set_search *search, const char *name)
{
	const char *other = set_that_has(fetch, name);
	char hint[2 * MAYFLY_REFERENCE_MAX] = "";

	if (search->providers[0] == SET_PROVIDER_VAULT)
		return error_set(&fetch->err, -ENOENT,
			"grant %s: %s/%s does not exist: %.300s; run `mayfly put %s/%s`",
			grant->name, search->names[0], name, fetch->not_there, search->names[0],
			name);
	if (other)
		(void)snprintf(hint, sizeof hint, " (%s/%s does)", other, name);
	return error_set(&fetch->err, -ENOENT,
		"grant %s: %s/%s does not exist%s; run `mayfly put %s/%s`", grant->name,
		search->names[0], name, hint, search->names[0], name);
}

static void note_used(struct value_fetch *fetch, const struct plan_file *file,
	const struct secret_reference *reference, uint32_t version)
{
	/* Out of memory costs a line of evidence; the release is recorded with what is there. */
	(void)json_array_append_new(
		fetch->used, json_pack("{s:s, s:s, s:s, s:s, s:i}", "path", file->path, "grant",
				     file->grant->name, "set", reference->set, "name",
				     reference->name, "version", (int)version));
}

/* In one set. -ENOENT: it has none; -ESTALE: it has one, and no earlier version. */
static int get_from(struct value_fetch *fetch, const struct plan_file *file,
	enum set_provider provider, const struct secret_reference *reference,
	struct secret *ret_value, uint32_t *ret_version)
{
	int r;

	if (provider == SET_PROVIDER_VAULT)
		return remote_values_get(&fetch->remote, reference->set, reference->name,
			file->previous, ret_value, ret_version, &fetch->err);
	r = store_get(fetch->sources.store, reference,
		file->previous ? VERSION_PREVIOUS : VERSION_CURRENT, ret_value, ret_version,
		&fetch->err);
	/* In this set, but with no earlier version: no other set can have the previous one. */
	if (r == -ENOENT && file->previous &&
		store_get(fetch->sources.store, reference, VERSION_CURRENT, ret_value, NULL,
			NULL) == 0) {
		secret_done(ret_value);
		return -ESTALE;
	}
	return r;
}

/* The value of NAME where FILE's grant finds it. */
static int get_value(struct value_fetch *fetch, const struct plan_file *file,
	const struct set_search *search, const char *name, struct secret *ret_value)
{
	for (size_t i = 0; i < search->count; i++) {
		struct secret_reference reference = { 0 };
		uint32_t version = 0;
		int r;

		(void)snprintf(reference.set, sizeof reference.set, "%s", search->names[i]);
		(void)snprintf(reference.name, sizeof reference.name, "%s", name);
		r = get_from(fetch, file, search->providers[i], &reference, ret_value, &version);
		if (r == 0)
			note_used(fetch, file, &reference, version);
		if (r == 0 || r == -ESTALE || r == -EINPROGRESS || r == -ENOKEY || r == -ENODATA)
			return r;
		if (r == -ENOENT && i == 0)
			(void)snprintf(fetch->not_there, sizeof fetch->not_there, "%.499s",
				fetch->err.text);
		if (r != -ENOENT)
			return error_within(&fetch->err, "grant %s", file->grant->name);
	}
	return missing(fetch, file->grant, search, name);
}

/* The values of a template's secrets, fetched before it is rendered. */
struct ingredients {
	const struct policy_entry *entry;
	struct secret *values; /* one for each part; empty for literals */
};

static void ingredients_done(struct ingredients *ingredients)
{
	for (size_t i = 0; ingredients->values && i < ingredients->entry->parts_count; i++)
		secret_done(&ingredients->values[i]);
	free(ingredients->values);
}

static const struct secret *look_up(void *context, const char *name)
{
	const struct ingredients *ingredients = context;

	for (size_t i = 0; i < ingredients->entry->parts_count; i++) {
		const char *secret = ingredients->entry->parts[i].secret;

		if (secret && strcmp(secret, name) == 0)
			return &ingredients->values[i];
	}
	return NULL;
}

static int render(struct value_fetch *fetch, const struct plan_file *file,
	const struct set_search *search, struct secret *ret_value)
{
	MAYFLY_CLEANUP(ingredients_done) struct ingredients ingredients = { .entry = file->entry };
	int r = 0;

	ingredients.values = calloc(file->entry->parts_count + 1, sizeof *ingredients.values);
	if (!ingredients.values)
		return error_errno(&fetch->err, -ENOMEM, "render a template");
	for (size_t i = 0; i < file->entry->parts_count && (r == 0 || r == -EINPROGRESS); i++) {
		int got = 0;

		if (file->entry->parts[i].secret)
			got = get_value(fetch, file, search, file->entry->parts[i].secret,
				&ingredients.values[i]);
		/* All that is wanted from servers is asked for at once. */
		if (got < 0)
			r = got;
	}
	if (r < 0)
		return r;
	r = template_render(
		file->entry, look_up, &ingredients, fetch->sources.arena, ret_value, &fetch->err);
	return r < 0 ? error_within(&fetch->err, "grant %s", file->grant->name) : 0;
}

static int make_value(struct value_fetch *fetch, const struct plan_file *file,
	const struct set_search *search, struct secret *ret_value)
{
	if (file->entry->name)
		return get_value(fetch, file, search, file->entry->name, ret_value);
	return render(fetch, file, search, ret_value);
}

static int add_file(struct value_fetch *fetch, const char *path, uint32_t uid, uint32_t gid,
	mode_t mode, const struct secret *value)
{
	struct delivery_file *file = &fetch->fetched.files[fetch->fetched.files_count];
	const int r = held_value_seal(fetch->sources.keeper, value, &file->value, &fetch->err);

	if (r < 0)
		return r;
	(void)snprintf(file->path, sizeof file->path, "%s", path);
	file->uid = uid;
	file->gid = gid;
	file->mode = mode;
	file->writer = -1;
	fetch->fetched.files_count++;
	return 0;
}

static int fetch_file(
	struct value_fetch *fetch, const struct plan_file *file, const struct set_search *search)
{
	AUTO_SECRET value = { 0 };
	const int r = make_value(fetch, file, search, &value);

	/* A secret in its first version has no previous one: the file comes with the second. */
	if (r == -ESTALE)
		return 0;
	return r < 0 ? r : add_file(fetch, file->path, file->uid, file->gid, file->mode, &value);
}

/* When the files end, as far as it is known while they are made: a lease begins a moment later, with its
 * release. */
static json_t *expires_of(const struct plan *plan)
{
	time_t expires = plan->expires_unix_s;
	uint32_t shortest = 0;
	char text[32];
	struct tm parts;

	for (size_t i = 0; i < plan->files_count; i++) {
		const uint32_t max_ttl = plan->files[i].grant->lease.max_ttl_s;

		if (max_ttl && (!shortest || max_ttl < shortest))
			shortest = max_ttl;
	}
	if (!shortest)
		return json_null();
	if (!expires)
		expires = time(NULL) + shortest;
	(void)gmtime_r(&expires, &parts);
	(void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
	return json_string(text);
}

/* `.mayfly.json`: what is in this generation, without a value. A template's file has several
 * secrets. */
static int add_description(struct value_fetch *fetch)
{
	json_t *files = json_object(), *used;
	AUTO_FREE char *text = NULL;
	json_t *description;
	AUTO_SECRET value = { 0 };
	size_t i;
	int r;

	json_array_foreach (fetch->used, i, used) {
		const char *path = json_string_value(json_object_get(used, "path"));

		if (!json_object_get(files, path))
			(void)json_object_set_new(files, path, json_array());
		(void)json_array_append_new(json_object_get(files, path),
			json_pack("{s:s++, s:i}", "secret",
				json_string_value(json_object_get(used, "set")), "/",
				json_string_value(json_object_get(used, "name")), "version",
				(int)json_integer_value(json_object_get(used, "version"))));
	}
	description = json_pack("{s:s, s:o, s:o}", "grant", fetch->plan.files[0].grant->name,
		"files", files, "expires", expires_of(&fetch->plan));
	text = description ? json_dumps(description, JSON_INDENT(2)) : NULL;
	json_decref(description);
	if (!text)
		return error_errno(&fetch->err, -ENOMEM, "describe a delivery");
	r = secret_new(fetch->sources.arena, strlen(text), &value, &fetch->err);
	if (r < 0)
		return r;
	memcpy(value.bytes, text, value.length);
	return add_file(fetch, DELIVERY_DESCRIPTION, 0, 0, 0444, &value);
}

static int check_size(struct value_fetch *fetch)
{
	uint64_t total = 0;

	for (size_t i = 0; i < fetch->fetched.files_count; i++)
		total += fetch->fetched.files[i].value.length;
	if (total > MAYFLY_DELIVERY_MAX_BYTES)
		return error_set(&fetch->err, -EFBIG,
			"the files have %llu bytes together, the limit is %d",
			(unsigned long long)total, MAYFLY_DELIVERY_MAX_BYTES);
	return 0;
}

/* What was made before something turned out to be wanted is made again. */
static void begin_again(struct value_fetch *fetch)
{
	for (size_t i = 0; i < fetch->fetched.files_count; i++)
		held_value_done(&fetch->fetched.files[i].value);
	fetch->fetched.files_count = 0;
	(void)json_array_clear(fetch->used);
	fetch->status = 0;
}

static int fetch_files(struct value_fetch *fetch)
{
	bool is_waiting = false;

	for (size_t i = 0; i < fetch->plan.files_count; i++) {
		const int r = fetch_file(fetch, &fetch->plan.files[i], &fetch->searches[i]);

		is_waiting |= r == -EINPROGRESS;
		if (r < 0 && r != -EINPROGRESS)
			return r;
	}
	return is_waiting ? -EINPROGRESS : 0;
}

static void run(struct work_item *work)
{
	struct value_fetch *fetch = container_of(work, struct value_fetch, work);

	begin_again(fetch);
	fetch->status = fetch_files(fetch);
	if (fetch->status == 0)
		fetch->status = check_size(fetch);
	if (fetch->status == 0 && fetch->plan.layout == LAYOUT_ATOMIC &&
		fetch->fetched.files_count > 0)
		fetch->status = add_description(fetch);
	if (fetch->status == 0)
		fetch->status = used_secrets_new(fetch->used, &fetch->fetched.used);
}

static void finish(struct value_fetch *fetch)
{
	fetch->fetched.stale = remote_values_stale(&fetch->remote);
	remote_values_describe(&fetch->remote, fetch->fetched.from, sizeof fetch->fetched.from);
	fetch->on_fetched(fetch->data, fetch->status, &fetch->fetched, &fetch->err);
	fetch_free(fetch);
}

static void go_on(struct value_fetch *fetch)
{
	struct mayfly_error err;
	const int r = work_queue_start(fetch->loop, &fetch->work, &err);

	/* Once it has started, the rest of FETCH is the thread's. */
	if (r == 0)
		return;
	fetch->status = r;
	fetch->err = err;
	finish(fetch);
}

static void on_remote_known(void *context)
{
	go_on(context);
}

static uint32_t limit_ms(const struct value_fetch *fetch)
{
	if (fetch->sources.limit_ms)
		return fetch->sources.limit_ms;
	return boot_clock_ms() < BOOT_PERIOD_S * 1000 ? FETCH_BOOT_LIMIT_MS : FETCH_LIMIT_MS;
}

static void on_done(struct work_item *work, bool is_abandoned)
{
	struct value_fetch *fetch = container_of(work, struct value_fetch, work);

	if (is_abandoned) {
		fetch_free(fetch);
	} else if (fetch->status != -EINPROGRESS) {
		finish(fetch);
	} else if (!remote_values_read(&fetch->remote, limit_ms(fetch))) {
		fetch->status = error_errno(&fetch->err, -ENOMEM, "fetch values");
		finish(fetch);
	} else if (fetch->remote.reading == 0) {
		go_on(fetch);
	}
}

static int copy_plan(const struct plan *plan, struct plan *copy)
{
	*copy = *plan;
	copy->files = calloc(plan->files_count + 1, sizeof *copy->files);
	if (!copy->files)
		return -ENOMEM;
	memcpy(copy->files, plan->files, plan->files_count * sizeof *copy->files);
	copy->policy = policy_ref(plan->policy);
	return 0;
}

static int make_searches(
	struct value_fetch *fetch, const struct config *config, struct mayfly_error *err)
{
	set_search_make_all(config, &fetch->all);
	for (size_t i = 0; i < fetch->plan.files_count; i++) {
		const struct policy_grant *grant = fetch->plan.files[i].grant;
		const char *set = grant->set ? grant->set : config->environment;
		const int r = set_search_make(config, set ? set : "", &fetch->searches[i]);

		if (r < 0)
			return error_set(err, r, "grant %s: there is no set '%s'", grant->name,
				set ? set : "");
	}
	return 0;
}

int value_fetch_start(uv_loop_t *loop, const struct value_sources *sources, const struct plan *plan,
	value_fetched_function *on_fetched, void *data, struct value_fetch **ret_fetch,
	struct mayfly_error *err)
{
	struct value_fetch *fetch = calloc(1, sizeof *fetch);
	int r = -ENOMEM;

	if (!fetch || copy_plan(plan, &fetch->plan) < 0) {
		free(fetch);
		return error_errno(err, r, "fetch values");
	}
	fetch->sources = *sources;
	fetch->loop = loop;
	fetch->remote = (struct remote_values){
		.vaults = sources->vaults, .context = fetch, .on_known = on_remote_known
	};
	fetch->on_fetched = on_fetched;
	fetch->data = data;
	fetch->work = (struct work_item){ .run = run, .on_done = on_done };
	fetch->searches = calloc(plan->files_count + 1, sizeof *fetch->searches);
	/* One more for the description. */
	fetch->fetched.files = calloc(plan->files_count + 1, sizeof *fetch->fetched.files);
	fetch->used = json_array();
	if (fetch->searches && fetch->fetched.files && fetch->used)
		r = make_searches(fetch, sources->config, err);
	else
		(void)error_errno(err, r, "fetch values");
	if (r == 0)
		r = work_queue_start(loop, &fetch->work, err);
	if (r < 0) {
		fetch_free(fetch);
		return r;
	}
	*ret_fetch = fetch;
	return 0;
}

void value_fetch_abandon(struct value_fetch *fetch)
{
	if (work_queue_is_under_way(&fetch->work))
		work_queue_abandon(&fetch->work);
	else
		/* Servers are being asked. */
		fetch_free(fetch);
}
