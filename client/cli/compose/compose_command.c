#include "client/cli/compose/compose_command.h"

#include "client/cli/compose/program.h"
#include "client/cli/compose/yaml.h"
#include "client/cli/terminal/print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void compose_command_done(struct compose_command *command)
{
	free(command->version);
	*command = (struct compose_command){ 0 };
}

const char *compose_command_text(const struct compose_command *command)
{
	return command->words[1] ? "docker compose" : "docker-compose";
}

/* Asks WORDS for the version; true if such a program is there and answers. */
static bool answers(const char *const words[2], char **ret_version)
{
	const char *argv[] = { words[0], words[1] ? words[1] : "version",
		words[1] ? "version" : "--short", words[1] ? "--short" : NULL, NULL };
	MAYFLY_CLEANUP(program_output_done) struct program_output output = { 0 };

	if (program_run(argv, &output, NULL) < 0 || output.status != 0)
		return false;
	output.text[strcspn(output.text, "\r\n")] = '\0';
	*ret_version = text_copy(output.text);
	return true;
}

static int read_abilities(struct compose_command *command, struct mayfly_error *err)
{
	const char *argv[] = { command->words[0], command->words[1] ? command->words[1] : "config",
		command->words[1] ? "config" : "--help", command->words[1] ? "--help" : NULL,
		NULL };
	MAYFLY_CLEANUP(program_output_done) struct program_output output = { 0 };
	int r = program_run(argv, &output, err);

	if (r < 0)
		return r;
	command->has_json = strstr(output.text, "--format") != NULL;
	command->has_no_interpolate = strstr(output.text, "--no-interpolate") != NULL;
	command->has_no_env_resolution = strstr(output.text, "--no-env-resolution") != NULL;
	command->has_no_path_resolution = strstr(output.text, "--no-path-resolution") != NULL;
	command->has_no_normalize = strstr(output.text, "--no-normalize") != NULL;
	return 0;
}

int compose_command_find(struct compose_command *ret_command, struct mayfly_error *err)
{
	static const char *const candidates[][2] = { { "docker", "compose" },
		{ "docker-compose", NULL } };
	struct compose_command command = { 0 };
	int r;

	for (size_t i = 0; i < 2 && !command.version; i++)
		if (answers(candidates[i], &command.version))
			memcpy(command.words, candidates[i], sizeof command.words);
	if (!command.version)
		return error_set(err, -ENOENT,
			"neither `docker compose` nor `docker-compose` is here\ninstall Docker "
			"Compose " COMPOSE_NEEDED " or newer (package docker-compose-plugin)");
	r = read_abilities(&command, err);
	if (r < 0) {
		compose_command_done(&command);
		return r;
	}
	*ret_command = command;
	return 0;
}

/* True if VERSION ("2.24.3", "v2.24.3") is older than COMPOSE_NEEDED. One that is no version, as
 * "dev", is not: then only what `config --help` offers counts. */
static bool is_older(const char *version)
{
	unsigned is[3] = { 0 }, needed[3] = { 0 };

	if (sscanf(version[0] == 'v' ? version + 1 : version, "%u.%u.%u", &is[0], &is[1], &is[2]) !=
		3)
		return false;
	(void)sscanf(COMPOSE_NEEDED, "%u.%u.%u", &needed[0], &needed[1], &needed[2]);
	for (size_t i = 0; i < 3; i++)
		if (is[i] != needed[i])
			return is[i] < needed[i];
	return false;
}

int compose_command_require(const struct compose_command *command, struct mayfly_error *err)
{
	if (command->has_json && command->has_no_interpolate && !is_older(command->version))
		return 0;
	return error_set(err, -EOPNOTSUPP,
		"Docker Compose %s is too old for this\ninstall " COMPOSE_NEEDED
		" or newer (package docker-compose-plugin); volumes of the driver mayfly work "
		"with any",
		command->version);
}

/* A list of words for exec; the words are borrowed. */
struct word_list {
	const char **words;
	size_t count;
};

static void word_add(struct word_list *list, const char *word)
{
	list->words[list->count++] = word;
}

static void config_words(const struct compose_command *command,
	const struct config_request *request, struct word_list *list)
{
	word_add(list, command->words[0]);
	if (command->words[1])
		word_add(list, command->words[1]);
	if (command->has_json) {
		/* Services of every profile: `up SERVICE` starts them too. */
		word_add(list, "--profile");
		word_add(list, "*");
	}
	for (size_t i = 0; i < request->options->count; i++)
		word_add(list, request->options->items[i]);
	word_add(list, "config");
	if (command->has_json) {
		word_add(list, "--format");
		word_add(list, "json");
	}
	if (command->has_no_interpolate)
		word_add(list, "--no-interpolate");
	if (command->has_no_env_resolution)
		word_add(list, "--no-env-resolution");
	if (request->keep_paths && command->has_no_path_resolution)
		word_add(list, "--no-path-resolution");
	if (!request->normalize && command->has_no_normalize)
		word_add(list, "--no-normalize");
	word_add(list, NULL);
}

static int parse_model(
	const struct program_output *output, json_t **ret_model, struct mayfly_error *err)
{
	json_error_t where;
	json_t *model = json_loadb(output->text, output->length, 0, &where);

	if (!model && yaml_read(output->text, output->length, &model, err) < 0)
		return error_within(err, "read what Compose's config prints");
	if (!json_is_object(model)) {
		json_decref(model);
		return error_set(err, -EBADMSG, "what Compose's config prints is no object");
	}
	*ret_model = model;
	return 0;
}

int compose_config(const struct compose_command *command, const struct config_request *request,
	json_t **ret_model, struct mayfly_error *err)
{
	AUTO_FREE const char **words = calloc(request->options->count + 16, sizeof(char *));
	MAYFLY_CLEANUP(program_output_done) struct program_output output = { 0 };
	struct word_list list = { .words = words };
	int r;

	if (!words)
		return error_errno(err, -ENOMEM, "run Compose");
	config_words(command, request, &list);
	r = program_run(words, &output, err);
	if (r < 0)
		return r;
	if (output.status != 0) {
		say_aside("%s", output.complaint);
		return error_set(err, -EIO, "Compose does not take the file (exit status %d)",
			output.status);
	}
	return parse_model(&output, ret_model, err);
}
