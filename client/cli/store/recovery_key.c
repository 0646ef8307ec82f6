#include "client/cli/store/recovery_key.h"

#include "client/cli/command_line/arguments.h"
#include "client/cli/terminal/print.h"
#include "client/cli/value/value.h"
#include "proto/backup/backup_key.h"
#include "proto/cleanup.h"
#include "proto/recovery_text.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The key is one line of text; more would be something else. */
#define RECOVERY_KEY_MAX_BYTES 256

int recovery_key_prepare(struct cli *cli, struct recovery_key *ret_key, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(recovery_key_done) struct recovery_key key = RECOVERY_KEY_EMPTY;
	int r;

	key.path = argument_value(cli->arguments, "recovery-key-to");
	if (cli->json && !key.path)
		return error_set(err, CLI_ERROR_USAGE,
			"the recovery key never stands in JSON\ngive --recovery-key-to FILE");
	r = receiving_memfd_new(&key.memory, err);
	if (r < 0)
		return r;
	if (key.path) {
		key.file =
			open(key.path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (key.file < 0)
			return error_errno(err, -errno, "make '%s'", key.path);
	}
	*ret_key = key;
	key = RECOVERY_KEY_EMPTY;
	return 0;
}

static int print_key(const struct secret *text, struct mayfly_error *err)
{
	int r;

	say("+---------------------------------------------------------------+\n"
	    "| The recovery key. It is shown once; nobody can show it again. |\n"
	    "| Write it down and keep it away from this host: it opens the   |\n"
	    "| store when the host key or the passphrase is lost.            |\n"
	    "+---------------------------------------------------------------+\n\n  ");
	r = print_finish(err);
	if (r == 0)
		r = value_write(STDOUT_FILENO, text, true, err);
	if (r == 0)
		say("\n");
	return r;
}

static int write_file(
	const struct recovery_key *key, const struct secret *text, struct mayfly_error *err)
{
	int r = value_write(key->file, text, true, err);

	if (r == 0 && fsync(key->file) != 0)
		r = error_errno(err, -errno, "sync");
	if (r < 0)
		return error_within(err, "'%s'", key->path);
	say_aside("the recovery key is in %s; move it away from this host\n", key->path);
	return 0;
}

/* What follows from the key and is no secret; scripts need it where the key must not be. */
static void tell_backup_key(const struct secret *text)
{
	AUTO_SECRET key = { 0 }, secret_key = { 0 };
	unsigned char public_key[BACKUP_KEY_BYTES];
	char shown[BACKUP_KEY_TEXT_SIZE];

	if (recovery_text_read(text, &key, NULL) < 0 ||
		backup_key_derive(&key, public_key, &secret_key, NULL) < 0)
		return;
	backup_key_write(public_key, shown);
	say_aside("Backups that this recovery key reads:\n  mayfly backup FILE --to %s\n", shown);
}

int recovery_key_hand_over(struct cli *cli, struct recovery_key *key, struct mayfly_error *err)
{
	AUTO_SECRET text = { 0 };
	int r = receiving_memfd_read(cli, key->memory, RECOVERY_KEY_MAX_BYTES, &text, err);

	if (r < 0)
		return error_within(err, "read the recovery key");
	while (text.length > 0 && text.bytes[text.length - 1] == '\n')
		secret_shorten(&text, text.length - 1);
	tell_backup_key(&text);
	if (key->file >= 0 && write_file(key, &text, err) == 0)
		return 0;
	if (key->file >= 0)
		say_aside("the recovery key could not be written: %s; here it is\n",
			err ? err->text : "");
	return print_key(&text, err);
}

void recovery_key_abandon(struct cli *cli, struct recovery_key *key)
{
	struct mayfly_error err;
	struct stat status;

	if (fstat(key->memory, &status) == 0 && status.st_size > 0) {
		say_aside("the broker has made a recovery key but did not confirm it; keep it "
			  "until you know\n");
		if (recovery_key_hand_over(cli, key, &err) < 0)
			print_error(&err);
		return;
	}
	if (key->file >= 0)
		/* An empty file of ours that is left behind only asks for another name. */
		(void)unlink(key->path);
}

void recovery_key_done(struct recovery_key *key)
{
	fd_close_p(&key->memory);
	fd_close_p(&key->file);
}
