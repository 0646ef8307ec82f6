/* `mayfly import`: read whole, compared with what is stored, and only then put. */
#include "client/cli/command_line/arguments.h"
#include "client/cli/import/entries.h"
#include "client/cli/import/import_verbs.h"
#include "client/cli/operator/link.h"
#include "client/cli/terminal/print.h"
#include "client/cli/value/value.h"
#include "proto/secret_name.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct import {
	struct cli *cli;
	const char *path, *set;
	bool is_dry, stage;
	struct entries entries;
	json_t *outcomes; /* {name, outcome} in order */
};

static void import_done(struct import *import)
{
	entries_done(&import->entries);
	json_decref(import->outcomes);
}

/* FILE in the arena, with an end that is not counted. */
static int read_text(struct import *import, struct secret *ret_text, struct mayfly_error *err)
{
	return value_read(import->cli,
		&(struct value_request){ .from_file = import->path,
			.exact = true,
			.max_bytes = IMPORT_FILE_MAX,
			.what = "file" },
		ret_text, NULL, err);
}

static bool is_json(const struct import *import)
{
	const char *format = argument_value(import->cli->arguments, "format");
	const size_t length = strlen(import->path);

	if (format)
		return strcmp(format, "json") == 0;
	return length > 5 && strcmp(import->path + length - 5, ".json") == 0;
}

static int parse_file(struct import *import, struct mayfly_error *err)
{
	AUTO_SECRET text = { 0 };
	int r = read_text(import, &text, err);

	if (r == 0)
		r = (is_json(import) ? json_values_parse : env_file_parse)(
			(const char *)text.bytes, text.length, &import->entries, err);
	return r < 0 ? error_within(err, "%s", import->path) : 0;
}

static int parse(struct import *import, struct mayfly_error *err)
{
	struct stat status;
	struct arena *arena;
	int r = cli_arena(import->cli, &arena, err);

	if (r == 0)
		r = entries_init(arena, &import->entries, err);
	if (r < 0)
		return r;
	if (stat(import->path, &status) == 0 && S_ISDIR(status.st_mode))
		return value_directory_read(import->path, &import->entries, err);
	return parse_file(import, err);
}

static bool is_wanted(const struct import *import, const char *name, bool *ret_any)
{
	size_t at = 0;
	const char *only;

	*ret_any = false;
	while ((only = argument_next(import->cli->arguments, "only", &at))) {
		*ret_any = true;
		if (strcmp(only, name) == 0)
			return true;
	}
	return !*ret_any;
}

/* What --only names must be there; the rest is nobody's business. */
static int keep_wanted(struct import *import, struct mayfly_error *err)
{
	struct entries *entries = &import->entries;
	size_t kept = 0, at = 0;
	const char *only;
	bool any = false;

	while ((only = argument_next(import->cli->arguments, "only", &at)))
		if (!entries_find(entries, only, strlen(only)))
			return error_set(err, -ENOENT, "%s has no %s", import->path, only);
	for (size_t i = 0; i < entries->count; i++) {
		struct entry entry = entry_take(&entries->items[i]);

		if (is_wanted(import, entry.name, &any))
			entries->items[kept++] = entry;
		else
			entry_done(&entry);
	}
	entries->count = kept;
	/* What it left out was not asked for either. */
	if (any)
		text_list_done(&entries->left_out);
	return 0;
}

/* The name that the broker knows ENTRY by; what cannot be one is not repeated: a file of something
 * else may have anything in that place. */
static int full_name(const struct import *import, const struct entry *entry, char **ret_name,
	struct mayfly_error *err)
{
	AUTO_FREE char *name = text_format("%s/%s", import->set, entry->name);
	struct secret_reference reference;

	if (secret_reference_parse(name, &reference, err) < 0)
		return entry->line ? error_set(err, -EINVAL,
					     "%s, line %u: no secret can have this name\n"
					     "import the others with --only NAME",
					     import->path, entry->line)
				   : error_within(err, "%s", entry->path);
	*ret_name = ptr_take(&name);
	return 0;
}

/* Empty ones go: a secret has at least one byte. Then every name is checked. */
static int check_entries(struct import *import, struct mayfly_error *err)
{
	struct entries *entries = &import->entries;
	size_t kept = 0;

	for (size_t i = 0; i < entries->count; i++) {
		AUTO_FREE char *name = NULL;
		int r = full_name(import, &entries->items[i], &name, err);
		struct entry entry;

		if (r < 0)
			return r;
		entry = entry_take(&entries->items[i]);
		if (entry.path || entry.length > 0) {
			entries->items[kept++] = entry;
			continue;
		}
		text_list_add(&entries->left_out, "line %u: %s is empty", entry.line, entry.name);
		entry_done(&entry);
	}
	entries->count = kept;
	if (kept > 0)
		return 0;
	return error_set(err, -ENODATA, "%s has no value to import", import->path);
}

static int check_set(const struct import *import, struct mayfly_error *err)
{
	AUTO_JSON json_t *reply = NULL;
	json_t *set;
	size_t i;
	int r = operator_ask(import->cli, "ListSets", NULL, &reply, err);

	if (r < 0)
		return r;
	json_array_foreach (json_object_get(reply, "sets"), i, set)
		if (strcmp(json_text(set, "name"), import->set) == 0)
			return 0;
	return error_set(err, -ENOENT,
		"there is no set '%s'\n`mayfly set list` shows the sets, `mayfly set create` makes "
		"one",
		import->set);
}

static int ask(const struct import *import, const char *method, const char *name,
	const struct entry *entry, json_t **ret_reply, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(sealed_value_done) struct sealed_value sealed = SEALED_VALUE_EMPTY;
	const bool stage = import->stage && strcmp(method, "Put") == 0;
	AUTO_SECRET value = { 0 };
	int r = entry_value(import->cli, &import->entries, entry, &value, err);

	if (r == 0)
		r = sealed_value_new(&value, &sealed, err);
	if (r < 0)
		return r;
	return operator_call(import->cli,
		&(struct operator_call){ .method = method,
			.parameters = json_made(json_pack("{s:s, s:i, s:o*}", "name", name,
				"value_fd", 0, "stage", stage ? json_true() : NULL)),
			.fds = &sealed.fd,
			.fds_count = 1 },
		ret_reply, err);
}

/* What putting ENTRY comes to: created, unchanged, staged, or differs. */
static int plan(const struct import *import, const struct entry *entry, const char **ret_outcome,
	struct mayfly_error *err)
{
	AUTO_FREE char *name = NULL;
	AUTO_JSON json_t *reply = NULL;
	int r = full_name(import, entry, &name, err);

	if (r == 0)
		r = ask(import, "Verify", name, entry, &reply, err);
	*ret_outcome = "created";
	if (r == -ENOENT)
		return 0;
	*ret_outcome = json_is_true(json_object_get(reply, "same")) ? "unchanged"
		       : import->stage				    ? "staged"
								    : "differs";
	return r;
}

static void note(struct import *import, const struct entry *entry, const char *outcome)
{
	const char *shown = strcmp(outcome, "differs") == 0 ? "another value is stored" : outcome;

	(void)json_array_append_new(
		import->outcomes, json_made(json_pack("{s:s+++, s:s}", "name", import->set, "/",
					  entry->name, "", "outcome", outcome)));
	if (!import->cli->json)
		say("%s/%s: %s\n", import->set, entry->name, shown);
}

/* Nothing is put while one of them would be refused. */
static int plan_all(struct import *import, struct mayfly_error *err)
{
	size_t differing = 0;

	for (size_t i = 0; i < import->entries.count; i++) {
		const struct entry *entry = &import->entries.items[i];
		const char *outcome;
		int r = plan(import, entry, &outcome, err);

		if (r < 0)
			return r;
		differing += strcmp(outcome, "differs") == 0;
		if (import->is_dry || strcmp(outcome, "differs") == 0)
			note(import, entry, outcome);
	}
	if (differing == 0)
		return 0;
	return error_set(err, -EEXIST,
		"%zu of %zu have another value already: nothing was imported\n"
		"--stage takes the values for containers started from now on",
		differing, import->entries.count);
}

static int put_all(struct import *import, struct mayfly_error *err)
{
	for (size_t i = 0; i < import->entries.count; i++) {
		const struct entry *entry = &import->entries.items[i];
		AUTO_FREE char *name = NULL;
		AUTO_JSON json_t *reply = NULL;
		int r = full_name(import, entry, &name, err);

		if (r == 0)
			r = ask(import, "Put", name, entry, &reply, err);
		if (r < 0)
			return error_within(err,
				"%zu of %zu are imported, then %s (do it again: what is there is "
				"left as it is)",
				i, import->entries.count, name ? name : "");
		note(import, entry, json_text(reply, "outcome"));
	}
	return 0;
}

static json_t *list_to_json(const struct text_list *list)
{
	json_t *array = json_made(json_array());

	for (size_t i = 0; i < list->count; i++)
		(void)json_array_append_new(array, json_made(json_string(list->items[i])));
	return array;
}

static int tell(struct import *import, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(text_list_done) struct text_list plain = { 0 };
	const struct text_list *left_out = &import->entries.left_out;
	int r = 0;

	if (strcmp(import->path, "-") != 0)
		r = plain_text_find(import->cli, import->path, &import->entries, &plain, err);
	if (r < 0)
		return r;
	if (import->cli->json)
		return print_json(json_made(json_pack("{s:b, s:O, s:o, s:o}", "dry_run",
			import->is_dry, "secrets", import->outcomes, "left_out",
			list_to_json(left_out), "plain_text", list_to_json(&plain))));
	for (size_t i = 0; i < left_out->count; i++)
		say("left out: %s\n", left_out->items[i]);
	if (import->is_dry)
		say("Nothing was changed.\n");
	if (plain.count > 0)
		say("Plain text that still lies about:\n");
	for (size_t i = 0; i < plain.count; i++)
		say("  %s\n", plain.items[i]);
	if (plain.count > 0)
		say("Remove it when the containers get their files, and think of backups of it.\n");
	return CLI_DONE;
}

int import_run(struct cli *cli, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(import_done)
	struct import import = {
		.cli = cli,
		.path = cli->arguments->words[0],
		.set = argument_value(cli->arguments, "set"),
		.is_dry = argument_flag(cli->arguments, "dry-run"),
		.stage = argument_flag(cli->arguments, "stage"),
	};
	int r;

	if (!import.set)
		return error_set(
			err, CLI_ERROR_USAGE, "into which set?\ngive --set SET, as in --set prod");
	if (set_name_check(import.set, err) < 0)
		return cli_usage(err);
	import.outcomes = json_made(json_array());
	r = parse(&import, err);
	if (r == 0)
		r = keep_wanted(&import, err);
	if (r == 0)
		r = check_entries(&import, err);
	if (r == 0)
		r = check_set(&import, err);
	if (r == 0)
		r = plan_all(&import, err);
	if (r == 0 && !import.is_dry)
		r = put_all(&import, err);
	return r < 0 ? r : tell(&import, err);
}
