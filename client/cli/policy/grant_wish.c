#include "client/cli/policy/grant_wish.h"

#include "client/cli/command_line/arguments.h"
#include "client/cli/files/config_edit.h"
#include "client/cli/policy/grant.h"
#include "proto/secret_name.h"

#include <stdlib.h>
#include <string.h>

void grant_wish_done(struct grant_wish *wish)
{
	free(wish->name);
	json_decref(wish->grant);
	service_facts_done(&wish->facts);
	*wish = (struct grant_wish){ 0 };
}

static void set_text(json_t *object, const char *key, const char *value)
{
	(void)json_object_set_new(object, key, json_made(json_string(value)));
}

static int match_compose(
	struct cli *cli, struct grant_wish *wish, json_t *match, struct mayfly_error *err)
{
	AUTO_FREE char *driver = config_plugin_name(cli->root);
	int r;

	wish->compose_file = argument_value(cli->arguments, "compose");
	wish->service = cli->arguments->words[0];
	r = service_facts_read(wish->compose_file, wish->service,
		argument_value(cli->arguments, "project-name"), driver, &wish->facts, err);
	if (r < 0)
		return r;
	set_text(match, "compose.project", wish->facts.project);
	set_text(match, "compose.service", wish->service);
	return 0;
}

/* --label KEY=VALUE */
static int match_label(json_t *match, const char *label, struct mayfly_error *err)
{
	const char *equals = strchr(label, '=');
	AUTO_FREE char *key = NULL;

	if (!equals || equals == label)
		return error_set(err, CLI_ERROR_USAGE, "--label is KEY=VALUE");
	key = text_format("container.label.%.*s", (int)(equals - label), label);
	set_text(match, key, equals + 1);
	return 0;
}

static int match_options(struct cli *cli, json_t *match, struct mayfly_error *err)
{
	const char *name = argument_value(cli->arguments, "name");
	const char *digest = argument_value(cli->arguments, "image-digest");
	const char *label;
	size_t at = 0;
	int r = 0;

	if (name)
		set_text(match, "container.name", name);
	while (r == 0 && (label = argument_next(cli->arguments, "label", &at)))
		r = match_label(match, label, err);
	if (digest)
		set_text(match, "image.digest", digest);
	return r;
}

static int read_match(struct cli *cli, struct grant_wish *wish, struct mayfly_error *err)
{
	const bool by_compose = argument_flag(cli->arguments, "compose");
	json_t *match = json_made(json_object());
	int r = 0;

	(void)json_object_set_new(wish->grant, "match", match);
	if (by_compose != (cli->arguments->words_count == 1))
		return error_set(err, CLI_ERROR_USAGE,
			"say which containers: --compose FILE SERVICE, --name CONTAINER, --label "
			"KEY=VALUE or --image-digest sha256:...");
	if (by_compose)
		r = match_compose(cli, wish, match, err);
	if (r == 0)
		r = match_options(cli, match, err);
	if (r == 0 && json_object_size(match) == 0)
		return error_set(err, CLI_ERROR_USAGE,
			"say which containers: --compose FILE SERVICE, --name CONTAINER, --label "
			"KEY=VALUE or --image-digest sha256:...");
	return r;
}

static void read_require(struct cli *cli, json_t *grant)
{
	json_t *require = json_made(json_object());
	const char *wanted;
	size_t at = 0;

	while ((wanted = argument_next(cli->arguments, "require", &at))) {
		const char *equals = strchr(wanted, '=');
		AUTO_FREE char *key = text_format(
			"%.*s", (int)(equals ? equals - wanted : (long)strlen(wanted)), wanted);

		(void)json_object_set_new(require, key, require_value(equals ? equals + 1 : NULL));
	}
	if (json_object_size(require) > 0)
		(void)json_object_set(grant, "require", require);
	json_decref(require);
}

/* What the compose file says about the owner of a secret that --secret names is its default. */
static void add_defaults(const struct service_facts *facts, struct file_spec *spec)
{
	for (size_t i = 0; i < facts->secrets_count; i++) {
		const struct file_spec *known = &facts->secrets[i];

		if (strcmp(known->name, spec->name) != 0)
			continue;
		if (!spec->has_uid && known->has_uid) {
			spec->has_uid = true;
			spec->uid = known->uid;
		}
		if (!spec->has_gid && known->has_gid) {
			spec->has_gid = true;
			spec->gid = known->gid;
		}
		if (!spec->has_mode && known->has_mode) {
			spec->has_mode = true;
			spec->mode = known->mode;
		}
	}
}

static int read_given_secret(
	const struct grant_wish *wish, const char *given, json_t *entries, struct mayfly_error *err)
{
	struct file_spec spec;

	if (file_spec_parse(given, strlen(given), &spec, err) < 0) {
		(void)error_within(err, "--secret");
		return cli_usage(err);
	}
	add_defaults(&wish->facts, &spec);
	(void)json_array_append_new(entries, grant_entry(&spec));
	return 0;
}

static int read_secrets(struct cli *cli, struct grant_wish *wish, struct mayfly_error *err)
{
	json_t *entries = json_made(json_array());
	const bool from_file = !argument_flag(cli->arguments, "secret");
	const char *given;
	size_t at = 0;
	int r = 0;

	(void)json_object_set_new(wish->grant, "secrets", entries);
	while (r == 0 && (given = argument_next(cli->arguments, "secret", &at)))
		r = read_given_secret(wish, given, entries, err);
	if (r < 0)
		return r;
	/* Without --secret: all that the compose file names for the service. */
	for (size_t i = 0; from_file && i < wish->facts.secrets_count; i++)
		(void)json_array_append_new(entries, grant_entry(&wish->facts.secrets[i]));
	if (json_array_size(entries) == 0)
		return error_set(
			err, CLI_ERROR_USAGE, "say which secrets: --secret NAME, once for each");
	return 0;
}

/* A grant's file is named after it, so its name is one of a file. */
static int choose_name(struct cli *cli, struct grant_wish *wish, struct mayfly_error *err)
{
	const char *given = argument_value(cli->arguments, "grant");
	const char *container = argument_value(cli->arguments, "name");

	if (given)
		wish->name = text_copy(given);
	else if (wish->service)
		wish->name = text_format("%s-%s", wish->facts.project, wish->service);
	else if (container && !strchr(container, '*'))
		wish->name = text_copy(container);
	else
		return error_set(err, CLI_ERROR_USAGE, "give the grant a name: --grant NAME");
	if (secret_name_check(wish->name, err) < 0 || strchr(wish->name, '/')) {
		(void)error_set(err, CLI_ERROR_USAGE,
			"a grant's name has letters, digits, '.', '_' and '-'\ngive one: --grant "
			"NAME");
		return CLI_ERROR_USAGE;
	}
	set_text(wish->grant, "name", wish->name);
	return 0;
}

int grant_wish_read(struct cli *cli, struct grant_wish *ret_wish, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(grant_wish_done)
	struct grant_wish wish = { .grant = json_made(json_object()) };
	const char *set = argument_value(cli->arguments, "set");
	int r;

	/* The name stands first in the file. */
	set_text(wish.grant, "name", "");
	if (set && set_name_check(set, err) < 0)
		return cli_usage(err);
	r = read_match(cli, &wish, err);
	if (r < 0)
		return r;
	read_require(cli, wish.grant);
	if (set)
		set_text(wish.grant, "set", set);
	r = read_secrets(cli, &wish, err);
	if (r == 0)
		r = choose_name(cli, &wish, err);
	if (r < 0)
		return r;
	*ret_wish = wish;
	wish = (struct grant_wish){ 0 };
	return 0;
}
