#include "client/cli/command_line/arguments.h"
#include "client/cli/operator/link.h"
#include "client/cli/store/passphrase.h"
#include "client/cli/store/store_verbs.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <string.h>

/* One line that a person can paste: the engine does not retry a start by itself. */
static void tell_waiting(json_t *waiting)
{
	size_t i;
	json_t *name;

	if (json_array_size(waiting) == 0)
		return;
	say("These were refused while it was locked:\n  docker start");
	json_array_foreach (waiting, i, name)
		say(" %s", json_string_value(name));
	say("\n");
}

/* What opens the store, of that which needs no option. */
struct ways {
	bool host_key, passphrase;
};

static int find_ways(struct cli *cli, struct ways *ret_ways, struct mayfly_error *err)
{
	AUTO_JSON json_t *reply = NULL;
	size_t i;
	json_t *slot;
	int r = operator_ask(cli, "ListSlots", NULL, &reply, err);

	json_array_foreach (json_object_get(reply, "slots"), i, slot) {
		ret_ways->host_key |= strcmp(json_text(slot, "kind"), "host_key") == 0;
		ret_ways->passphrase |= strcmp(json_text(slot, "kind"), "passphrase") == 0;
	}
	return r;
}

/* PARAMETER NULL: with the host key file. */
static int ask_unlock(struct cli *cli, const char *parameter, const char *prompt,
	json_t **ret_reply, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(sealed_value_done) struct sealed_value key = SEALED_VALUE_EMPTY;
	int r = parameter ? passphrase_read(cli, prompt, false, &key, err) : 0;

	if (r < 0)
		return r;
	return operator_call(cli,
		&(struct operator_call){ .method = "Unlock",
			.parameters = json_made(
				json_pack("{s:o*}", parameter ? parameter : "passphrase_fd",
					parameter ? json_integer(0) : NULL)),
			.fds = &key.fd,
			.fds_count = parameter ? 1 : 0 },
		ret_reply, err);
}

/* What is on the host already is tried before a person is asked. */
static int unlock_plainly(struct cli *cli, json_t **ret_reply, struct mayfly_error *err)
{
	struct ways ways = { false };
	int r = find_ways(cli, &ways, err);

	if (r < 0)
		return r;
	if (ways.host_key) {
		r = ask_unlock(cli, NULL, NULL, ret_reply, err);
		if (r >= 0 || r == CLI_ERROR_UNREACHABLE)
			return r;
		if (ways.passphrase)
			say_aside("not with the host key file: %.*s\n",
				(int)strcspn(err->text, "\n"), err->text);
	}
	if (ways.passphrase)
		return ask_unlock(cli, "passphrase_fd", "Passphrase", ret_reply, err);
	return error_set(err, -ENOKEY, "%s\nuse the recovery key: `mayfly unlock --recovery`",
		ways.host_key ? "the host key file does not open the store, and it has no "
				"passphrase"
			      : "the store has no passphrase");
}

int unlock_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_JSON json_t *reply = NULL;
	int r = operator_reach(cli, err);

	if (r == 0 && argument_flag(cli->arguments, "recovery"))
		r = ask_unlock(cli, "recovery_fd", "Recovery key", &reply, err);
	else if (r == 0 && argument_value(cli->arguments, "from-file"))
		r = ask_unlock(cli, "passphrase_fd", "Passphrase", &reply, err);
	else if (r == 0)
		r = unlock_plainly(cli, &reply, err);
	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	say("The store is unlocked.\n");
	tell_waiting(json_object_get(reply, "waiting"));
	return CLI_DONE;
}

int lock_run(struct cli *cli, struct mayfly_error *err)
{
	int r;

	if (cli->json)
		return operator_ask_and_print(cli, "Lock", NULL, err);
	r = operator_ask(cli, "Lock", NULL, NULL, err);
	if (r < 0)
		return r;
	say("The store is locked. Running containers keep what they have, new ones are\n"
	    "refused until `mayfly unlock`.\n");
	return CLI_DONE;
}
