#include "client/cli/command_line/arguments.h"
#include "client/cli/compose/compose_command.h"
#include "client/cli/compose/compose_verbs.h"
#include "client/cli/compose/conversion.h"
#include "client/cli/compose/invocation.h"
#include "client/cli/compose/yaml.h"
#include "client/cli/files/config_edit.h"
#include "client/cli/terminal/print.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Commands that read no compose file. */
static bool needs_no_file(const struct invocation *invocation)
{
	static const char *const commands[] = { "version", "help", "ls", "completion" };

	if (!invocation->rest[0])
		return true;
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (strcmp(invocation->rest[0], commands[i]) == 0)
			return true;
	return false;
}

/* Commands that may start something: what is worth knowing is said before them. */
static bool starts_something(const char *command)
{
	static const char *const commands[] = { "up", "create", "run", "start", "build", "watch" };

	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		if (strcmp(command, commands[i]) == 0)
			return true;
	return false;
}

/* Becomes Compose: signals and exit status are its own. OPTIONS are before the command. */
static int become(const struct compose_command *command, const struct text_list *options,
	const char *const *rest, struct mayfly_error *err)
{
	size_t count = 0, rest_count = 0;
	char **argv;

	while (rest[rest_count])
		rest_count++;
	argv = calloc(options->count + rest_count + 3, sizeof(char *));
	if (!argv)
		return error_errno(err, -ENOMEM, "run Compose");
	argv[count++] = text_copy(command->words[0]);
	if (command->words[1])
		argv[count++] = text_copy(command->words[1]);
	for (size_t i = 0; i < options->count; i++)
		argv[count++] = text_copy(options->items[i]);
	for (size_t i = 0; i < rest_count; i++)
		argv[count++] = text_copy(rest[i]);
	(void)fflush(stdout);
	execvp(argv[0], argv);
	(void)error_errno(err, -errno, "run %s", argv[0]);
	for (size_t i = 0; i < count; i++)
		free(argv[i]);
	free(argv);
	return err->code;
}

/* The user's own words, nothing added. */
static int pass_through(
	struct cli *cli, const struct compose_command *command, struct mayfly_error *err)
{
	const struct text_list none = { 0 };

	return become(command, &none, cli->arguments->words, err);
}

int conversion_refuse(const struct conversion *conversion, struct mayfly_error *err)
{
	if (conversion->refusals.count == 0)
		return 0;
	for (size_t i = 0; i < conversion->refusals.count; i++)
		say_aside("%s\n", conversion->refusals.items[i]);
	return error_set(err, -EINVAL,
		"%zu thing%s in the file cannot be served by Mayfly\nchange what is "
		"named above; nothing was started or written",
		conversion->refusals.count, conversion->refusals.count == 1 ? "" : "s");
}

/* The override in a file that exists only as a descriptor. It has no value in it, and outlives
 * exec: that is its purpose. */
static int override_open(json_t *model, const struct conversion *conversion, const char *driver,
	int *ret_fd, struct mayfly_error *err)
{
	AUTO_JSON json_t *override = conversion_override(model, conversion, driver);
	AUTO_FD fd = memfd_create("mayfly-override", 0);
	AUTO_FREE char *text = NULL;
	size_t length;
	int r;

	if (fd < 0)
		return error_errno(err, -errno, "make a memory file");
	r = yaml_write(override, "", true, &text, &length, err);
	if (r < 0)
		return r;
	if (write(fd, text, length) != (ssize_t)length)
		return error_errno(err, -EIO, "write the override");
	*ret_fd = fd_take(&fd);
	return 0;
}

/* A Compose that did not understand `!reset` would mount the plain files beside ours. */
static int check_in_force(const struct compose_command *command, const struct text_list *options,
	const struct conversion *conversion, struct mayfly_error *err)
{
	const struct config_request request = { .options = options };
	AUTO_JSON json_t *merged = NULL;

	if (compose_config(command, &request, &merged, err) == 0 &&
		conversion_is_in_force(merged, conversion))
		return 0;
	return error_set(err, -EOPNOTSUPP,
		"Docker Compose %s does not take the secrets out of the file "
		"(`!reset`)\ninstall " COMPOSE_NEEDED
		" or newer, or make a copy with `mayfly compose convert`",
		command->version);
}

static int run_converted(struct cli *cli, const struct compose_command *command,
	struct invocation *invocation, json_t *model, const struct conversion *conversion,
	struct mayfly_error *err)
{
	AUTO_FREE char *driver = config_plugin_name(cli->root);
	MAYFLY_CLEANUP(text_list_done) struct text_list options = { 0 };
	AUTO_FREE char *path = NULL;
	AUTO_FD fd = -1;
	int r = compose_command_require(command, err);

	if (r == 0)
		r = override_open(model, conversion, driver, &fd, err);
	if (r < 0)
		return r;
	path = text_format("/proc/self/fd/%d", fd);
	invocation_options(invocation, path, &options);
	r = check_in_force(command, &options, conversion, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < invocation->others.count; i++)
		text_list_add(&options, "%s", invocation->others.items[i]);
	return become(command, &options, invocation->rest, err);
}

static int run_with_files(struct cli *cli, const struct compose_command *command,
	struct invocation *invocation, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(conversion_done) struct conversion conversion = { 0 };
	MAYFLY_CLEANUP(text_list_done) struct text_list options = { 0 };
	const struct config_request request = { .options = &options };
	AUTO_JSON json_t *model = NULL;
	int r;

	invocation_options(invocation, NULL, &options);
	r = compose_config(command, &request, &model, err);
	if (r < 0)
		return r;
	conversion_plan(model, &conversion);
	r = conversion_refuse(&conversion, err);
	if (r < 0)
		return r;
	for (size_t i = 0; starts_something(invocation->rest[0]) && i < conversion.notes.count; i++)
		say_aside("note: %s\n", conversion.notes.items[i]);
	if (conversion.count == 0)
		return pass_through(cli, command, err);
	return run_converted(cli, command, invocation, model, &conversion, err);
}

int compose_run(struct cli *cli, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(compose_command_done) struct compose_command command = { 0 };
	MAYFLY_CLEANUP(invocation_done) struct invocation invocation = { 0 };
	int r = compose_command_find(&command, err);

	if (r == 0)
		r = invocation_parse(cli->arguments->words, &invocation, err);
	if (r == 0)
		r = invocation_find_files(&invocation, err);
	if (r < 0)
		return r;
	if (needs_no_file(&invocation) || invocation.files.count == 0)
		return pass_through(cli, &command, err);
	return run_with_files(cli, &command, &invocation, err);
}
