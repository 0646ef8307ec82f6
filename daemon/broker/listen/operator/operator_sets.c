/* Sets: list, diff, fill. */
#include "daemon/broker/listen/operator/operator_socket.h"

#include "daemon/broker/provider/set_search.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILLED_LENGTH 32

/* Two sides, each with everything that a name is looked for in. */
struct comparison {
	struct set_search left, right;
};

/* What grants need, gathered on the loop's thread: {"name", "grant"} for each secret of each grant
 * that may be used with SET. */
static void add_needed(json_t *needed, const struct policy_grant *grant, const char *name)
{
	(void)json_array_append_new(
		needed, json_pack("{s:s, s:s}", "name", name, "grant", grant->name));
}

static json_t *needed_of(const struct policy *policy, const char *set)
{
	json_t *needed = json_array();

	for (size_t i = 0; i < policy->grants_count; i++) {
		const struct policy_grant *grant = &policy->grants[i];

		/* A grant without a set is for the host's environment, whichever that is. */
		if (grant->set && strcmp(grant->set, set) != 0)
			continue;
		for (size_t j = 0; j < grant->entries_count; j++) {
			const struct policy_entry *entry = &grant->entries[j];

			if (entry->name)
				add_needed(needed, grant, entry->name);
			for (size_t k = 0; k < entry->parts_count; k++)
				if (entry->parts[k].secret)
					add_needed(needed, grant, entry->parts[k].secret);
		}
	}
	return needed;
}

static void run_list_sets(struct operator_job *job)
{
	json_t *sets = json_object_get(job->reply, "sets"), *set;
	size_t i;

	json_array_foreach (sets, i, set) {
		struct mayfly_error err;
		uint64_t count = 0;

		/* Before `init` there is nothing to count. */
		(void)store_count(job->broker->store,
			json_string_value(json_object_get(set, "name")), &count, &err);
		(void)json_object_set_new(set, "secrets", json_integer((json_int_t)count));
	}
}

void on_list_sets(struct operator_job *job)
{
	const struct config *config = job->broker->config;
	json_t *sets = json_array();

	for (size_t i = 0; i < config->sets_count; i++) {
		const struct config_set *set = &config->sets[i];
		json_t *inherits = json_array();

		for (size_t j = 0; j < set->inherits_count; j++)
			(void)json_array_append_new(inherits, json_string(set->inherits[j]));
		(void)json_array_append_new(
			sets, json_pack("{s:s, s:s, s:o, s:b}", "name", set->name, "provider",
				      set->provider == SET_PROVIDER_VAULT ? "vault" : "store",
				      "inherits", inherits, "is_environment",
				      config->environment &&
					      strcmp(config->environment, set->name) == 0));
	}
	job->reply = json_pack("{s:s*, s:o}", "environment", config->environment, "sets", sets);
	job->run = run_list_sets;
	job_start(job);
}

/* Live names of all sets of SEARCH, as the keys of an object. */
static int names_of(struct operator_job *job, const struct set_search *search, json_t *names,
	struct mayfly_error *err)
{
	int r = 0;

	for (size_t i = 0; i < search->count && r == 0; i++) {
		struct secret_info *list = NULL;
		size_t count = 0;

		r = store_list(job->broker->store, search->names[i], &list, &count, err);
		for (size_t j = 0; j < count; j++)
			if (list[j].removed_unix_s == 0)
				(void)json_object_set_new(names, list[j].name, json_true());
		free(list);
	}
	return r;
}

static json_t *missing_in(json_t *names, json_t *other)
{
	json_t *missing = json_array(), *value;
	const char *name;

	json_object_foreach (names, name, value) {
		if (!json_object_get(other, name))
			(void)json_array_append_new(missing, json_string(name));
	}
	return missing;
}

static void add_missing(json_t *found, json_t *needed, json_t *names, const char *set)
{
	json_t *item;
	size_t i;

	json_array_foreach (needed, i, item) {
		const char *name = json_string_value(json_object_get(item, "name"));

		if (!json_object_get(names, name))
			(void)json_array_append_new(
				found, json_pack("{s:s, s:O, s:s}", "name", name, "grant",
					       json_object_get(item, "grant"), "missing_in", set));
	}
}

static void run_diff(struct operator_job *job)
{
	const struct comparison *comparison = job->extra;
	json_t *left = json_object(), *right = json_object(), *needed = json_array(), *only_left;
	struct mayfly_error err;
	int r = names_of(job, &comparison->left, left, &err);

	if (r == 0)
		r = names_of(job, &comparison->right, right, &err);
	if (r < 0) {
		job_fail_store(job, r, &err);
		json_decref(needed);
	} else {
		add_missing(needed, json_object_get(job->parameters, "needed_left"), left,
			comparison->left.names[0]);
		add_missing(needed, json_object_get(job->parameters, "needed_right"), right,
			comparison->right.names[0]);
		only_left = missing_in(left, right);
		job->reply = json_pack("{s:o, s:o, s:I, s:o}", "only_left", only_left, "only_right",
			missing_in(right, left), "both",
			(json_int_t)(json_object_size(left) - json_array_size(only_left)),
			"needed_by_grants", needed);
	}
	json_decref(left);
	json_decref(right);
}

void on_diff(struct operator_job *job)
{
	struct comparison *comparison = calloc(1, sizeof *comparison);
	const struct config *config = job->broker->config;
	const char *left, *right;

	job->extra = comparison;
	job->run = run_diff;
	if (!comparison || !job_text(job, "left", &left) || !job_text(job, "right", &right) ||
		!job_knows_set(job, left) || !job_knows_set(job, right) ||
		!job_is_of_store(job, left) || !job_is_of_store(job, right)) {
		job_finish(job);
		return;
	}
	(void)set_search_make(config, left, &comparison->left);
	(void)set_search_make(config, right, &comparison->right);
	/* The parameters are this job's own from here on. */
	(void)json_object_set_new(
		job->parameters, "needed_left", needed_of(job->broker->leases.policy, left));
	(void)json_object_set_new(
		job->parameters, "needed_right", needed_of(job->broker->leases.policy, right));
	job_start(job);
}

static int fill_one(
	struct operator_job *job, const char *set, const char *name, struct mayfly_error *err)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
	struct secret_reference reference = { 0 };
	enum put_outcome outcome;
	AUTO_SECRET value = { 0 };
	uint32_t version;
	int r = secret_new(job->broker->arena, FILLED_LENGTH, &value, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < value.length; i++)
		value.bytes[i] = (unsigned char)alphabet[randombytes_uniform(sizeof alphabet - 1)];
	(void)snprintf(reference.set, sizeof reference.set, "%s", set);
	(void)snprintf(reference.name, sizeof reference.name, "%s", name);
	return store_put(job->broker->store, &reference, &value, false, &outcome, &version, err);
}

static void run_fill_set(struct operator_job *job)
{
	const struct set_search *search = job->extra;
	json_t *names = json_object(), *created = json_array(), *item;
	json_t *needed = json_object_get(job->parameters, "needed");
	struct mayfly_error err;
	size_t i, present = 0;
	int r = names_of(job, search, names, &err);

	json_array_foreach (needed, i, item) {
		const char *name = json_string_value(json_object_get(item, "name"));

		if (r < 0)
			break;
		if (json_object_get(names, name)) {
			present++;
			continue;
		}
		r = fill_one(job, search->names[0], name, &err);
		if (r == 0) {
			(void)json_object_set_new(names, name, json_true());
			(void)json_array_append_new(created, json_string(name));
		}
	}
	json_decref(names);
	job->reply = json_pack("{s:o, s:I}", "created", created, "present", (json_int_t)present);
	if (r < 0)
		job_fail_store(job, r, &err);
}

void on_fill_set(struct operator_job *job)
{
	struct set_search *search = calloc(1, sizeof *search);
	const char *set;

	job->extra = search;
	job->run = run_fill_set;
	if (!search || !job_text(job, "set", &set) || !job_knows_set(job, set) ||
		!job_is_of_store(job, set)) {
		job_finish(job);
		return;
	}
	(void)set_search_make(job->broker->config, set, search);
	(void)json_object_set_new(
		job->parameters, "needed", needed_of(job->broker->leases.policy, set));
	job->record = job_record(job, "set fill");
	(void)json_object_set_new(job->record, "set", json_string(set));
	job_start(job);
}
