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

/* What is asked for on a terminal, or comes from a file or a pipe. */
static int unlock_by_text(
	struct cli *cli, bool recovery, json_t **ret_reply, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(sealed_value_done) struct sealed_value key = SEALED_VALUE_EMPTY;
	const int r =
		passphrase_read(cli, recovery ? "Recovery key" : "Passphrase", false, &key, err);

	if (r < 0)
		return r;
	return operator_call(cli,
		&(struct operator_call){ .method = "Unlock",
			.parameters = json_made(
				json_pack("{s:i}", recovery ? "recovery_fd" : "passphrase_fd", 0)),
			.fds = &key.fd,
			.fds_count = 1 },
		ret_reply, err);
}

static bool has_slot(json_t *slots, const char *kind)
{
	size_t i;
	json_t *slot;

	json_array_foreach (slots, i, slot) {
		if (strcmp(json_text(slot, "kind"), kind) == 0)
			return true;
	}
	return false;
}

/* What opens the store after a boot opens it after `lock`, too: a key file on the host needs
 * nobody. If it fails and there is a passphrase as well, that is asked for. */
static int unlock(struct cli *cli, json_t **ret_reply, struct mayfly_error *err)
{
	const bool recovery = argument_flag(cli->arguments, "recovery");
	AUTO_JSON json_t *listed = NULL;
	json_t *slots;
	int r;

	if (recovery || argument_value(cli->arguments, "from-file") ||
		operator_ask(cli, "ListSlots", NULL, &listed, err) < 0)
		return unlock_by_text(cli, recovery, ret_reply, err);
	slots = json_object_get(listed, "slots");
	if (!has_slot(slots, "host_key"))
		return unlock_by_text(cli, false, ret_reply, err);
	r = operator_ask(cli, "Unlock", NULL, ret_reply, err);
	return r < 0 && has_slot(slots, "passphrase") ? unlock_by_text(cli, false, ret_reply, err)
						      : r;
}

int unlock_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_JSON json_t *reply = NULL;
	int r = operator_reach(cli, err);

	if (r == 0)
		r = unlock(cli, &reply, err);
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
