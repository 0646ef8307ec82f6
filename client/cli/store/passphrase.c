#include "client/cli/store/passphrase.h"

#include "client/cli/command_line/arguments.h"
#include "include/mayfly/limits.h"

int passphrase_read(struct cli *cli, const char *prompt, bool is_new,
	struct sealed_value *ret_sealed, struct mayfly_error *err)
{
	AUTO_SECRET text = { 0 };
	int r = value_read(cli,
		&(struct value_request){ .prompt = prompt,
			.from_file = argument_value(cli->arguments, "from-file"),
			.ask_twice = is_new,
			.max_bytes = MAYFLY_PASSPHRASE_MAX_BYTES,
			.what = "passphrase" },
		&text, NULL, err);

	return r < 0 ? r : sealed_value_new(&text, ret_sealed, err);
}
