#include "client/cli/command_line/arguments.h"
#include "client/cli/operator/link.h"
#include "client/cli/secrets/secret_verbs.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"
#include "client/cli/value/value.h"

#include <string.h>

int secret_word(struct cli *cli, size_t index, const char **ret_name, struct mayfly_error *err)
{
	struct secret_reference reference;
	const char *word = cli->arguments->words[index];

	if (secret_reference_parse(word, &reference, err) < 0)
		return cli_usage(err);
	*ret_name = word;
	return 0;
}

static void tell_newline(enum newline_outcome newline)
{
	if (newline == NEWLINE_LEFT_OUT)
		say_aside("one final newline was left out (--exact keeps it)\n");
	else if (newline == NEWLINE_KEPT_LINES)
		say_aside("the value has several lines: its final newline was kept\n");
	else if (newline == NEWLINE_KEPT_BINARY)
		say_aside("the value is no plain text: its final newline was kept\n");
}

static void tell_outcome(const char *name, json_t *reply)
{
	const char *outcome = json_text(reply, "outcome");
	const long long version = json_number(reply, "version");

	if (strcmp(outcome, "unchanged") == 0)
		say("%s: unchanged, the same bytes are there (version %lld)\n", name, version);
	else if (strcmp(outcome, "staged") == 0)
		say("%s: version %lld is staged\n  containers started from now on get it, "
		    "running ones keep what they have\n",
			name, version);
	else
		say("%s: stored (version %lld)\n", name, version);
}

static int send_value(struct cli *cli, const char *name, const struct secret *value,
	json_t **ret_reply, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(sealed_value_done) struct sealed_value sealed = SEALED_VALUE_EMPTY;
	const bool stage = argument_flag(cli->arguments, "stage");
	int r = sealed_value_new(value, &sealed, err);

	if (r < 0)
		return r;
	return operator_call(cli,
		&(struct operator_call){ .method = "Put",
			.parameters = json_made(json_pack("{s:s, s:i, s:o*}", "name", name,
				"value_fd", 0, "stage", stage ? json_true() : NULL)),
			.fds = &sealed.fd,
			.fds_count = 1 },
		ret_reply, err);
}

int put_run(struct cli *cli, struct mayfly_error *err)
{
	enum newline_outcome newline = NEWLINE_NONE;
	AUTO_FREE char *prompt = NULL;
	AUTO_SECRET value = { 0 };
	AUTO_JSON json_t *reply = NULL;
	const char *name;
	int r = secret_word(cli, 0, &name, err);

	if (r == 0)
		r = operator_reach(cli, err);
	if (r < 0)
		return r;
	prompt = text_format("Value of %s", name);
	r = value_read(cli,
		&(struct value_request){ .prompt = prompt,
			.from_file = argument_value(cli->arguments, "from-file"),
			.exact = argument_flag(cli->arguments, "exact"),
			.ask_twice = true,
			.max_bytes = MAYFLY_VALUE_MAX_BYTES,
			.what = "value" },
		&value, &newline, err);
	if (r == 0)
		r = send_value(cli, name, &value, &reply, err);
	if (r < 0)
		return r;
	tell_newline(newline);
	if (cli->json)
		return print_json(ptr_take(&reply));
	tell_outcome(name, reply);
	return CLI_DONE;
}
