#include "client/cli/command_line/arguments.h"
#include "client/cli/leases/lease_list.h"
#include "client/cli/leases/lease_print.h"
#include "client/cli/leases/lease_verbs.h"
#include "client/cli/operator/link.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/prompt.h"
#include "client/cli/terminal/text.h"

static int read_wish(struct cli *cli, json_t **ret_parameters, struct mayfly_error *err)
{
	const struct arguments *arguments = cli->arguments;
	const bool is_all = argument_flag(arguments, "all");
	json_t *parameters = json_made(json_pack("{s:s*, s:s*, s:s*, s:s*}", "lease",
		arguments->words[0], "container", argument_value(arguments, "container"), "grant",
		argument_value(arguments, "grant"), "secret", argument_value(arguments, "secret")));

	if (is_all == (json_object_size(parameters) > 0)) {
		json_decref(parameters);
		(void)error_set(err, -EINVAL,
			"say what is to be emptied\na lease, --container, --grant, --secret, or "
			"--all; "
			"`mayfly leases` shows what there is");
		return cli_usage(err);
	}
	*ret_parameters = parameters;
	return 0;
}

/* What would be emptied, for whoever decides. */
static int list(struct cli *cli, json_t *wish, struct mayfly_error *err)
{
	AUTO_JSON json_t *leases = NULL;
	json_t *lease;
	size_t i;
	int r = lease_list(cli, json_incref(wish), &leases, err);

	if (r < 0)
		return r;
	if (json_array_size(leases) == 0)
		return error_set(err, -ENOENT,
			"no running container has it\n`mayfly leases` shows who has what");
	if (cli->json)
		return 0;
	say("%zu container%s now, at once%s:\n", json_array_size(leases),
		json_array_size(leases) == 1 ? " loses files" : "s lose files",
		json_object_get(wish, "secret") || json_object_get(wish, "grant")
			? " (only what you named)"
			: "");
	json_array_foreach (leases, i, lease)
		lease_print(lease);
	return 0;
}

int revoke_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_JSON json_t *wish = NULL;
	AUTO_JSON json_t *reply = NULL;
	long long count;
	int r = read_wish(cli, &wish, err);

	if (r == 0)
		r = list(cli, wish, err);
	if (r == 0)
		r = prompt_confirm(cli, "Empty them? (y/N)", err);
	if (r < 0)
		return r;
	if (json_object_size(wish) == 0)
		(void)json_object_set_new(wish, "all", json_true());
	r = operator_ask(cli, "Revoke", json_incref(wish), &reply, err);
	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	count = json_number(reply, "revoked");
	say("Emptied in %lld container%s.\n", count, plural(count));
	say_wrapped(0, 80,
		"The grants remain: a container that starts again gets its files again. "
		"`mayfly forbid` takes a grant back.");
	return CLI_DONE;
}
