#include "client/cli/command_line/arguments.h"
#include "client/cli/files/config_edit.h"
#include "client/cli/operator/link.h"
#include "client/cli/store/passphrase.h"
#include "client/cli/store/recovery_key.h"
#include "client/cli/store/store_verbs.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/prompt.h"
#include "client/cli/terminal/text.h"
#include "proto/secret_name.h"

#include <string.h>

/* What init wants of mayflyd.json. */
struct environment_wish {
	const char *wanted; /* option --environment, or NULL */
	char chosen[MAYFLY_SET_NAME_MAX + 2];
	bool changed;
};

/* The chosen name is the option's, or what a person types. */
static int choose(struct environment_wish *wish, struct mayfly_error *err)
{
	int r;

	if (wish->wanted)
		(void)snprintf(wish->chosen, sizeof wish->chosen, "%s", wish->wanted);
	else if (!prompt_is_possible())
		return error_set(err, CLI_ERROR_USAGE,
			"which set is this host's environment?\ngive --environment SET, as in "
			"--environment prod");
	else {
		r = prompt_visible("This host's environment, as dev or prod", wish->chosen,
			sizeof wish->chosen, err);
		if (r < 0)
			return r;
	}
	return set_name_check(wish->chosen, err) < 0 ? cli_usage(err) : 0;
}

static int add_environment(json_t *config, const char *name, struct mayfly_error *err)
{
	json_t *sets = json_object_get(config, "sets");

	if (sets && !json_is_object(sets))
		return error_set(err, -EINVAL, "\"sets\" in mayflyd.json is no object");
	(void)json_object_set_new(config, "environment", json_made(json_string(name)));
	if (!sets) {
		sets = json_made(json_object());
		(void)json_object_set_new(config, "sets", sets);
	}
	if (!json_object_get(sets, name))
		(void)json_object_set_new(
			sets, name, json_made(json_pack("{s:s}", "provider", "store")));
	return 1;
}

static int change_environment(json_t *config, void *data, struct mayfly_error *err)
{
	struct environment_wish *wish = data;
	const char *present = json_text(config, "environment");
	int r;

	if (present[0] && wish->wanted && strcmp(present, wish->wanted) != 0)
		return error_set(err, -EEXIST,
			"the environment of this host is '%s' already\nchange it in "
			"/etc/mayfly/mayflyd.json if that is wrong",
			present);
	if (present[0])
		return 0;
	r = choose(wish, err);
	if (r < 0)
		return r;
	wish->changed = true;
	return add_environment(config, wish->chosen, err);
}

static int settle_environment(struct cli *cli, struct mayfly_error *err)
{
	struct environment_wish wish = { .wanted = argument_value(cli->arguments, "environment") };
	int r = config_edit(cli, change_environment, &wish, err);

	/* The file may have been written by hand after the broker had read it. */
	if (r == 0 && !wish.changed)
		r = config_reload(cli, NULL, err);
	return r;
}

static int ask_init(struct cli *cli, const struct recovery_key *key, int passphrase_fd,
	struct mayfly_error *err)
{
	const bool by_passphrase = passphrase_fd >= 0;
	const int fds[] = { key->memory, passphrase_fd };
	AUTO_JSON json_t *reply = NULL;
	int r = operator_call(cli,
		&(struct operator_call){ .method = "Init",
			.parameters = json_made(json_pack("{s:s, s:o*, s:i}", "unlock",
				by_passphrase ? "passphrase" : "host_key", "passphrase_fd",
				by_passphrase ? json_integer(1) : NULL, "recovery_fd", 0)),
			.fds = fds,
			.fds_count = by_passphrase ? 2 : 1 },
		&reply, err);

	if (r == 0 && cli->json)
		(void)print_json(ptr_take(&reply));
	return r;
}

static void tell(const struct cli *cli, bool by_passphrase)
{
	if (by_passphrase)
		say_aside("The store is made and unlocked. After each boot it waits for `mayfly "
			  "unlock`.\n");
	else
		say_aside("The store is made and unlocked. %s/etc/mayfly/host.key unlocks it at "
			  "start.\nThat key lies on the same disk as the store: who takes both "
			  "can read every value.\n`mayfly key add passphrase`, then `mayfly key "
			  "remove` of the host key, ends that.\n",
			cli->root);
}

int init_run(struct cli *cli, struct mayfly_error *err)
{
	const char *unlock = argument_value(cli->arguments, "unlock");
	const bool by_passphrase = unlock && strcmp(unlock, "passphrase") == 0;
	MAYFLY_CLEANUP(sealed_value_done) struct sealed_value passphrase = SEALED_VALUE_EMPTY;
	MAYFLY_CLEANUP(recovery_key_done) struct recovery_key key = RECOVERY_KEY_EMPTY;
	int r = operator_require_no_store(
		cli, "\nsee `mayfly status`; what opens it is changed with `mayfly key`", err);

	if (r == 0)
		r = settle_environment(cli, err);
	if (r == 0 && by_passphrase)
		r = passphrase_read(cli, "New passphrase", true, &passphrase, err);
	if (r == 0)
		r = recovery_key_prepare(cli, &key, err);
	if (r < 0)
		return r;
	r = ask_init(cli, &key, passphrase.fd, err);
	if (r < 0) {
		recovery_key_abandon(cli, &key);
		return r;
	}
	tell(cli, by_passphrase);
	r = recovery_key_hand_over(cli, &key, err);
	return r < 0 ? r : CLI_DONE;
}
