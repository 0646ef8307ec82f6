#include "client/cli/command_line/arguments.h"
#include "client/cli/compose/compose_command.h"
#include "client/cli/compose/compose_verbs.h"
#include "client/cli/compose/conversion.h"
#include "client/cli/compose/invocation.h"
#include "client/cli/compose/plain_values.h"
#include "client/cli/compose/yaml.h"
#include "client/cli/entry_point/entry_point.h"
#include "client/cli/files/config_edit.h"
#include "client/cli/files/edited_file.h"
#include "client/cli/terminal/print.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The first line of every copy: one that has it may be written again. */
#define MARK "# Made by `mayfly compose convert`"

/* What is bound into containers, on the host that runs them. */
#define EXEC_PROGRAM MAYFLY_PREFIX "/lib/mayfly/exec"

/* What is made of the file. */
struct plan {
	struct conversion conversion;
	struct entry_points points;
	char *driver;
};

static void plan_done(struct plan *plan)
{
	conversion_done(&plan->conversion);
	entry_points_done(&plan->points);
	free(plan->driver);
}

/* From which file to which. */
struct route {
	const char *from; /* the first of the originals */
	char *to;	  /* "-": standard output */
};

/* DIRECTORY of PATH as text that ends in "/" or is empty; the caller frees it. */
static char *directory_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return text_format("%.*s", slash ? (int)(slash + 1 - path) : 0, path);
}

/* "compose.yaml" becomes "compose.mayfly.yaml" beside it. */
static char *default_output(const char *from)
{
	const char *slash = strrchr(from, '/');
	const char *dot = strrchr(slash ? slash : from, '.');

	if (!dot)
		return text_format("%s.mayfly.yaml", from);
	return text_format("%.*s.mayfly%s", (int)(dot - from), from, dot);
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat left, right;

	return stat(a, &left) == 0 && stat(b, &right) == 0 && left.st_dev == right.st_dev &&
	       left.st_ino == right.st_ino;
}

static int check_output(
	const struct invocation *invocation, const char *to, struct mayfly_error *err)
{
	for (size_t i = 0; i < invocation->files.count; i++)
		if (is_same_file(invocation->files.items[i], to))
			return error_set(err, -EEXIST,
				"'%s' is the original, which is never changed\ngive another "
				"--output FILE",
				to);
	return 0;
}

/* Writes TEXT to ROUTE's file, over an older copy but over nothing else. */
static int write_copy(struct cli *cli, const struct route *route, const char *text, size_t length,
	struct mayfly_error *err)
{
	MAYFLY_CLEANUP(edited_file_done) struct edited_file file = EDITED_FILE_EMPTY;
	AUTO_FREE char *directory = directory_part(route->to);
	int r = edited_file_open(directory[0] ? directory : ".", ".", route->to + strlen(directory),
		false, &file, err);

	if (r < 0)
		return r;
	if (file.old_text && strncmp(file.old_text, MARK, strlen(MARK)) != 0 &&
		!argument_flag(cli->arguments, "force"))
		return error_set(err, -EEXIST,
			"'%s' is there and was not made by this command\ngive --force, or another "
			"--output FILE",
			route->to);
	return edited_file_write(&file, text, length, err);
}

/* Where the value lies that a top-level secret comes from, as the command that stores it. */
static void tell_put(const char *set, const char *name, json_t *definition)
{
	const char *file = json_text(definition, "file");
	const char *variable = json_text(definition, "environment");

	if (file[0])
		say("  mayfly put %s/%s --from-file %s\n", set, name, file);
	else if (variable[0])
		say("  printenv %s | mayfly put %s/%s\n", variable, set, name);
	else
		say("  mayfly put %s/%s\n", set, name);
}

static bool is_first_of_service(const struct conversion *conversion, size_t index)
{
	return index == 0 || strcmp(conversion->volumes[index - 1].service,
				     conversion->volumes[index].service) != 0;
}

static void tell_next(struct cli *cli, const struct compose_command *command,
	const struct route *route, const struct conversion *conversion)
{
	AUTO_FREE char *environment = config_environment(cli->root);
	const char *name;
	json_t *definition;

	say("%s is written; %s is as it was. What is left to do:\n", route->to, route->from);
	json_object_foreach (conversion->served, name, definition)
		tell_put(environment[0] ? environment : "SET", name, definition);
	for (size_t i = 0; i < conversion->count; i++)
		if (is_first_of_service(conversion, i))
			say("  mayfly allow --compose %s %s\n", route->to,
				conversion->volumes[i].service);
	say("  %s -f %s up -d\n", compose_command_text(command), route->to);
}

static void tell_notes(
	const struct compose_command *command, json_t *model, const struct plan *plan)
{
	MAYFLY_CLEANUP(text_list_done) struct text_list plain = { 0 };

	plain_values_find(model, &plain);
	for (size_t i = 0; i < plan->conversion.notes.count; i++)
		say_aside("note: %s\n", plan->conversion.notes.items[i]);
	for (size_t i = 0; i < plan->points.count; i++)
		say_aside("note: service %s: its environment is made when it starts: a rotation "
			  "reaches it with \"on_rotate\": \"restart\" in its grant\n",
			plan->points.items[i].service);
	for (size_t i = 0; i < plain.count; i++)
		say_aside("note: %s\n", plain.items[i]);
	if (!command->has_no_env_resolution)
		say_aside("note: Docker Compose %s writes what env_file names into the copy: look "
			  "at `environment` before you commit it\n",
			command->version);
}

static json_t *points_to_json(const struct entry_points *points)
{
	json_t *list = json_made(json_array());

	for (size_t i = 0; i < points->count; i++)
		(void)json_array_append_new(list,
			json_made(json_pack("{s:s, s:s, s:O}", "service", points->items[i].service,
				"directory", points->items[i].directory, "variables",
				points->items[i].variables)));
	return list;
}

static int print_result(const struct route *route, const struct plan *plan)
{
	const struct conversion *conversion = &plan->conversion;
	json_t *volumes = json_made(json_array());

	for (size_t i = 0; i < conversion->count; i++) {
		const struct service_volume *volume = &conversion->volumes[i];

		(void)json_array_append_new(
			volumes, json_made(json_pack("{s:s, s:s, s:s, s:s}", "service",
					 volume->service, "volume", volume->name, "directory",
					 volume->directory, "files", volume->files)));
	}
	return print_json(json_pack("{s:s, s:o, s:o}", "output", route->to, "volumes", volumes,
		"environments", points_to_json(&plan->points)));
}

static int emit(struct cli *cli, const struct compose_command *command, const struct route *route,
	json_t *model, const struct plan *plan, struct mayfly_error *err)
{
	AUTO_FREE char *header = text_format(MARK
		" from %s: its secrets have become volumes.\n"
		"# No value of theirs stands here. Make it again when the original has changed.\n",
		strrchr(route->from, '/') ? strrchr(route->from, '/') + 1 : route->from);
	AUTO_JSON json_t *copy = conversion_apply(model, &plan->conversion, plan->driver);
	AUTO_FREE char *text = NULL;
	size_t length;
	int r;

	entry_points_apply(&plan->points, EXEC_PROGRAM, copy);
	r = yaml_write(copy, header, false, &text, &length, err);
	if (r < 0)
		return r;
	if (strcmp(route->to, "-") == 0) {
		/* A stream that takes nothing is noticed by print_finish(). */
		(void)fwrite(text, 1, length, stdout);
		return CLI_DONE;
	}
	r = write_copy(cli, route, text, length, err);
	if (r < 0)
		return r;
	if (cli->json)
		return print_result(route, plan);
	tell_next(cli, command, route, &plan->conversion);
	return CLI_DONE;
}

/* Finds out what becomes of MODEL. */
static int make_plan(struct cli *cli, const struct route *route, json_t *model,
	struct plan *ret_plan, struct mayfly_error *err)
{
	const char *driver = argument_value(cli->arguments, "driver"), *wish;
	MAYFLY_CLEANUP(plan_done) struct plan plan = { 0 };
	struct text_list *refusals = &plan.conversion.refusals;
	struct mounts mounts;
	size_t at = 0;
	int r;

	plan.driver = driver ? text_copy(driver) : config_plugin_name(cli->root);
	conversion_plan(model, &plan.conversion);
	mounts = (struct mounts){ model, &plan.conversion, plan.driver };
	while ((wish = argument_next(cli->arguments, "env", &at))) {
		r = entry_points_add(&plan.points, wish, &mounts, refusals, err);
		if (r < 0)
			return cli_usage(err);
	}
	entry_points_complete(&plan.points, model, refusals);
	r = conversion_refuse(&plan.conversion, err);
	if (r < 0)
		return r;
	if (plan.conversion.count == 0 && plan.points.count == 0)
		return error_set(err, -ENODATA,
			"no service of %s has secrets: there is nothing "
			"to convert",
			route->from);
	*ret_plan = plan;
	plan = (struct plan){ 0 };
	return 0;
}

static int convert(struct cli *cli, const struct compose_command *command,
	const struct invocation *invocation, const struct route *route, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(plan_done) struct plan plan = { 0 };
	MAYFLY_CLEANUP(text_list_done) struct text_list options = { 0 };
	AUTO_FREE char *from_directory = directory_part(route->from);
	AUTO_FREE char *to_directory = directory_part(route->to);
	const bool stays = strcmp(route->to, "-") == 0 ||
			   is_same_file(from_directory[0] ? from_directory : ".",
				   to_directory[0] ? to_directory : ".");
	const struct config_request request = { .options = &options, .keep_paths = stays };
	AUTO_JSON json_t *model = NULL;
	int r;

	invocation_options(invocation, NULL, &options);
	r = compose_config(command, &request, &model, err);
	if (r < 0)
		return r;
	r = make_plan(cli, route, model, &plan, err);
	if (r < 0)
		return r;
	tell_notes(command, model, &plan);
	if (!stays)
		say_aside(
			"note: %s is in another directory: paths in it are absolute\n", route->to);
	return emit(cli, command, route, model, &plan, err);
}

int convert_run(struct cli *cli, struct mayfly_error *err)
{
	const char *file = cli->arguments->words[0];
	const char *const words[] = { file ? "-f" : NULL, file, NULL };
	const char *output = argument_value(cli->arguments, "output");
	MAYFLY_CLEANUP(compose_command_done) struct compose_command command = { 0 };
	MAYFLY_CLEANUP(invocation_done) struct invocation invocation = { 0 };
	AUTO_FREE char *to = NULL;
	struct route route;
	int r = 0;

	if (cli->json && output && strcmp(output, "-") == 0)
		return error_set(err, CLI_ERROR_USAGE,
			"--json and --output - both want standard output\ngive one of both");
	r = compose_command_find(&command, err);
	if (r == 0)
		r = compose_command_require(&command, err);
	if (r == 0)
		r = invocation_parse(words, &invocation, err);
	if (r == 0)
		r = invocation_find_files(&invocation, err);
	if (r < 0)
		return r;
	if (invocation.files.count == 0)
		return error_set(err, -ENOENT,
			"there is no compose file here\ngive its name: mayfly compose convert "
			"FILE");
	to = output ? text_copy(output) : default_output(invocation.files.items[0]);
	route = (struct route){ .from = invocation.files.items[0], .to = to };
	r = check_output(&invocation, to, err);
	return r < 0 ? r : convert(cli, &command, &invocation, &route, err);
}
