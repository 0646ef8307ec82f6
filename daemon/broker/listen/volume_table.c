#include "daemon/broker/listen/volume_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAME_MAX_BYTES 255

/* A change that is being written. */
struct change {
	struct work_item work;
	struct volume_table *table;
	char *engine, *name;
	json_t *options; /* NULL: remove */
	int64_t created_unix_s;
	int status;
	struct mayfly_error err;
	void (*on_done)(void *data, int status, const char *why);
	void *data;
};

static void definition_free(struct volume_definition *definition)
{
	free(definition->engine);
	free(definition->name);
	json_decref(definition->options);
	volume_options_done(&definition->parsed);
	free(definition);
}

/* Takes no reference of its own on failure. */
static struct volume_definition *definition_new(
	const char *engine, const char *name, json_t *options, int64_t created_unix_s)
{
	struct volume_definition *definition = calloc(1, sizeof *definition);

	if (!definition)
		return NULL;
	definition->engine = strdup(engine);
	definition->name = strdup(name);
	definition->options = options ? json_incref(options) : json_object();
	time_text(definition->created, created_unix_s);
	if (definition->engine && definition->name && definition->options)
		return definition;
	definition_free(definition);
	return NULL;
}

struct volume_definition *volume_table_find(
	const struct volume_table *table, const char *engine, const char *name)
{
	struct volume_definition *definition;

	TAILQ_FOREACH(definition, &table->definitions, entry)
	if (strcmp(definition->name, name) == 0 && strcmp(definition->engine, engine) == 0)
		return definition;
	return NULL;
}

int volume_table_load(struct volume_table *table, struct broker *broker, struct mayfly_error *err)
{
	json_t *volumes = NULL, *volume;
	size_t i;
	int r = state_db_volumes(broker->state, &volumes, err);

	TAILQ_INIT(&table->definitions);
	table->broker = broker;
	json_array_foreach (volumes, i, volume) {
		struct volume_definition *definition =
			definition_new(json_string_value(json_object_get(volume, "engine")),
				json_string_value(json_object_get(volume, "name")),
				json_object_get(volume, "options"),
				json_integer_value(json_object_get(volume, "created")));

		if (!definition) {
			r = error_errno(err, -ENOMEM, "load the volumes");
			break;
		}
		/* The front refuses to mount what cannot be parsed, with the same words again. */
		(void)volume_options_parse(definition->options, &definition->parsed, NULL);
		TAILQ_INSERT_TAIL(&table->definitions, definition, entry);
	}
	json_decref(volumes);
	return r;
}

void volume_table_done(struct volume_table *table)
{
	struct volume_definition *definition;

	while ((definition = TAILQ_FIRST(&table->definitions))) {
		TAILQ_REMOVE(&table->definitions, definition, entry);
		definition_free(definition);
	}
}

/* The engine's parser lets everything through on Linux: "../../x", newlines. This is what its own
 * local volumes may be called. */
static int check_name(const char *name, struct mayfly_error *err)
{
	static const char letters[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
	const size_t length = strlen(name);
	char shown[64];

	if (length == 0)
		return error_set(err, -EINVAL, "a volume needs a name");
	if (length > NAME_MAX_BYTES)
		return error_set(
			err, -EINVAL, "a volume's name has %d bytes at most", NAME_MAX_BYTES);
	if (!strchr(letters, name[0]) ||
		name[strspn(name, "abcdefghijklmnopqrstuvwxyz"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] != '\0')
		return error_set(err, -EINVAL,
			"'%s' is no name for a volume: letters, digits, '_', '.', '-'",
			error_quote(shown, sizeof shown, name, length));
	return 0;
}

static void run_change(struct work_item *work)
{
	struct change *change = container_of(work, struct change, work);
	struct state_db *state = change->table->broker->state;

	change->status =
		change->options
			? state_db_volume_put(state, change->engine, change->name, change->options,
				  change->created_unix_s, &change->err)
			: state_db_volume_remove(state, change->engine, change->name, &change->err);
}

static void apply(struct change *change)
{
	struct volume_table *table = change->table;
	struct volume_definition *known = volume_table_find(table, change->engine, change->name);

	if (known) {
		TAILQ_REMOVE(&table->definitions, known, entry);
		definition_free(known);
	}
	if (!change->options)
		return;
	known = definition_new(
		change->engine, change->name, change->options, change->created_unix_s);
	if (!known)
		return;
	(void)volume_options_parse(known->options, &known->parsed, NULL);
	TAILQ_INSERT_TAIL(&table->definitions, known, entry);
}

static void on_changed(struct work_item *work, bool is_abandoned)
{
	struct change *change = container_of(work, struct change, work);

	if (is_abandoned)
		change->status = -ECANCELED;
	if (change->status == 0)
		apply(change);
	change->on_done(change->data, change->status, change->err.text);
	free(change->engine);
	free(change->name);
	json_decref(change->options);
	free(change);
}

/* Takes OPTIONS over. */
static int start(struct volume_table *table, const char *engine, const char *name, json_t *options,
	void (*on_done)(void *data, int status, const char *why), void *data,
	struct mayfly_error *err)
{
	struct change *change = calloc(1, sizeof *change);

	if (!change) {
		json_decref(options);
		return error_errno(err, -ENOMEM, "change a volume");
	}
	*change = (struct change){ .work = { .run = run_change, .on_done = on_changed },
		.table = table,
		.engine = strdup(engine),
		.name = strdup(name),
		.options = options,
		.created_unix_s = time(NULL),
		.on_done = on_done,
		.data = data };
	if (!change->engine || !change->name) {
		free(change->engine);
		free(change->name);
		json_decref(options);
		free(change);
		return error_errno(err, -ENOMEM, "change a volume");
	}
	serial_queue_add(&table->broker->leases.savings, &change->work);
	return 0;
}

int volume_table_define(struct volume_table *table, const char *engine, const char *name,
	json_t *options, void (*on_done)(void *data, int status, const char *why), void *data,
	bool *ret_same, struct mayfly_error *err)
{
	const struct volume_definition *known;
	struct volume_options parsed;
	json_t *copy;
	int r = check_name(name, err);

	if (r == 0)
		r = volume_options_parse(options, &parsed, err);
	if (r < 0)
		return r;
	volume_options_done(&parsed);
	copy = json_is_object(options) ? json_deep_copy(options) : json_object();
	known = volume_table_find(table, engine, name);
	if (known) {
		*ret_same = json_equal(known->options, copy);
		json_decref(copy);
		return error_set(err, -EEXIST,
			"volume %s exists with other options; remove it first, it holds no data",
			name);
	}
	return start(table, engine, name, copy, on_done, data, err);
}

int volume_table_remove(struct volume_table *table, const char *engine, const char *name,
	void (*on_done)(void *data, int status, const char *why), void *data,
	struct mayfly_error *err)
{
	return start(table, engine, name, NULL, on_done, data, err);
}
