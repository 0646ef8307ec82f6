#include "client/cli/command_line/arguments.h"
#include "client/cli/compose/compose_command.h"
#include "client/cli/files/config_edit.h"
#include "client/cli/operator/link.h"
#include "client/cli/policy/grant.h"
#include "client/cli/policy/grant_wish.h"
#include "client/cli/policy/policy_files.h"
#include "client/cli/policy/policy_verbs.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/prompt.h"

#include <string.h>

/* Where the wished grant stands among the files in memory. */
struct placed_grant {
	struct policy_file *file;
	json_t *grant; /* borrowed from the file */
	int changes;
};

/* Joins the wish with the grant of that name, wherever it stands, or adds it to NAME.json. */
static int place(struct policy_files *files, const struct grant_wish *wish,
	struct placed_grant *ret_placed, struct mayfly_error *err)
{
	AUTO_FREE char *file_name = text_format("%s.json", wish->name);
	struct placed_grant placed = { 0 };
	json_t *grants;

	placed.file = policy_files_find(files, wish->name, &placed.grant, NULL);
	if (placed.file) {
		placed.changes = grant_join(placed.grant, wish->grant, err);
		if (placed.changes < 0)
			return error_within(err, "grant %s in %s", wish->name, placed.file->name);
		*ret_placed = placed;
		return 0;
	}
	placed.file = policy_files_get(files, file_name);
	grants = policy_file_grants(placed.file);
	if (!grants)
		return error_set(err, -EINVAL, "\"grants\" in %s is no list", file_name);
	placed.grant = wish->grant;
	placed.changes = 1;
	(void)json_array_append(grants, wish->grant);
	*ret_placed = placed;
	return 0;
}

/* A name that begins with a set's name is probably meant as SET/NAME, which a grant does not take:
 * it is the whole name, in whatever set the grant means. */
static void warn_set_in_name(json_t *names, const char *set_name)
{
	const size_t length = strlen(set_name);
	size_t i;
	json_t *name;

	json_array_foreach (names, i, name) {
		const char *text = json_string_value(name);

		if (strncmp(text, set_name, length) == 0 && text[length] == '/')
			say_aside("warning: a grant names secrets without their set; '%s' should "
				  "probably be '%s'\n",
				text, text + length + 1);
	}
}

/* The set that the grant means: its own, or the host's environment. The caller frees *RET_SET. */
static int settle_set(struct cli *cli, json_t *grant, char **ret_set, struct mayfly_error *err)
{
	AUTO_JSON json_t *names = grant_secret_names(grant);
	AUTO_JSON json_t *reply = NULL;
	size_t i;
	json_t *set;
	int r = operator_ask(cli, "ListSets", NULL, &reply, err);

	if (r < 0)
		return r;
	json_array_foreach (json_object_get(reply, "sets"), i, set)
		warn_set_in_name(names, json_text(set, "name"));
	*ret_set = text_copy(json_text(grant, "set")[0] ? json_text(grant, "set")
							: json_text(reply, "environment"));
	return 0;
}

/* Says which secrets are still to be put. What the broker cannot tell now it says at start. */
static void warn_missing(struct cli *cli, json_t *grant, const char *set)
{
	AUTO_JSON json_t *names = grant_secret_names(grant);
	size_t i;
	json_t *name;

	json_array_foreach (names, i, name) {
		AUTO_FREE char *full = text_format("%s/%s", set, json_string_value(name));
		struct mayfly_error err;
		int r = set[0] ? operator_ask(cli, "Show",
					 json_made(json_pack("{s:s}", "name", full)), NULL, &err)
			       : -ENODATA;

		if (r == -ENOENT)
			say_aside("%s does not exist yet: mayfly put %s\n", full, full);
		else if (r < 0 && set[0]) {
			say_aside("whether the secrets exist is not known: %.*s\n",
				(int)strcspn(err.text, "\n"), err.text);
			return;
		}
	}
	if (!set[0])
		say_aside("this host has no environment yet: mayfly init --environment SET\n");
}

static void warn_owner(const struct grant_wish *wish, json_t *grant)
{
	MAYFLY_CLEANUP(text_list_done) struct text_list warnings = { 0 };

	if (!wish->compose_file)
		return;
	grant_warn_owner(grant, wish->facts.user, &warnings);
	for (size_t i = 0; i < warnings.count; i++)
		say_aside("warning: %s\n", warnings.items[i]);
}

static void tell_next(const struct cli *cli, const struct grant_wish *wish)
{
	AUTO_FREE char *driver = config_plugin_name(cli->root);
	const char *file = wish->compose_file;

	if (!file)
		say("Next: docker run --mount type=volume,volume-driver=%s,source=secrets,"
		    "target=/run/secrets,readonly ...\n",
			driver);
	else if (wish->facts.has_secrets && wish->facts.compose_is_old)
		say("Next: install Docker Compose " COMPOSE_NEEDED
		    " or newer, then mayfly compose -f %s up -d\n",
			file);
	else if (wish->facts.has_secrets)
		say("Next: mayfly compose -f %s up -d\n  (or once: mayfly compose convert %s)\n",
			file, file);
	else if (wish->facts.has_volume)
		say("Next: %s -f %s up -d\n", wish->facts.compose, file);
	else
		say("Next: give service %s the volume, then %s -f %s up -d\n"
		    "  services: { %s: { volumes: [ \"secrets:/run/secrets:ro\" ] } }\n"
		    "  volumes: { secrets: { driver: %s } }\n",
			wish->service, wish->facts.compose, file, wish->service, driver);
}

static int finish(struct cli *cli, const struct grant_wish *wish, const struct placed_grant *placed)
{
	if (cli->json)
		return print_json(json_pack("{s:s, s:s, s:b, s:O}", "grant", wish->name, "file",
			placed->file->name, "changed", placed->changes > 0 ? 1 : 0, "content",
			placed->grant));
	if (placed->changes == 0)
		say("The grant says that already: nothing was changed.\n");
	else
		say("Grant %s is in force (%s).\n", wish->name, placed->file->name);
	tell_next(cli, wish);
	return CLI_DONE;
}

static int confirm_and_commit(
	struct cli *cli, const struct placed_grant *placed, struct mayfly_error *err)
{
	int r = prompt_confirm(cli, "Allow that? (y/N)", err);

	return r < 0 ? r : policy_file_commit(cli, placed->file, err);
}

static int show_and_commit(struct cli *cli, const struct grant_wish *wish,
	struct policy_files *files, const struct placed_grant *placed, struct mayfly_error *err)
{
	AUTO_FREE char *set = NULL;
	int r = settle_set(cli, placed->grant, &set, err);

	if (r < 0)
		return r;
	if (!cli->json)
		grant_print(placed->grant, json_text(placed->grant, "set")[0] ? "" : set);
	warn_owner(wish, placed->grant);
	warn_missing(cli, placed->grant, set);
	if (placed->changes > 0)
		r = policy_files_check(cli, files, err);
	if (r == 0 && placed->changes > 0)
		r = confirm_and_commit(cli, placed, err);
	return r < 0 ? r : finish(cli, wish, placed);
}

int allow_run(struct cli *cli, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(grant_wish_done) struct grant_wish wish = { 0 };
	MAYFLY_CLEANUP(policy_files_done) struct policy_files files = { 0 };
	struct placed_grant placed = { 0 };
	int r = grant_wish_read(cli, &wish, err);

	if (r == 0)
		r = policy_files_read(cli->root, &files, err);
	if (r == 0)
		r = place(&files, &wish, &placed, err);
	return r < 0 ? r : show_and_commit(cli, &wish, &files, &placed, err);
}
