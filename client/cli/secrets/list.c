#include "client/cli/command_line/arguments.h"
#include "client/cli/operator/link.h"
#include "client/cli/secrets/secret_verbs.h"
#include "client/cli/terminal/columns.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <string.h>

/* Puts the secrets of one reply behind those of the replies before. */
static bool collect(json_t *parameters, void *data)
{
	json_t *all = data;

	(void)json_made(
		json_array_extend(all, json_object_get(parameters, "secrets")) == 0 ? all : NULL);
	return true;
}

static void print_secrets(json_t *secrets, bool removed)
{
	const char *const heads[] = { "NAME", "VERSION", "KEPT", removed ? "REMOVED" : "CHANGED" };
	MAYFLY_CLEANUP(columns_done) struct columns columns;
	size_t i;
	json_t *secret;

	columns_init(&columns, heads, 4);
	json_array_foreach (secrets, i, secret) {
		AUTO_FREE char *version = text_format("%lld", json_number(secret, "current"));
		AUTO_FREE char *kept = text_format("%lld", json_number(secret, "versions"));
		/* The broker's name for a record that does not open: it has no versions. */
		const bool is_damaged = json_number(secret, "versions") == 0;
		const char *cells[] = { json_text(secret, "name"), is_damaged ? "-" : version,
			is_damaged ? "-" : kept,
			is_damaged ? "damaged; see `mayfly doctor`"
				   : json_text(secret, removed ? "removed" : "changed") };

		columns_add(&columns, cells);
	}
	columns_print(&columns);
}

int list_run(struct cli *cli, struct mayfly_error *err)
{
	const bool removed = argument_flag(cli->arguments, "removed");
	AUTO_JSON json_t *secrets = json_made(json_array());
	const char *set = cli->arguments->words[0];
	int r;

	/* "prod/shop" is what a person types who wants a part of a set. */
	if (set && strchr(set, '/'))
		return error_set(err, CLI_ERROR_USAGE,
			"'list' takes a set; for a part of it: mayfly list SET --prefix NAME");
	r = operator_call(cli,
		&(struct operator_call){ .method = "List",
			.parameters = json_made(json_pack("{s:s*, s:s*, s:o*}", "set", set,
				"prefix", argument_value(cli->arguments, "prefix"), "removed",
				removed ? json_true() : NULL)),
			.on_reply = collect,
			.data = secrets },
		NULL, err);
	if (r < 0)
		return r;
	if (cli->json)
		return print_json(json_pack("{s:O}", "secrets", secrets));
	print_secrets(secrets, removed);
	return CLI_DONE;
}
