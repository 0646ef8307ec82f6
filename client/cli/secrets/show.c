#include "client/cli/operator/link.h"
#include "client/cli/secrets/secret_verbs.h"
#include "client/cli/terminal/columns.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <string.h>

static void print_secret(const char *asked, json_t *reply)
{
	json_t *secret = json_object_get(reply, "secret");
	const char *removed = json_text(secret, "removed");
	const char *found_in = json_text(reply, "found_in");
	const size_t set_length = strcspn(asked, "/");
	const long long lines = json_number(reply, "lines");

	say_painted(PAINT_STRONG, "%s\n", json_text(secret, "name"));
	if (strlen(found_in) != set_length || memcmp(found_in, asked, set_length) != 0)
		say("  found in  %s, which %.*s inherits\n", found_in, (int)set_length, asked);
	say("  version   %lld; %lld kept, at most %lld\n",
		(long long)json_number(secret, "current"),
		(long long)json_number(secret, "versions"), (long long)json_number(reply, "keep"));
	say("  changed   %s\n", json_text(secret, "changed"));
	say("  value     %lld byte%s, ", (long long)json_number(reply, "bytes"),
		json_number(reply, "bytes") == 1 ? "" : "s");
	if (json_is_true(json_object_get(reply, "is_text")))
		say("text of %lld line%s, %s\n", lines, lines == 1 ? "" : "s",
			json_is_true(json_object_get(reply, "final_newline"))
				? "with a final newline"
				: "no final newline");
	else
		say("not text\n");
	if (removed[0])
		say("  removed   %s; `mayfly undelete %s` brings it back\n", removed,
			json_text(secret, "name"));
}

int show_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_JSON json_t *reply = NULL;
	const char *name;
	int r = secret_word(cli, 0, &name, err);

	if (r == 0)
		r = operator_ask(
			cli, "Show", json_made(json_pack("{s:s}", "name", name)), &reply, err);
	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	print_secret(name, reply);
	return CLI_DONE;
}

static void print_versions(json_t *versions)
{
	static const char *const heads[] = { "VERSION", "STATE", "CREATED", "BYTES" };
	MAYFLY_CLEANUP(columns_done) struct columns columns;
	size_t i;
	json_t *version;

	columns_init(&columns, heads, 4);
	json_array_foreach (versions, i, version) {
		AUTO_FREE char *number = text_format("%lld", json_number(version, "number"));
		AUTO_FREE char *bytes = text_format("%lld", json_number(version, "bytes"));
		const char *cells[] = { number, json_text(version, "state"),
			json_text(version, "created"), bytes };

		columns_add(&columns, cells);
	}
	columns_print(&columns);
}

int history_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_JSON json_t *reply = NULL;
	const char *name;
	int r = secret_word(cli, 0, &name, err);

	if (r == 0)
		r = operator_ask(
			cli, "History", json_made(json_pack("{s:s}", "name", name)), &reply, err);
	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	print_versions(json_object_get(reply, "versions"));
	return CLI_DONE;
}
