/* Long because it is a table: what people read about every verb stands together, so that it is
 * written in one voice and can be compared. */
#include "client/cli/verb_table.h"

#include "client/cli/backup/backup_verbs.h"
#include "client/cli/command_line/self_verbs.h"
#include "client/cli/compose/compose_verbs.h"
#include "client/cli/import/import_verbs.h"
#include "client/cli/insight/insight_verbs.h"
#include "client/cli/leases/lease_verbs.h"
#include "client/cli/policy/policy_verbs.h"
#include "client/cli/rotation/rotation_verbs.h"
#include "client/cli/secrets/secret_verbs.h"
#include "client/cli/sets/set_verbs.h"
#include "client/cli/store/store_verbs.h"

#define OPTION_YES                                                                              \
	{                                                                                       \
		.name = "yes", .letter = 'y', .text = "do not ask; needed where no terminal is" \
	}
#define OPTION_PASSPHRASE_FILE                                                         \
	{                                                                              \
		.name = "from-file", .argument = "FILE", .kind = WORD_FILE,            \
		.text = "read the passphrase or key from FILE ('-' is standard input)" \
	}
#define OPTION_RECOVERY_FILE                                                                \
	{                                                                                   \
		.name = "recovery-key-to", .argument = "FILE", .kind = WORD_FILE,           \
		.text = "write the recovery key to FILE, which must not exist, instead of " \
			"printing it"                                                       \
	}
#define OPTION_VALUE_FILE                                                   \
	{                                                                   \
		.name = "from-file", .argument = "FILE", .kind = WORD_FILE, \
		.text = "read the value from FILE ('-' is standard input)"  \
	}
#define OPTION_EXACT                                                                  \
	{                                                                             \
		.name = "exact", .text = "keep the final newline of one line of text" \
	}
#define OPTION_STAGE                                                                            \
	{                                                                                       \
		.name = "stage",                                                                \
		.text = "take other bytes under an existing name: containers started from now " \
			"on get them, running ones keep what they have"                         \
	}
#define OPTIONS_END          \
	{                    \
		.name = NULL \
	}

static const struct verb_option init_options[] = {
	{ .name = "environment",
		.argument = "SET",
		.kind = WORD_SET,
		.text = "the set that this host's containers get; asked at a terminal" },
	{ .name = "unlock",
		.argument = "HOW",
		.choices = "host-key passphrase",
		.text = "what opens the store after a boot: a key file on this host (host-key, "
			"the default) or a person (passphrase)" },
	OPTION_RECOVERY_FILE,
	OPTION_PASSPHRASE_FILE,
	OPTIONS_END,
};

static const struct verb_option unlock_options[] = {
	{ .name = "recovery", .text = "with the recovery key instead of a passphrase" },
	OPTION_PASSPHRASE_FILE,
	OPTIONS_END,
};

static const struct verb_option key_options[] = {
	OPTION_RECOVERY_FILE,
	OPTION_PASSPHRASE_FILE,
	OPTIONS_END,
};

static const struct verb_option backup_options[] = {
	{ .name = "to",
		.argument = "KEY",
		.text = "whose recovery key reads it: what `mayfly init` and `mayfly key backup` "
			"print; needed" },
	OPTIONS_END,
};

static const struct verb_option restore_options[] = {
	{ .name = "to-dir",
		.argument = "DIR",
		.kind = WORD_FILE,
		.text = "write values, policy and audit head into DIR, in memory, as /dev/shm/x; "
			"needs no broker" },
	{ .name = "recovery-key",
		.argument = "FILE",
		.kind = WORD_FILE,
		.text = "read the recovery key from FILE ('-' is standard input)" },
	{ .name = "unlock",
		.argument = "HOW",
		.choices = "host-key passphrase",
		.text = "what opens the store after a boot, as for init" },
	{ .name = "from-file",
		.argument = "FILE",
		.kind = WORD_FILE,
		.text = "read the new passphrase from FILE" },
	OPTIONS_END,
};

static const struct verb_option key_backup_options[] = {
	{ .name = "from-file",
		.argument = "FILE",
		.kind = WORD_FILE,
		.text = "read the recovery key from FILE ('-' is standard input)" },
	OPTIONS_END,
};

static const struct verb_option yes_options[] = {
	OPTION_YES,
	OPTIONS_END,
};

static const struct verb_option put_options[] = {
	OPTION_VALUE_FILE,
	OPTION_EXACT,
	OPTION_STAGE,
	OPTIONS_END,
};

static const struct verb_option generate_options[] = {
	{ .name = "length", .argument = "N", .text = "how many characters (32 without it)" },
	{ .name = "charset",
		.argument = "CHARACTERS",
		.text = "the characters to choose from, or one of: alnum (the default), hex, "
			"base64url, printable" },
	{ .name = "bytes", .argument = "N", .text = "N random bytes instead of characters" },
	OPTION_STAGE,
	OPTIONS_END,
};

#define OPTIONS_OF_ROTATION                                                                        \
	{ .name = "apply",                                                                         \
		.argument = "COMMAND",                                                             \
		.text = "run COMMAND first, here and as you, once for each name (MAYFLY_SECRET): " \
			"it finds the old value on descriptor 3, the new one on 4. If it fails, "  \
			"nothing has changed. When the rotation is rolled back it is run with "    \
			"the "                                                                     \
			"values swapped" },                                                        \
		{ .name = "canary",                                                                \
			.argument = "N",                                                           \
			.text = "N containers first; the others once those have been well for "    \
				"their "                                                           \
				"`rollback_if_unhealthy_within`, or 10 s" },                       \
	{                                                                                          \
		.name = "wait", .text = "a line for each container, until the end of the last "    \
					"health window"                                            \
	}

static const struct verb_option rotate_options[] = {
	{ .name = "generate", .text = "random values that nobody has seen" },
	{ .name = "length", .argument = "N", .text = "how many characters (32 without it)" },
	{ .name = "charset",
		.argument = "CHARACTERS",
		.text = "the characters to choose from, or one of: alnum (the default), hex, "
			"base64url, printable" },
	{ .name = "bytes", .argument = "N", .text = "N random bytes instead of characters" },
	OPTION_VALUE_FILE,
	{ .name = "from-dir",
		.argument = "DIR",
		.kind = WORD_FILE,
		.text = "read each value from DIR/NAME" },
	OPTION_EXACT,
	OPTIONS_OF_ROTATION,
	{ .name = "resume",
		.text = "put into force what another run has prepared and not finished" },
	{ .name = "discard", .text = "destroy what another run has prepared and not finished" },
	OPTIONS_END,
};

static const struct verb_option rollback_options[] = {
	OPTIONS_OF_ROTATION,
	OPTIONS_END,
};

static const struct verb_option import_options[] = {
	{ .name = "set", .argument = "SET", .kind = WORD_SET, .text = "into this set; needed" },
	{ .name = "only",
		.argument = "NAME",
		.repeatable = true,
		.text = "only this name of the file; may be given several times" },
	{ .name = "format",
		.argument = "FORMAT",
		.choices = "env json",
		.text = "what FILE is, where its name does not end in .json and it is JSON, or "
			"the other way round" },
	{ .name = "dry-run", .text = "say what would be done, and change nothing" },
	OPTION_STAGE,
	OPTIONS_END,
};

static const struct verb_option list_options[] = {
	{ .name = "prefix", .argument = "TEXT", .text = "only names that begin with TEXT" },
	{ .name = "removed", .text = "what was removed and can be brought back" },
	OPTIONS_END,
};

static const struct verb_option verify_options[] = {
	OPTION_VALUE_FILE,
	OPTION_EXACT,
	{ .name = "version", .argument = "N", .text = "compare with version N" },
	OPTIONS_END,
};

static const struct verb_option reveal_options[] = {
	{ .name = "version", .argument = "N", .text = "version N instead of the current one" },
	OPTIONS_END,
};

static const struct verb_option remove_options[] = {
	{ .name = "purge", .text = "destroy every version at once; nothing brings them back" },
	OPTION_YES,
	OPTIONS_END,
};

static const struct verb_option set_create_options[] = {
	{ .name = "inherits",
		.argument = "A,B",
		.kind = WORD_SET,
		.text = "sets that are searched, in this order, for what this one lacks" },
	OPTIONS_END,
};

static const struct verb_option allow_options[] = {
	{ .name = "compose",
		.argument = "FILE",
		.kind = WORD_FILE,
		.text = "the containers of SERVICE in this compose file; project, user and, "
			"without "
			"--secret, the secrets are read from it" },
	{ .name = "project-name",
		.argument = "NAME",
		.text = "the project's name, where Compose gets another one than here" },
	{ .name = "name",
		.argument = "CONTAINER",
		.kind = WORD_CONTAINER,
		.text = "the container of that name; 'prefix*' for all that begin so" },
	{ .name = "label",
		.argument = "KEY=VALUE",
		.repeatable = true,
		.text = "containers with that label" },
	{ .name = "image-digest",
		.argument = "DIGEST",
		.text = "containers of that image (sha256:...)" },
	{ .name = "set",
		.argument = "SET",
		.kind = WORD_SET,
		.text = "always from that set, whatever the host's environment is" },
	{ .name = "secret",
		.argument = "NAME[=PATH][:uid=N][:gid=N][:mode=0440]",
		.repeatable = true,
		.text = "a secret by its name without set; PATH is its file, the owner is the "
			"container's user and the mode 0400 unless said otherwise" },
	{ .name = "grant",
		.argument = "NAME",
		.kind = WORD_GRANT,
		.text = "the grant's name (PROJECT-SERVICE or the container's without it)" },
	{ .name = "require",
		.argument = "KEY[=VALUE]",
		.repeatable = true,
		.text = "refuse a container without it, as non_root, read_only_root or "
			"no_new_privileges" },
	OPTION_YES,
	OPTIONS_END,
};

static const struct verb_option forbid_options[] = {
	{ .name = "secret",
		.argument = "NAME",
		.text = "only this secret, by its name without set" },
	OPTION_YES,
	OPTIONS_END,
};

static const struct verb_option leases_options[] = {
	{ .name = "container",
		.argument = "CONTAINER",
		.kind = WORD_CONTAINER,
		.text = "only this one's: a name, an id or its beginning" },
	{ .name = "grant",
		.argument = "GRANT",
		.kind = WORD_GRANT,
		.text = "only what this grant gives" },
	OPTIONS_END,
};

static const struct verb_option revoke_options[] = {
	{ .name = "container",
		.argument = "CONTAINER",
		.kind = WORD_CONTAINER,
		.text = "what this one has: a name, an id or its beginning" },
	{ .name = "grant",
		.argument = "GRANT",
		.kind = WORD_GRANT,
		.text = "the files that this grant gives" },
	{ .name = "secret",
		.argument = "SET/NAME",
		.kind = WORD_SECRET,
		.text = "the files that this secret is in" },
	{ .name = "all", .text = "everything that any container has" },
	OPTION_YES,
	OPTIONS_END,
};

static const struct verb_option policy_check_options[] = {
	{ .name = "against-running",
		.text = "also show which running containers would get other "
			"files" },
	OPTIONS_END,
};

static const struct verb_option status_options[] = {
	{ .name = "check",
		.text = "one line, and the exit status of a monitoring plugin: 0 well, 1 warning, "
			"2 critical, 3 not reachable" },
	{ .name = "watch",
		.text = "look once a second, in place: containers, leases, ages, ends, rotations, "
			"backends; "
			"with --json a line for each change" },
	OPTIONS_END,
};

static const struct verb_option audit_options[] = {
	{ .name = "since",
		.argument = "TIME",
		.text = "from TIME on: 2025-01-31T12:00:00Z, 2025-01-31, or so long ago: 90s, 15m, "
			"8h, 30d" },
	{ .name = "until", .argument = "TIME", .text = "before TIME" },
	{ .name = "secret",
		.argument = "SET/NAME",
		.kind = WORD_SECRET,
		.text = "about this secret" },
	{ .name = "container",
		.argument = "CONTAINER",
		.kind = WORD_CONTAINER,
		.text = "about this container, by name or the beginning of its id" },
	{ .name = "action", .argument = "WORD", .text = "of this action" },
	{ .name = "refused", .text = "only what was refused" },
	{ .name = "last", .argument = "N", .text = "only the newest N; 0 for all" },
	{ .name = "follow", .letter = 'f', .text = "go on with what comes, until interrupted" },
	OPTIONS_END,
};

static const struct verb_option convert_options[] = {
	{ .name = "output",
		.letter = 'o',
		.argument = "FILE",
		.kind = WORD_FILE,
		.text = "write FILE ('-' is standard output); NAME.mayfly.yaml beside the original "
			"without it" },
	{ .name = "driver",
		.argument = "NAME",
		.text = "the volume driver's name, if it is not this host's" },
	{ .name = "env",
		.argument = "SERVICE:NAME=SECRET",
		.repeatable = true,
		.text = "put SECRET into the environment variable NAME when SERVICE starts" },
	{ .name = "force", .text = "write over a file that this verb has not made" },
	OPTIONS_END,
};

static const struct verb_option help_options[] = {
	{ .name = "manual", .text = "the manual page, as roff" },
	{ .name = "names", .text = "the names of all verbs, one a line" },
	OPTIONS_END,
};

static const struct verb verbs[] = {
	{ .name = "init",
		.summary = "make the store, once on each host",
		.words = "",
		.options = init_options,
		.section = SECTION_STORE,
		.description =
			"Writes the host's environment to /etc/mayfly/mayflyd.json if it is not "
			"there (that needs root), makes the store and unlocks it.\n\n"
			"A recovery key is printed once. It opens the store when everything else "
			"is lost; without it and the other keys the values are gone.\n\n"
			"With --unlock host-key the store opens by itself after a boot, with "
			"/etc/mayfly/host.key. That file lies on the same disk as the store, so it "
			"does not protect against somebody who takes the disk. With --unlock "
			"passphrase a person runs `mayfly unlock` after each boot.",
		.example = "mayfly init --environment prod\n"
			   "mayfly init --unlock passphrase --recovery-key-to /media/usb/key.txt",
		.run = init_run },
	{ .name = "unlock",
		.summary = "open the store after a boot",
		.words = "",
		.options = unlock_options,
		.section = SECTION_STORE,
		.description =
			"Tries the host key file, where there is one; else asks for a passphrase, "
			"or takes it from standard input or a file. Ends "
			"with one line that starts every container that was refused while the "
			"store was locked: the engine does not try again by itself.",
		.example = "mayfly unlock\nmayfly unlock --recovery",
		.run = unlock_run },
	{ .name = "lock",
		.summary = "close the store",
		.words = "",
		.section = SECTION_STORE,
		.description = "Wipes the keys from memory. Running containers keep what they "
			       "have; starts that need a secret are refused until `mayfly "
			       "unlock`.",
		.example = "mayfly lock",
		.run = lock_run },
	{ .name = "key list",
		.summary = "what opens the store",
		.words = "",
		.section = SECTION_STORE,
		.description = "Shows the ways to the root key: the host's key file, passphrases, "
			       "the recovery key. Never a key itself.",
		.example = "mayfly key list",
		.run = key_list_run },
	{ .name = "key add",
		.summary = "add a way to open the store",
		.words = "host-key|passphrase|recovery",
		.words_min = 1,
		.words_max = 1,
		.choices = "host-key passphrase recovery",
		.options = key_options,
		.section = SECTION_STORE,
		.description = "A passphrase is asked for twice, or taken from standard input or a "
			       "file. A recovery key is made by the broker and printed once.",
		.example = "mayfly key add passphrase",
		.run = key_add_run },
	{ .name = "key remove",
		.summary = "take a way to open the store away",
		.words = "ID",
		.words_min = 1,
		.words_max = 1,
		.options = yes_options,
		.section = SECTION_STORE,
		.description = "`mayfly key list` shows the numbers. The last one is not removed.",
		.example = "mayfly key remove 2",
		.run = key_remove_run },
	{ .name = "key rotate",
		.summary = "a new root key",
		.words = "",
		.options = key_options,
		.section = SECTION_STORE,
		.description = "Every value's own key is wrapped again under a new root key. The "
			       "recovery key changes too and is printed once. Needed when a key "
			       "or a copy of the store may be in other hands.",
		.example = "mayfly key rotate --recovery-key-to /media/usb/key.txt",
		.run = key_rotate_run },
	{ .name = "key backup",
		.summary = "the key that backups are encrypted to",
		.words = "",
		.options = key_backup_options,
		.section = SECTION_STORE,
		.description = "Follows from the recovery key, which is asked for, and is no "
			       "secret: it stands in scripts. Needs no broker.",
		.example = "mayfly key backup --from-file /media/usb/key.txt",
		.run = key_backup_run },
	{ .name = "backup",
		.summary = "write the store into one encrypted file",
		.words = "FILE",
		.words_min = 1,
		.words_max = 1,
		.kinds = { WORD_FILE },
		.options = backup_options,
		.section = SECTION_STORE,
		.description =
			"Every secret with its versions as they are at one moment, mayflyd.json, "
			"the policy, and the audit's head and first key. The broker goes on "
			"working; the store must be unlocked.\n\n"
			"Only the recovery key that KEY follows from reads it, even when the store "
			"has another one by then: keep that key as long as the backup. FILE is "
			"there whole or not at all, mode 0600; an older backup of that name is "
			"replaced. What could not be opened is named, left out, and makes the exit "
			"status 1.\n\n"
			"Whoever knows KEY can make such a file: restore only what you know the "
			"origin of. Old backups keep old values: rotate what must not be read any "
			"more.",
		.example = "mayfly backup /backup/mayfly-today --to mayfly-backup-...",
		.run = backup_run },
	{ .name = "restore",
		.summary = "make the store of a backup",
		.words = "FILE",
		.words_min = 1,
		.words_max = 1,
		.kinds = { WORD_FILE },
		.options = restore_options,
		.section = SECTION_STORE,
		.description =
			"On a host without a store, as after `apt install`. Asks for the recovery "
			"key of the backup and reads all of FILE before anything is changed. The "
			"store gets a root key of its own; a new host key (or passphrase) and the "
			"recovery key that you gave open it. Policy files are written where none "
			"of that name is; environment and sets go to mayflyd.json where it names "
			"none. The audit begins anew and says where the other one ended.\n\n"
			"With --to-dir nothing of this is done: the current values become files "
			"in a directory in memory, where the daemon is gone and they are needed "
			"now.",
		.example = "mayfly restore /backup/mayfly-2026-01-31\n"
			   "mayfly restore /backup/mayfly-2026-01-31 --to-dir /dev/shm/restored",
		.run = restore_run },
	{ .name = "put",
		.summary = "store a value under a new name",
		.words = "SET/NAME",
		.words_min = 1,
		.words_max = 1,
		.kinds = { WORD_SECRET },
		.options = put_options,
		.section = SECTION_SECRETS,
		.flags = VERB_TAKES_VALUE,
		.description =
			"The value is asked for twice without being shown, or taken from standard "
			"input or a file. It is never taken from the command line: every process "
			"of the host can read that, and the shell keeps it.\n\n"
			"One line of text loses its final newline, because files from editors and "
			"echo have one that does not belong to the value; --exact keeps it. Binary "
			"values and those of several lines are never changed. A value has 1 byte "
			"to 1 MiB.\n\n"
			"The same bytes again change nothing. Other bytes under an existing name "
			"are for `mayfly rotate`; with --stage containers started from now on get "
			"them.",
		.example = "mayfly put prod/db-password\n"
			   "mayfly put prod/tls.key --from-file server.key\n"
			   "pwgen -s 40 1 | mayfly put prod/api-key",
		.run = put_run },
	{ .name = "generate",
		.summary = "make a random value that nobody has seen",
		.words = "SET/NAME",
		.words_min = 1,
		.words_max = 1,
		.kinds = { WORD_SECRET },
		.options = generate_options,
		.section = SECTION_SECRETS,
		.description = "32 letters and digits, unless options say otherwise. The broker "
			       "makes it; it never leaves it but for a container.",
		.example = "mayfly generate prod/api-key\n"
			   "mayfly generate prod/pin --length 6 --charset 0123456789\n"
			   "mayfly generate prod/cookie-key --bytes 32",
		.run = generate_run },
	{ .name = "rotate",
		.summary = "new values for every container that has the secrets",
		.words = "SET/NAME...",
		.words_min = 1,
		.words_max = 64,
		.kinds = { WORD_SECRET },
		.options = rotate_options,
		.section = SECTION_SECRETS,
		.flags = VERB_TAKES_VALUE,
		.description =
			"Each value is asked for, or comes from standard input, files or a "
			"generator, as for put. All names change at once, and in each container "
			"all its files change together: whoever has opened ..data reads one "
			"generation to its end, for 10 s more. Then the application is told as "
			"`on_rotate` of its grant says, and its health is watched for "
			"`rollback_if_unhealthy_within`: if it turns unhealthy or ends, the old "
			"values come back everywhere.\n\n"
			"Without --wait the command ends as soon as the change is durable. Ctrl-C "
			"stops the watching, not the rotation. With --apply it stays until the "
			"end: "
			"a roll back runs the command once more.",
		.example = "mayfly rotate prod/db-password --generate --wait\n"
			   "mayfly rotate prod/tls.key prod/tls.crt --from-dir ./renewed\n"
			   "mayfly rotate prod/db-password --generate --apply ./alter-user.sh",
		.run = rotate_run },
	{ .name = "rollback",
		.summary = "the previous values, everywhere",
		.words = "SET/NAME...",
		.words_min = 1,
		.words_max = 64,
		.kinds = { WORD_SECRET },
		.options = rollback_options,
		.section = SECTION_SECRETS,
		.description = "A rotation to what each secret was before: a further version with "
			       "the previous one's bytes. Once more brings the newer one back.",
		.example = "mayfly rollback prod/db-password --wait\n"
			   "mayfly rollback prod/db-password --apply ./alter-user.sh",
		.run = rollback_run },
	{ .name = "import",
		.summary = "store the values of a .env file, of JSON or of a directory",
		.words = "FILE",
		.words_min = 1,
		.words_max = 1,
		.kinds = { WORD_FILE },
		.options = import_options,
		.section = SECTION_SECRETS,
		.description =
			"A .env file is read by the rules of Docker Compose: comments, quotes, "
			"escapes, variables of earlier lines. A variable that the file does not "
			"set is an error: Compose would look into its environment, which this "
			"does not. Of JSON one object is read; objects in it become SET/OUTER/"
			"INNER. Of a directory every file is a value, as for put, but hidden ones."
			"\n\n"
			"Names stay as they are. All is read and compared before anything is "
			"stored: with one mistake, or one other value under a name, nothing is. "
			"What is there already is left as it is.\n\n"
			"Ends with the list of plain text that still lies about: FILE, and files "
			"beside it that one of the values stands in.",
		.example = "mayfly import .env --set dev --dry-run\n"
			   "mayfly import .env --set prod --only DB_PASSWORD --only API_KEY\n"
			   "mayfly import secrets.json --set prod\n"
			   "mayfly import ./secrets --set prod",
		.run = import_run },
	{ .name = "list",
		.alias = "ls",
		.summary = "the names of secrets",
		.words = "[SET]",
		.words_max = 1,
		.kinds = { WORD_SET },
		.options = list_options,
		.section = SECTION_SECRETS,
		.description = "Of one set, or of all. With versions and times, without values.",
		.example = "mayfly list prod\nmayfly ls --prefix db",
		.run = list_run },
	{ .name = "show",
		.summary = "everything about a secret but its value",
		.words = "SET/NAME",
		.words_min = 1,
		.words_max = 1,
		.kinds = { WORD_SECRET },
		.section = SECTION_SECRETS,
		.description = "Versions, time, length, lines, whether there is a final newline, "
			       "and in which set it is found if SET inherits it.",
		.example = "mayfly show prod/db-password",
		.run = show_run },
	{ .name = "history",
		.summary = "the versions of a secret",
		.words = "SET/NAME",
		.words_min = 1,
		.words_max = 1,
		.kinds = { WORD_SECRET },
		.section = SECTION_SECRETS,
		.description = "The newest is what containers get. How many are kept: `mayfly "
			       "keep`.",
		.example = "mayfly history prod/db-password",
		.run = history_run },
	{ .name = "verify",
		.summary = "compare a value with the stored one",
		.words = "SET/NAME",
		.words_min = 1,
		.words_max = 1,
		.kinds = { WORD_SECRET },
		.options = verify_options,
		.section = SECTION_SECRETS,
		.flags = VERB_TAKES_VALUE,
		.description = "Says \"same\" (exit status 0) or \"differs\" (1), nothing else. "
			       "The value comes in as for put, and the same rule holds for its "
			       "final newline.",
		.example = "mayfly verify prod/db-password\n"
			   "mayfly verify prod/tls.key --from-file server.key",
		.run = verify_run },
	{ .name = "reveal",
		.summary = "print a value, where the configuration allows it",
		.words = "SET/NAME",
		.words_min = 1,
		.words_max = 1,
		.kinds = { WORD_SECRET },
		.options = reveal_options,
		.section = SECTION_SECRETS,
		.flags = VERB_NO_JSON,
		.description = "Only with \"allow_reveal\": true in mayflyd.json, and audited. "
			       "Prints the bytes and nothing else; a terminal gets a newline "
			       "behind them, and nothing if they are not printable.",
		.example = "mayfly reveal prod/db-password | psql-login",
		.run = reveal_run },
	{ .name = "get",
		.summary = "why values are not printed, and what to do instead",
		.words = "SET/NAME",
		.words_min = 1,
		.words_max = 1,
		.kinds = { WORD_SECRET },
		.section = SECTION_SECRETS,
		.flags = VERB_NO_JSON,
		.description = "Containers get values as files. To know whether a value is the "
			       "right one: verify. To see it all the same: reveal.",
		.example = "mayfly verify prod/db-password",
		.run = get_run },
	{ .name = "keep",
		.summary = "how many versions of a secret are kept",
		.words = "SET/NAME VERSIONS",
		.words_min = 2,
		.words_max = 2,
		.kinds = { WORD_SECRET, WORD_OTHER, WORD_OTHER },
		.options = yes_options,
		.section = SECTION_SECRETS,
		.description = "1 to 100; 10 without it. Older ones are destroyed at once, after "
			       "a question.",
		.example = "mayfly keep prod/db-password 3",
		.run = keep_run },
	{ .name = "remove",
		.alias = "rm",
		.summary = "remove a secret",
		.words = "SET/NAME",
		.words_min = 1,
		.words_max = 1,
		.kinds = { WORD_SECRET },
		.options = remove_options,
		.section = SECTION_SECRETS,
		.description = "`mayfly undelete` brings it back, unless it was purged. Running "
			       "containers keep their files.",
		.example = "mayfly remove dev/old-token\nmayfly rm dev/old-token --purge",
		.run = remove_run },
	{ .name = "undelete",
		.summary = "bring a removed secret back",
		.words = "SET/NAME",
		.words_min = 1,
		.words_max = 1,
		.kinds = { WORD_SECRET },
		.section = SECTION_SECRETS,
		.description = "With all its versions. `mayfly list --removed` shows what there "
			       "is.",
		.example = "mayfly undelete dev/old-token",
		.run = undelete_run },
	{ .name = "set list",
		.summary = "the sets of this host",
		.words = "",
		.section = SECTION_SETS,
		.description = "With provider, number of secrets, and what each inherits. One is "
			       "the host's environment.",
		.example = "mayfly set list",
		.run = set_list_run },
	{ .name = "set create",
		.summary = "make a set",
		.words = "NAME",
		.words_min = 1,
		.words_max = 1,
		.options = set_create_options,
		.section = SECTION_SETS,
		.description = "Writes it to /etc/mayfly/mayflyd.json (that needs root) and has "
			       "the broker read it; if the broker refuses, the file is put back.",
		.example = "mayfly set create common\nmayfly set create staging --inherits common",
		.run = set_create_run },
	{ .name = "set fill",
		.summary = "generate what grants need and a set lacks",
		.words = "SET",
		.words_min = 1,
		.words_max = 1,
		.kinds = { WORD_SET },
		.section = SECTION_SETS,
		.description = "For a developer's set: every secret that a grant names and the set "
			       "does not have gets a random value.",
		.example = "mayfly set fill dev",
		.run = set_fill_run },
	{ .name = "diff",
		.summary = "compare the names in two sets",
		.words = "SET SET",
		.words_min = 2,
		.words_max = 2,
		.kinds = { WORD_SET, WORD_SET, WORD_OTHER },
		.section = SECTION_SETS,
		.description = "What only one of them has, and what grants need that is missing: "
			       "before you deploy, not after.",
		.example = "mayfly diff dev prod",
		.run = diff_run },
	{ .name = "allow",
		.summary = "let containers have secrets",
		.words = "[SERVICE]",
		.words_max = 1,
		.options = allow_options,
		.section = SECTION_GRANTS,
		.description =
			"Writes a grant to /etc/mayfly/policy.d (that needs root), or adds to the "
			"one of that name. It is shown and checked before; if the broker refuses "
			"it, nothing changes.\n\n"
			"With --compose the project, the service's user and the owners in its "
			"`secrets:` are read from the file as the installed Compose resolves "
			"it.\n\n"
			"Labels, names and projects are chosen by whoever may use the engine; an "
			"image's digest is not.",
		.example = "mayfly allow --compose compose.yaml web --secret db-password\n"
			   "mayfly allow --name backup --secret s3-key:uid=1000 --require non_root",
		.run = allow_run },
	{ .name = "forbid",
		.summary = "take a grant back, or one secret of it",
		.words = "GRANT",
		.words_min = 1,
		.words_max = 1,
		.kinds = { WORD_GRANT },
		.options = forbid_options,
		.section = SECTION_GRANTS,
		.description = "Changes the grant's file (that needs root). Lists the running "
			       "containers that have its files: they keep them until their "
			       "lease's period ends (an hour at most, unless the grant says "
			       "otherwise) or they stop. `mayfly revoke` empties them at once.",
		.example = "mayfly forbid shop-web\nmayfly forbid shop-web --secret api-key",
		.run = forbid_run },
	{ .name = "revoke",
		.summary = "empty what running containers have, now",
		.words = "[LEASE]",
		.words_max = 1,
		.options = revoke_options,
		.section = SECTION_GRANTS,
		.description =
			"Lists the containers and asks. Everything that is given must fit. The "
			"files are overwritten, truncated and removed before the command ends: who "
			"has one open or mapped reads nothing any more; what a program has copied "
			"stays its own.\n\n"
			"The grants remain: a container that starts again, or asks again, gets its "
			"files again. To end that too: `mayfly forbid` first.",
		.example = "mayfly revoke --container shop-web-1\n"
			   "mayfly revoke --secret prod/db-password --yes",
		.run = revoke_run },
	{ .name = "policy check",
		.summary = "check the grants without using them",
		.words = "[FILE...]",
		.words_max = 1000,
		.kinds = { WORD_FILE, WORD_FILE, WORD_FILE },
		.options = policy_check_options,
		.section = SECTION_GRANTS,
		.description = "Checks what is in /etc/mayfly/policy.d, or the given files as if "
			       "they were all of it. Shows mistakes with file, line and the word "
			       "that was probably meant, and what is worth knowing.",
		.example = "mayfly policy check --against-running\nmayfly policy check new/*.json",
		.run = policy_check_run },
	{ .name = "policy show",
		.summary = "the grants in force",
		.words = "[GRANT]",
		.words_max = 1,
		.kinds = { WORD_GRANT },
		.section = SECTION_GRANTS,
		.description = "As the broker has them, which is not what a file says that has not "
			       "been read since it was changed.",
		.example = "mayfly policy show shop-web",
		.run = policy_show_run },
	{ .name = "policy reload",
		.summary = "read configuration and grants again",
		.words = "",
		.section = SECTION_GRANTS,
		.description = "All or nothing: with one mistake everything stays as it was.",
		.example = "mayfly policy reload",
		.run = policy_reload_run },
	{ .name = "leases",
		.summary = "who has which secret right now",
		.words = "[SET/NAME]",
		.words_max = 1,
		.kinds = { WORD_SECRET },
		.options = leases_options,
		.section = SECTION_INSIGHT,
		.description = "Each running container that has files: how old its lease is, when "
			       "it is renewed, its hard end, the grants, the secrets with their "
			       "versions. With SET/NAME only who has that one.",
		.example = "mayfly leases prod/db-password\nmayfly leases --container shop-web-1",
		.run = leases_run },
	{ .name = "explain",
		.summary = "why a container got what it got, or not",
		.words = "[CONTAINER]",
		.words_max = 1,
		.kinds = { WORD_CONTAINER },
		.section = SECTION_INSIGHT,
		.description =
			"Each step with its evidence, in order. Without CONTAINER the newest "
			"refusal, also of a container that is gone.",
		.example = "mayfly explain shop-web-1",
		.run = explain_run },
	{ .name = "status",
		.summary = "how it is",
		.words = "",
		.options = status_options,
		.section = SECTION_INSIGHT,
		.description = "The store, the engines, deliveries, problems.",
		.example = "mayfly status\nmayfly status --check\nmayfly status --watch",
		.run = status_run },
	{ .name = "audit",
		.summary = "who had what, when, and why",
		.words = "",
		.options = audit_options,
		.section = SECTION_INSIGHT,
		.description =
			"When, how it ended, who, what, on what, and why; --json has everything. "
			"Without any option at most the newest 100. With --json --follow one JSON "
			"object a line.",
		.example = "mayfly audit --secret prod/db-password --since 30d\n"
			   "mayfly audit --refused --follow",
		.run = audit_run },
	{ .name = "audit verify",
		.summary = "prove that no record was changed or taken out",
		.words = "",
		.section = SECTION_INSIGHT,
		.description =
			"Goes through the whole chain; the store must be unlocked. Says what "
			"is proved and what is not: a tail that was cut off shows only "
			"against a head that was kept elsewhere.",
		.example = "mayfly audit verify",
		.run = audit_verify_run },
	{ .name = "doctor",
		.summary = "is this host set up right, and if not, what to do",
		.words = "",
		.section = SECTION_INSIGHT,
		.description = "Host, kernel, engine, configuration, store. Exit status 1 if a "
			       "check fails.",
		.example = "mayfly doctor",
		.run = doctor_run },
	{ .name = "compose convert",
		.summary = "write a copy of a compose file that uses Mayfly",
		.words = "[FILE]",
		.words_max = 1,
		.kinds = { WORD_FILE },
		.options = convert_options,
		.section = SECTION_COMPOSE,
		.description =
			"In the copy the services' `secrets:` have become volumes of the driver "
			"mayfly. It holds no secret: commit it; plain docker compose, Portainer "
			"and CI work with it. Variables stay variables. The original is never "
			"changed. What cannot be converted is said before anything is written.\n\n"
			"Ends with the commands that are left to do. When a volume's files change "
			"later, remove the old volume first (docker compose down, docker volume "
			"rm): "
			"an engine keeps the options of a volume that exists. It holds no data.\n\n"
			"--env is for a program that only knows the environment: the service's "
			"entry point becomes /mayfly exec, bound from the host, which reads the "
			"mounted files and becomes what the service ran before. That is read from "
			"the file, else from the image (docker image inspect: pull it first). It "
			"costs: whoever has the same uid reads an environment, every child "
			"inherits it, crash reporters print it, and a rotation needs a restart.",
		.example = "mayfly compose convert compose.yaml\n"
			   "mayfly compose convert --env db:MYSQL_ROOT_PASSWORD=db-password\n"
			   "docker compose -f compose.mayfly.yaml up -d",
		.run = convert_run },
	{ .name = "compose",
		.summary = "run Docker Compose with secrets from Mayfly",
		.words = "ARGS...",
		.words_max = 100000,
		.section = SECTION_COMPOSE,
		.flags = VERB_RAW | VERB_NO_JSON | VERB_NO_HARDENING,
		.description =
			"Does what convert does for this one run, without writing a file, and "
			"becomes docker compose: its options, signals and exit status. A file "
			"without secrets is passed through as it is. Options of mayfly itself "
			"stand before the word compose.",
		.example = "mayfly compose up -d\nmayfly compose -f compose.yaml -p shop logs web",
		.run = compose_run },
	{ .name = "help",
		.summary = "explain a verb",
		.words = "[VERB]",
		.words_max = 2,
		.kinds = { WORD_VERB },
		.options = help_options,
		.section = SECTION_SELF,
		.flags = VERB_NO_JSON,
		.description = "Without VERB: all of them.",
		.example = "mayfly help put\nmayfly help --manual key add | man -l -",
		.run = help_run },
	{ .name = "completion words",
		.summary = "what can come next on a command line",
		.words = "INDEX [WORD...]",
		.words_max = 100000,
		.section = SECTION_SELF,
		.flags = VERB_RAW | VERB_NO_JSON | VERB_UNDESCRIBED,
		.description = "For the completion script.",
		.example = "mayfly completion words 0 pu",
		.run = completion_words_run },
	{ .name = "completion",
		.summary = "completion for a shell",
		.words = "bash",
		.words_min = 1,
		.words_max = 1,
		.choices = "bash",
		.section = SECTION_SELF,
		.flags = VERB_NO_JSON,
		.description = "Prints a script that completes verbs, options, and the names of "
			       "secrets, sets, grants and containers (from the broker, if it can "
			       "be reached).",
		.example = "eval \"$(mayfly completion bash)\"",
		.run = completion_run },
	{ .name = "version",
		.alias = "--version",
		.summary = "the version of this command",
		.words = "",
		.section = SECTION_SELF,
		.description = "The broker's own version: `mayfly status`.",
		.example = "mayfly version",
		.run = version_run },
};

struct verbs verb_table(void)
{
	return (struct verbs){ .items = verbs, .count = sizeof verbs / sizeof verbs[0] };
}
