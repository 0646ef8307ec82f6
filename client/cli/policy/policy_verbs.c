#include "client/cli/policy/policy_verbs.h"

#include "client/cli/command_line/arguments.h"
#include "client/cli/files/config_edit.h"
#include "client/cli/files/edited_file.h"
#include "client/cli/operator/link.h"
#include "client/cli/operator/reply_error.h"
#include "client/cli/policy/grant.h"
#include "client/cli/policy/policy_files.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <fcntl.h>

/* The files named on the command line, as the call's parameter; NULL without any. */
static int read_named(struct cli *cli, json_t **ret_files, struct mayfly_error *err)
{
	AUTO_JSON json_t *files = NULL;

	for (size_t i = 0; i < cli->arguments->words_count; i++) {
		const char *path = cli->arguments->words[i];
		AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		AUTO_FREE char *text = NULL;
		size_t length;
		json_t *file;

		if (fd < 0)
			return error_errno(err, -errno, "open '%s'", path);
		if (file_read_all(fd, path, &text, &length, err) < 0)
			return err->code;
		file = json_pack("{s:s, s:s#}", "name", path, "text", text, length);
		if (!file)
			return error_set(err, -EINVAL, "'%s' is no text", path);
		if (!files)
			files = json_made(json_array());
		(void)json_array_append_new(files, file);
	}
	*ret_files = ptr_take(&files);
	return 0;
}

static void print_changes(json_t *changes)
{
	size_t i;
	json_t *change;

	json_array_foreach (changes, i, change)
		say("%s (%.12s)\n  before  %s\n  after   %s\n", json_text(change, "container"),
			json_text(change, "container_id"), json_text(change, "before"),
			json_text(change, "after"));
	if (json_array_size(changes) == 0)
		say("no running container would get other files\n");
}

static int tell_check(json_t *reply, bool against_running, struct mayfly_error *err)
{
	const size_t wrong = json_array_size(json_object_get(reply, "complaints"));

	complaints_print(json_object_get(reply, "complaints"));
	policy_notes_print(json_object_get(reply, "notes"));
	if (wrong > 0)
		return error_set(err, -EINVAL,
			"%zu mistake%s in the policy\nit is not in force; what was loaded before "
			"stays",
			wrong, plural((long long)wrong));
	say("%lld grant%s, no mistakes\n", (long long)json_number(reply, "grants"),
		plural(json_number(reply, "grants")));
	if (against_running)
		print_changes(json_object_get(reply, "changes"));
	return CLI_DONE;
}

int policy_check_run(struct cli *cli, struct mayfly_error *err)
{
	const bool against_running = argument_flag(cli->arguments, "against-running");
	AUTO_JSON json_t *reply = NULL;
	json_t *files = NULL;
	int r = read_named(cli, &files, err);

	if (r == 0)
		r = operator_ask(cli, "CheckPolicy",
			json_made(json_pack("{s:o, s:o*}", "files",
				files ? files : json_made(json_array()), "against_running",
				against_running ? json_true() : NULL)),
			&reply, err);
	if (r < 0)
		return r;
	if (!cli->json)
		return tell_check(reply, against_running, err);
	(void)print_json(json_incref(reply));
	return json_array_size(json_object_get(reply, "complaints")) > 0 ? CLI_REFUSED : CLI_DONE;
}

int policy_show_run(struct cli *cli, struct mayfly_error *err)
{
	const char *name = cli->arguments->words[0];
	AUTO_FREE char *environment = config_environment(cli->root);
	AUTO_JSON json_t *reply = NULL;
	size_t i;
	json_t *grant;
	int r = operator_ask(
		cli, "ShowPolicy", json_made(json_pack("{s:s*}", "grant", name)), &reply, err);

	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	json_array_foreach (json_object_get(reply, "grants"), i, grant)
		grant_print(grant, environment);
	if (i == 0)
		say("(no grants)\n");
	return CLI_DONE;
}

int policy_reload_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_JSON json_t *reply = NULL;
	int r = config_reload(cli, &reply, err);

	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	say("configuration and policy are read: %lld grant%s\n",
		(long long)json_number(reply, "grants"), plural(json_number(reply, "grants")));
	return CLI_DONE;
}
