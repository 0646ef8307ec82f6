/* `mayfly restore`: with the broker into a store that it makes, or without it into a directory. */
#include "client/cli/backup/backup_verbs.h"
#include "client/cli/backup/opened_backup.h"
#include "client/cli/command_line/arguments.h"
#include "client/cli/operator/link.h"
#include "client/cli/store/passphrase.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"
#include "proto/recovery_text.h"

#include <string.h>

static int ask_restore(struct cli *cli, const struct opened_backup *backup, int passphrase_fd,
	json_t **ret_reply, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(sealed_value_done) struct sealed_value text = SEALED_VALUE_EMPTY;
	const bool by_passphrase = passphrase_fd >= 0;
	int r = sealed_value_new(&backup->recovery_text, &text, err);

	if (r < 0)
		return r;
	const int fds[] = { backup->fd, text.fd, passphrase_fd };
	return operator_call(cli,
		&(struct operator_call){ .method = "Restore",
			.parameters = json_made(
				json_pack("{s:i, s:i, s:s, s:o*}", "file_fd", 0, "recovery_fd", 1,
					"unlock", by_passphrase ? "passphrase" : "host_key",
					"passphrase_fd", by_passphrase ? json_integer(2) : NULL)),
			.fds = fds,
			.fds_count = by_passphrase ? 3 : 2,
			.timeout_ms = OPERATOR_PATIENT_MS },
		ret_reply, err);
}

static int tell(struct cli *cli, json_t *reply)
{
	const long long secrets = json_number(reply, "secrets");
	const long long versions = json_number(reply, "versions");

	if (cli->json)
		return print_json(json_incref(reply));
	say("%lld secret%s (%lld version%s) of %s, as of %s\n"
	    "The store has a root key of its own; this host and the recovery key that you gave "
	    "open it.\n"
	    "The audit of %s ended with record %lld, %s.\n",
		secrets, plural(secrets), versions, plural(versions), json_text(reply, "host"),
		json_text(reply, "made"), json_text(reply, "host"),
		(long long)json_number(reply, "audit_seq"), json_text(reply, "audit_head"));
	return CLI_DONE;
}

static int restore_here(struct cli *cli, struct mayfly_error *err)
{
	const char *unlock = argument_value(cli->arguments, "unlock");
	MAYFLY_CLEANUP(opened_backup_done) struct opened_backup backup = OPENED_BACKUP_EMPTY;
	MAYFLY_CLEANUP(sealed_value_done) struct sealed_value passphrase = SEALED_VALUE_EMPTY;
	AUTO_JSON json_t *reply = NULL;
	int r = operator_require_no_store(cli,
		"; restoring never writes over one\n"
		"to look into the backup: `mayfly restore FILE --to-dir /dev/shm/restored`",
		err);

	if (r == 0)
		r = opened_backup_open(cli, cli->arguments->words[0], &backup, err);
	if (r == 0)
		r = restored_files_check(cli, &backup, err);
	if (r == 0 && unlock && strcmp(unlock, "passphrase") == 0)
		r = passphrase_read(cli, "New passphrase", true, &passphrase, err);
	if (r == 0)
		r = ask_restore(cli, &backup, passphrase.fd, &reply, err);
	if (r < 0)
		return r;
	r = restored_files_write(cli, &backup, err);
	if (r < 0)
		return error_within(err,
			"the store is restored, policy and configuration are not (see --to-dir)");
	return tell(cli, reply);
}

int restore_run(struct cli *cli, struct mayfly_error *err)
{
	const char *directory = argument_value(cli->arguments, "to-dir");
	MAYFLY_CLEANUP(opened_backup_done) struct opened_backup backup = OPENED_BACKUP_EMPTY;
	int r;

	if (!directory)
		return restore_here(cli, err);
	r = opened_backup_open(cli, cli->arguments->words[0], &backup, err);
	return r < 0 ? r : restore_to_directory(cli, &backup, directory, err);
}

int key_backup_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_SECRET text = { 0 }, key = { 0 }, secret_key = { 0 };
	unsigned char public_key[BACKUP_KEY_BYTES];
	char shown[BACKUP_KEY_TEXT_SIZE];
	int r = recovery_key_read(cli, "from-file", &text, &key, err);

	if (r == 0)
		r = backup_key_derive(&key, public_key, &secret_key, err);
	if (r < 0)
		return r;
	backup_key_write(public_key, shown);
	if (cli->json)
		return print_json(json_made(json_pack("{s:s}", "key", shown)));
	say("%s\n", shown);
	return CLI_DONE;
}
