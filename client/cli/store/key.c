#include "client/cli/command_line/arguments.h"
#include "client/cli/operator/link.h"
#include "client/cli/store/passphrase.h"
#include "client/cli/store/recovery_key.h"
#include "client/cli/store/store_verbs.h"
#include "client/cli/terminal/columns.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/prompt.h"
#include "client/cli/terminal/text.h"

#include <limits.h>
#include <string.h>

/* The broker's word for a kind of slot, in the command line's. */
static const char *kind_shown(json_t *slot)
{
	const char *kind = json_text(slot, "kind");

	return strcmp(kind, "host_key") == 0 ? "host-key" : kind;
}

int key_list_run(struct cli *cli, struct mayfly_error *err)
{
	static const char *const heads[] = { "ID", "KIND", "CREATED" };
	MAYFLY_CLEANUP(columns_done) struct columns columns;
	AUTO_JSON json_t *reply = NULL;
	size_t i;
	json_t *slot;
	int r = operator_ask(cli, "ListSlots", NULL, &reply, err);

	columns_init(&columns, heads, 3);
	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	json_array_foreach (json_object_get(reply, "slots"), i, slot) {
		AUTO_FREE char *id = text_format("%lld", json_number(slot, "id"));
		const char *cells[] = { id, kind_shown(slot), json_text(slot, "created") };

		columns_add(&columns, cells);
	}
	columns_print(&columns);
	return CLI_DONE;
}

static int ask_add(struct cli *cli, const char *kind, const char *fd_name, int fd,
	json_t **ret_reply, struct mayfly_error *err)
{
	return operator_call(cli,
		&(struct operator_call){ .method = "AddSlot",
			.parameters = json_made(json_pack("{s:s, s:o*}", "kind", kind,
				fd_name ? fd_name : "passphrase_fd",
				fd_name ? json_integer(0) : NULL)),
			.fds = &fd,
			.fds_count = fd_name ? 1 : 0 },
		ret_reply, err);
}

static int tell_added(struct cli *cli, json_t *reply)
{
	json_t *slot = json_object_get(reply, "slot");

	if (cli->json)
		return print_json(json_incref(reply));
	say("key %lld (%s) opens the store from now on\n", (long long)json_number(slot, "id"),
		kind_shown(slot));
	return CLI_DONE;
}

static int add_passphrase(struct cli *cli, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(sealed_value_done) struct sealed_value passphrase = SEALED_VALUE_EMPTY;
	AUTO_JSON json_t *reply = NULL;
	int r = passphrase_read(cli, "New passphrase", true, &passphrase, err);

	if (r == 0)
		r = ask_add(cli, "passphrase", "passphrase_fd", passphrase.fd, &reply, err);
	return r < 0 ? r : tell_added(cli, reply);
}

static int add_recovery(struct cli *cli, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(recovery_key_done) struct recovery_key key = RECOVERY_KEY_EMPTY;
	AUTO_JSON json_t *reply = NULL;
	int r = recovery_key_prepare(cli, &key, err);

	if (r < 0)
		return r;
	r = ask_add(cli, "recovery", "recovery_fd", key.memory, &reply, err);
	if (r < 0) {
		recovery_key_abandon(cli, &key);
		return r;
	}
	r = recovery_key_hand_over(cli, &key, err);
	return r < 0 ? r : tell_added(cli, reply);
}

int key_add_run(struct cli *cli, struct mayfly_error *err)
{
	const char *kind = cli->arguments->words[0];
	AUTO_JSON json_t *reply = NULL;
	int r = operator_reach(cli, err);

	if (r < 0)
		return r;
	if (strcmp(kind, "passphrase") == 0)
		return add_passphrase(cli, err);
	if (strcmp(kind, "recovery") == 0)
		return add_recovery(cli, err);
	r = ask_add(cli, "host_key", NULL, -1, &reply, err);
	if (r < 0)
		return r;
	say_aside("%s/etc/mayfly/host.key lies on the same disk as the store\n", cli->root);
	return tell_added(cli, reply);
}

int key_remove_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_FREE char *question = NULL;
	AUTO_JSON json_t *reply = NULL;
	long long id;
	int r = number_parse("ID", cli->arguments->words[0], 0, INT_MAX, &id, err);

	if (r == 0)
		r = operator_reach(cli, err);
	if (r < 0)
		return r;
	question = text_format("Key %lld will no longer open the store. Remove it? (y/N)", id);
	r = prompt_confirm(cli, question, err);
	if (r == 0)
		r = operator_ask(cli, "RemoveSlot",
			json_made(json_pack("{s:I}", "id", (json_int_t)id)), &reply, err);
	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	say("key %lld is removed\n", id);
	return CLI_DONE;
}

/* The new root key is wrapped for a passphrase again, so its passphrase is needed. */
static int read_passphrase_if_any(
	struct cli *cli, struct sealed_value *ret_passphrase, struct mayfly_error *err)
{
	AUTO_JSON json_t *reply = NULL;
	size_t i;
	json_t *slot;
	int r = operator_ask(cli, "ListSlots", NULL, &reply, err);

	if (r < 0)
		return r;
	json_array_foreach (json_object_get(reply, "slots"), i, slot) {
		if (strcmp(json_text(slot, "kind"), "passphrase") == 0)
			return passphrase_read(cli, "Passphrase", false, ret_passphrase, err);
	}
	return 0;
}

static int ask_rotate(struct cli *cli, const struct recovery_key *key, int passphrase_fd,
	json_t **ret_reply, struct mayfly_error *err)
{
	const int fds[] = { key->memory, passphrase_fd };
	const bool has_passphrase = passphrase_fd >= 0;

	return operator_call(cli,
		&(struct operator_call){ .method = "RotateKey",
			.parameters = json_made(json_pack("{s:i, s:o*}", "recovery_fd", 0,
				"passphrase_fd", has_passphrase ? json_integer(1) : NULL)),
			.fds = fds,
			.fds_count = has_passphrase ? 2 : 1,
			.timeout_ms = OPERATOR_PATIENT_MS },
		ret_reply, err);
}

int key_rotate_run(struct cli *cli, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(sealed_value_done) struct sealed_value passphrase = SEALED_VALUE_EMPTY;
	MAYFLY_CLEANUP(recovery_key_done) struct recovery_key key = RECOVERY_KEY_EMPTY;
	AUTO_JSON json_t *reply = NULL;
	int r = read_passphrase_if_any(cli, &passphrase, err);

	if (r == 0)
		r = recovery_key_prepare(cli, &key, err);
	if (r < 0)
		return r;
	r = ask_rotate(cli, &key, passphrase.fd, &reply, err);
	if (r < 0) {
		recovery_key_abandon(cli, &key);
		return r;
	}
	r = recovery_key_hand_over(cli, &key, err);
	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	say("The root key is new; %lld values' keys were wrapped again.\n"
	    "The recovery key from before opens nothing.\n",
		(long long)json_number(reply, "rewrapped"));
	return CLI_DONE;
}
