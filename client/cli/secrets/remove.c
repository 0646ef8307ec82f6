#include "client/cli/command_line/arguments.h"
#include "client/cli/operator/link.h"
#include "client/cli/secrets/secret_verbs.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/prompt.h"
#include "client/cli/terminal/text.h"

static int confirm_purge(struct cli *cli, const char *name, struct mayfly_error *err)
{
	AUTO_FREE char *question =
		text_format("Destroy every version of %s? Nothing brings them back. (y/N)", name);

	return prompt_confirm(cli, question, err);
}

int remove_run(struct cli *cli, struct mayfly_error *err)
{
	const bool purge = argument_flag(cli->arguments, "purge");
	AUTO_JSON json_t *reply = NULL;
	const char *name;
	long long versions;
	int r = secret_word(cli, 0, &name, err);

	if (r == 0)
		r = operator_reach(cli, err);
	if (r == 0 && purge)
		r = confirm_purge(cli, name, err);
	if (r == 0)
		r = operator_ask(cli, "Remove",
			json_made(json_pack(
				"{s:s, s:o*}", "name", name, "purge", purge ? json_true() : NULL)),
			&reply, err);
	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	versions = json_number(reply, "versions");
	if (purge)
		say("%s: %lld version%s destroyed\n", name, versions, plural(versions));
	else
		say("%s: removed with %lld version%s; `mayfly undelete %s` brings it back\n", name,
			versions, plural(versions), name);
	return CLI_DONE;
}

int undelete_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_JSON json_t *reply = NULL;
	const char *name;
	int r = secret_word(cli, 0, &name, err);

	if (r == 0)
		r = operator_ask(
			cli, "Undelete", json_made(json_pack("{s:s}", "name", name)), &reply, err);
	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	say("%s: back, version %lld is current\n", name, (long long)json_number(reply, "version"));
	return CLI_DONE;
}

/* Fewer versions than there are destroys the older ones: that is asked. */
static int confirm_keep(
	struct cli *cli, const char *name, long long versions, struct mayfly_error *err)
{
	AUTO_FREE char *question = NULL;
	AUTO_JSON json_t *reply = NULL;
	long long present;
	int r = operator_ask(cli, "Show", json_made(json_pack("{s:s}", "name", name)), &reply, err);

	if (r < 0)
		return r;
	present = json_number(json_object_get(reply, "secret"), "versions");
	if (present <= versions)
		return 0;
	question = text_format("Destroy the %lld oldest version%s of %s? (y/N)", present - versions,
		plural(present - versions), name);
	return prompt_confirm(cli, question, err);
}

int keep_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_JSON json_t *reply = NULL;
	long long versions, destroyed;
	const char *name;
	int r = secret_word(cli, 0, &name, err);

	if (r == 0)
		r = number_parse("VERSIONS", cli->arguments->words[1], 1, MAYFLY_VERSIONS_KEPT_MAX,
			&versions, err);
	if (r == 0)
		r = confirm_keep(cli, name, versions, err);
	if (r == 0)
		r = operator_ask(cli, "Keep",
			json_made(json_pack(
				"{s:s, s:I}", "name", name, "versions", (json_int_t)versions)),
			&reply, err);
	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	destroyed = json_number(reply, "destroyed");
	say("%s: at most %lld version%s kept; %lld destroyed\n", name, versions, plural(versions),
		destroyed);
	return CLI_DONE;
}
