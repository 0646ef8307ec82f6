#include "client/cli/command_line/arguments.h"
#include "client/cli/leases/lease_list.h"
#include "client/cli/leases/lease_print.h"
#include "client/cli/leases/lease_verbs.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

int leases_run(struct cli *cli, struct mayfly_error *err)
{
	const struct arguments *arguments = cli->arguments;
	AUTO_JSON json_t *leases = NULL;
	json_t *lease;
	size_t i;
	int r = lease_list(cli,
		json_made(json_pack("{s:s*, s:s*, s:s*}", "secret", arguments->words[0], "grant",
			argument_value(arguments, "grant"), "container",
			argument_value(arguments, "container"))),
		&leases, err);

	if (r < 0)
		return r;
	if (cli->json)
		return print_json(json_pack("{s:O}", "leases", leases));
	json_array_foreach (leases, i, lease)
		lease_print(lease);
	if (json_array_size(leases) == 0)
		say("No running container has it.\n");
	return CLI_DONE;
}
