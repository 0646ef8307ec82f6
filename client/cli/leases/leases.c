#include "client/cli/command_line/arguments.h"
#include "client/cli/leases/lease_print.h"
#include "client/cli/leases/lease_verbs.h"
#include "client/cli/operator/link.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

int leases_run(struct cli *cli, struct mayfly_error *err)
{
	const struct arguments *arguments = cli->arguments;
	AUTO_JSON json_t *reply = NULL;
	json_t *parameters = json_made(json_pack("{s:s*, s:s*, s:s*}", "secret",
		       arguments->words[0], "grant", argument_value(arguments, "grant"),
		       "container", argument_value(arguments, "container"))),
	       *leases, *lease;
	size_t i;
	int r;

	if (cli->json)
		return operator_ask_and_print(cli, "ListLeases", parameters, err);
	r = operator_ask(cli, "ListLeases", parameters, &reply, err);
	if (r < 0)
		return r;
	leases = json_object_get(reply, "leases");
	json_array_foreach (leases, i, lease)
		lease_print(lease);
	if (json_array_size(leases) == 0)
		say("No running container has it.\n");
	return CLI_DONE;
}
