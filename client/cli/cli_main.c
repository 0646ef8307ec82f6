/* `mayfly`: takes the command line apart by the verb table, runs one verb, and turns what became of
 * it into words and an exit status. */
#include "client/cli/cli.h"
#include "client/cli/command_line/arguments.h"
#include "client/cli/command_line/help.h"
#include "client/cli/operator/link.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"
#include "client/cli/verb_table.h"

#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Whatever is closed among the first three would become a socket or a value's file. */
static void open_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		(void)close(fd); /* Only held to see its number. */
}

/* Values pass through this process: nobody of the same user may attach to it, and it leaves no
 * core behind. */
static int harden(struct mayfly_error *err)
{
	const struct rlimit no_core = { 0, 0 };

	if (setrlimit(RLIMIT_CORE, &no_core) != 0)
		return error_errno(err, -errno, "switch core dumps off");
#ifndef MAYFLY_SANITIZED
	/* The leak checker attaches to its own process. */
	if (prctl(PR_SET_DUMPABLE, 0) != 0)
		return error_errno(err, -errno, "make the process undumpable");
#endif
	if (sodium_init() < 0)
		return error_set(err, -EIO, "start libsodium");
	return 0;
}

/* What was not found: where the names are, by the kind of the verb's first word. */
static void add_where_to_look(const struct verb *verb, struct mayfly_error *err)
{
	static const struct {
		enum word_kind kind;
		const char *advice;
	} places[] = {
		{ WORD_SECRET, "`mayfly list` shows what is there" },
		{ WORD_SET, "`mayfly set list` shows the sets" },
		{ WORD_GRANT, "`mayfly policy show` shows the grants" },
		{ WORD_CONTAINER, "`docker ps -a` shows the containers" },
	};
	const size_t used = strlen(err->text);

	if (err->code != -ENOENT || strchr(err->text, '\n'))
		return;
	for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
		if (verb->kinds[0] == places[i].kind)
			(void)snprintf(err->text + used, sizeof err->text - used, "\n%s",
				places[i].advice);
}

/* "put prod/db-password: ", so that an error says what was tried; the name is shown only where it
 * is one. */
static void name_what_was_tried(const struct arguments *arguments, struct mayfly_error *err)
{
	const struct verb *verb = arguments->verb;
	char shown[300];

	if (err->code == CLI_ERROR_UNREACHABLE || err->code == CLI_ERROR_USAGE)
		return;
	if (arguments->words_count == 0 || verb->kinds[0] == WORD_OTHER ||
		verb->kinds[0] == WORD_VERB) {
		(void)error_within(err, "%s", verb->name);
		return;
	}
	(void)error_within(err, "%s %s", verb->name,
		error_quote(shown, sizeof shown, arguments->words[0], strlen(arguments->words[0])));
}

static int exit_status(int r)
{
	if (r >= 0)
		return r;
	if (r == CLI_ERROR_USAGE)
		return CLI_USAGE;
	return r == CLI_ERROR_UNREACHABLE ? CLI_UNREACHABLE : CLI_REFUSED;
}

static int run_verb(struct cli *cli, struct mayfly_error *err)
{
	const struct verb *verb = cli->arguments->verb;
	int r = verb->flags & VERB_NO_HARDENING ? 0 : harden(err);

	if (r == 0)
		r = verb->run(cli, err);
	operator_link_close(cli->link);
	arena_free(cli->arena);
	if (r < 0) {
		add_where_to_look(verb, err);
		name_what_was_tried(cli->arguments, err);
	}
	return r;
}

/* The root that option or environment name, "" for the real one. */
static const char *root_of(const struct arguments *arguments)
{
	const char *root = argument_value(arguments, "root");

	if (!root)
		root = getenv("MAYFLY_ROOT");
	return root && strcmp(root, "/") != 0 ? root : "";
}

static int run(
	const struct verbs *verbs, const struct arguments *arguments, struct mayfly_error *err)
{
	const bool wants_help = argument_flag(arguments, "help");
	struct cli cli = { .root = root_of(arguments),
		.json = argument_flag(arguments, "json"),
		.arguments = arguments };
	int r = CLI_DONE;

	if (!arguments->verb) {
		help_print_overview(verbs);
		r = wants_help ? CLI_DONE : CLI_USAGE;
	} else if (wants_help) {
		help_print_verb(arguments->verb);
	} else {
		r = run_verb(&cli, err);
	}
	return r;
}

int main(int argc, char *argv[])
{
	MAYFLY_CLEANUP(arguments_done) struct arguments arguments = { 0 };
	const struct verbs verbs = verb_table();
	struct mayfly_error err = { 0 };
	int r;

	open_standard_streams();
	r = arguments_parse(
		&verbs, (const char *const *)argv + (argc > 0 ? 1 : 0), &arguments, &err);
	if (r == 0)
		r = run(&verbs, &arguments, &err);
	if (r < 0)
		print_error(&err);
	if (print_finish(&err) < 0) {
		print_error(&err);
		r = r == CLI_DONE ? CLI_REFUSED : r;
	}
	return exit_status(r);
}
