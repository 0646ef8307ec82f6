#include "client/cli/command_line/arguments.h"
#include "client/cli/operator/link.h"
#include "client/cli/sets/set_verbs.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

static void print_names(const char *set, json_t *names)
{
	size_t i;
	json_t *name;

	say_painted(PAINT_STRONG, "only in %s", set);
	say(": %zu\n", json_array_size(names));
	json_array_foreach (names, i, name)
		say("  %s\n", json_string_value(name));
}

static void print_needed(json_t *needed)
{
	size_t i;
	json_t *item;

	if (json_array_size(needed) == 0)
		return;
	say_painted(PAINT_BAD, "needed by grants and missing");
	say(": %zu\n", json_array_size(needed));
	json_array_foreach (needed, i, item)
		say("  %s/%s  (grant %s)\n", json_text(item, "missing_in"), json_text(item, "name"),
			json_text(item, "grant"));
}

int diff_run(struct cli *cli, struct mayfly_error *err)
{
	const char *left = cli->arguments->words[0], *right = cli->arguments->words[1];
	AUTO_JSON json_t *reply = NULL;
	int r = operator_ask(cli, "Diff",
		json_made(json_pack("{s:s, s:s}", "left", left, "right", right)), &reply, err);

	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	print_names(left, json_object_get(reply, "only_left"));
	print_names(right, json_object_get(reply, "only_right"));
	say("in both: %lld\n", (long long)json_number(reply, "both"));
	print_needed(json_object_get(reply, "needed_by_grants"));
	return CLI_DONE;
}
