#include "client/cli/command_line/arguments.h"
#include "client/cli/operator/link.h"
#include "client/cli/secrets/secret_verbs.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"
#include "client/cli/value/value.h"

#include <limits.h>

static int ask(struct cli *cli, const char *name, long long version, const struct secret *value,
	json_t **ret_reply, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(sealed_value_done) struct sealed_value sealed = SEALED_VALUE_EMPTY;
	int r = sealed_value_new(value, &sealed, err);

	if (r < 0)
		return r;
	return operator_call(cli,
		&(struct operator_call){ .method = "Verify",
			.parameters = json_made(json_pack("{s:s, s:i, s:o*}", "name", name,
				"value_fd", 0, "version", version ? json_integer(version) : NULL)),
			.fds = &sealed.fd,
			.fds_count = 1 },
		ret_reply, err);
}

static int tell(const char *name, json_t *reply)
{
	const bool same = json_is_true(json_object_get(reply, "same"));

	say_painted(same ? PAINT_GOOD : PAINT_BAD, "%s", same ? "same" : "differs");
	say(": %s, version %lld\n", name, (long long)json_number(reply, "version"));
	return same ? CLI_DONE : CLI_REFUSED;
}

int verify_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_FREE char *prompt = NULL;
	AUTO_SECRET value = { 0 };
	AUTO_JSON json_t *reply = NULL;
	long long version = 0;
	const char *name;
	int r = secret_word(cli, 0, &name, err);

	if (r == 0)
		r = argument_number(cli->arguments, "version", 1, INT_MAX, 0, &version, err);
	if (r == 0)
		r = operator_reach(cli, err);
	if (r < 0)
		return r;
	prompt = text_format("Value to compare with %s", name);
	r = value_read(cli,
		&(struct value_request){ .prompt = prompt,
			.from_file = argument_value(cli->arguments, "from-file"),
			.exact = argument_flag(cli->arguments, "exact"),
			.max_bytes = MAYFLY_VALUE_MAX_BYTES,
			.what = "value" },
		&value, NULL, err);
	if (r == 0)
		r = ask(cli, name, version, &value, &reply, err);
	if (r < 0)
		return r;
	if (!cli->json)
		return tell(name, reply);
	(void)print_json(json_incref(reply));
	return json_is_true(json_object_get(reply, "same")) ? CLI_DONE : CLI_REFUSED;
}
