/* `exec`: becomes another program that has secrets in its environment. */
#include "client/exec/environment.h"
#include "client/exec/verb.h"
#include "client/lib/wire/deadline.h"
#include "client/lib/wire/failure.h"
#include "include/mayfly/value.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define FROM_DEFAULT	"/run/secrets"
/* A delivery that comes after the start is there within a second or never. */
#define WAIT_DEFAULT_MS 10000
#define WAIT_MAX_MS	3600000
#define POLL_MS		50
#define WISHES_MAX	64

enum { OPTION_ENV = OPTION_FIRST, OPTION_FROM, OPTION_WAIT };

static const struct option options[] = {
	{ "env", required_argument, NULL, OPTION_ENV },
	{ "from", required_argument, NULL, OPTION_FROM },
	{ "wait", required_argument, NULL, OPTION_WAIT },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ 0 },
};

struct plan {
	const char *from;
	uint32_t wait_ms;
	bool is_wait_given; /* then a name that is missing may come, too */
	struct env_wish wishes[WISHES_MAX];
	struct env_entry entries[WISHES_MAX];
	size_t count;
};

static void forget_entries(struct plan *plan)
{
	for (size_t i = 0; i < plan->count; i++)
		env_entry_done(&plan->entries[i]);
}

static enum mayfly_status read_entry(const struct mayfly_generation *generation,
	const struct env_wish *wish, struct env_entry *entry, struct mayfly_failure *failure)
{
	struct mayfly_value *value;
	enum mayfly_status status = mayfly_generation_read(
		generation, wish->file, MAYFLY_ALLOW_UNLOCKED, &value, failure);

	if (status != MAYFLY_OK)
		return status;
	status = env_entry_make(wish, value, entry, failure);
	mayfly_value_free(value);
	return status;
}

/* Reads all that is wanted from one generation. *RET_IS_COMPLETE: a delivery was there, and all of
 * it. */
static enum mayfly_status read_entries(
	struct plan *plan, bool *ret_is_complete, struct mayfly_failure *failure)
{
	struct mayfly_generation *generation;
	enum mayfly_status status = mayfly_generation_open(plan->from, &generation, failure);

	*ret_is_complete = false;
	if (status != MAYFLY_OK)
		return status;
	*ret_is_complete = mayfly_generation_is_atomic(generation);
	for (size_t i = 0; status == MAYFLY_OK && i < plan->count; i++)
		status = read_entry(generation, &plan->wishes[i], &plan->entries[i], failure);
	mayfly_generation_close(generation);
	if (status != MAYFLY_OK)
		forget_entries(plan);
	return status;
}

/* Reads all that is wanted, as soon as it is there. */
static enum mayfly_status await_entries(struct plan *plan, struct mayfly_failure *failure)
{
	const struct deadline deadline = deadline_in((int)plan->wait_ms);
	enum mayfly_status status;
	bool is_complete, may_come;

	for (;;) {
		status = read_entries(plan, &is_complete, failure);
		may_come = status == MAYFLY_ENDED ||
			   (status == MAYFLY_NO_FILE && (plan->is_wait_given || !is_complete));
		if (!may_come || deadline_is_over(&deadline))
			break;
		deadline_sleep(&deadline, POLL_MS);
	}
	if (status == MAYFLY_NO_FILE && is_complete && !plan->is_wait_given)
		failure_advise(failure, "what was delivered does not have it: is the name right?");
	else if (status == MAYFLY_NO_FILE)
		failure_advise(failure, "nothing was delivered in time: see `mayfly explain` on "
					"the host, and --wait");
	return status;
}

static int fail_to_run(char **command)
{
	const int error = errno;
	struct mayfly_failure failure;

	(void)failure_errno(&failure, MAYFLY_FAILED, error, "run '%s'", command[0]);
	(void)complain("exec", &failure);
	return error == ENOENT || error == ENOTDIR ? EXEC_NOT_FOUND : EXEC_CANNOT_RUN;
}

static int become(struct plan *plan, char **command)
{
	struct mayfly_failure failure;
	char **environment;
	int status;

#ifndef MAYFLY_SANITIZED
	/* Nobody of the same user looks at us meanwhile; execve() lifts it. It cannot fail, and the
	 * leak checker would. */
	(void)prctl(PR_SET_DUMPABLE, 0);
#endif
	if (await_entries(plan, &failure) != MAYFLY_OK)
		return complain("exec", &failure);
	environment = environment_make(environ, plan->wishes, plan->entries, plan->count);
	if (environment) {
		(void)execvpe(command[0], command, environment);
		status = fail_to_run(command);
	} else {
		(void)failure_no_memory(&failure);
		status = complain("exec", &failure);
	}
	free(environment);
	forget_entries(plan);
	return status;
}

static int add_wish(struct plan *plan, const char *text)
{
	struct env_wish *wish = &plan->wishes[plan->count];
	const char *wrong = plan->count == WISHES_MAX ? "is one too many: at most 64"
						      : env_wish_parse(text, wish);

	for (size_t i = 0; !wrong && i < plan->count; i++)
		if (plan->wishes[i].name_length == wish->name_length &&
			strncmp(plan->wishes[i].assignment, text, wish->name_length) == 0)
			wrong = "has a name that was given before";
	if (wrong)
		return usage_error("exec", "--env: '%s' %s", text, wrong);
	plan->count++;
	return EXEC_DONE;
}

/* Takes one option. Returns EXEC_DONE, or what to exit with. */
static int take_option(struct plan *plan, int option, char **argv)
{
	switch (option) {
	case OPTION_ENV:
		return add_wish(plan, optarg);
	case OPTION_FROM:
		plan->from = optarg;
		return EXEC_DONE;
	case OPTION_WAIT:
		plan->is_wait_given = true;
		if (duration_parse(optarg, WAIT_MAX_MS, &plan->wait_ms))
			return EXEC_DONE;
		return usage_error("exec", "--wait: '%s' is no time like 30s, at most 1h", optarg);
	default:
		return usage_unknown_option("exec", argv);
	}
}

static int run(int argc, char **argv)
{
	static struct plan plan = { .from = FROM_DEFAULT, .wait_ms = WAIT_DEFAULT_MS };
	int option;

	while ((option = getopt_long(argc, argv, "+:", options, NULL)) != -1) {
		int status;

		if (option == OPTION_HELP) {
			(void)printf("%s", exec_verb.help);
			return finish_output("exec", EXEC_DONE);
		}
		status = take_option(&plan, option, argv);
		if (status != EXEC_DONE)
			return status;
	}
	if (optind == argc)
		return usage_error("exec", "there is no command to run");
	if (plan.count == 0)
		return usage_error("exec", "--env NAME=SECRET says what the command needs");
	return become(&plan, argv + optind);
}

const struct verb exec_verb = {
	.name = "exec",
	.summary = "run a program with secrets in its environment",
	.help = "exec --env NAME=SECRET [--env ...] [--from DIR] [--wait DURATION] -- CMD "
		"[ARG...]\n"
		"\n"
		"Reads the files SECRET below DIR, all of one generation, puts them into the\n"
		"environment variables NAME, and becomes CMD, which is looked for in PATH. It\n"
		"needs no socket: only the mounted files. CMD keeps this process's number and\n"
		"signals; what a process 1 has to do is CMD's.\n"
		"\n"
		"  --env NAME=SECRET  SECRET is a file's path below DIR: db-password, keys/api\n"
		"  --from DIR         where the secrets are mounted (/run/secrets)\n"
		"  --wait DURATION    how long to wait for them (10s). With it, a name that a\n"
		"                     delivery does not have is waited for, too\n"
		"\n"
		"An environment is the worst place for a secret; this is for programs that know "
		"no\n"
		"other. It costs:\n"
		"  - whoever has CMD's uid reads it in /proc/PID/environ, as long as CMD runs\n"
		"  - every process that CMD starts inherits it\n"
		"  - crash reporters and debug pages print it\n"
		"  - a rotation reaches CMD only when it is started again: give the grant\n"
		"    \"on_rotate\": \"restart\"\n"
		"Values with NUL bytes, or over 128 KiB, are refused. If CMD can read a file, as\n"
		"with a variable that ends in _FILE, let it.\n"
		"\n"
		"Exit status: CMD's; 127 CMD is not found, 126 it cannot be run, 1 no secret,\n"
		"2 usage.\n"
		"\n"
		"Example:\n"
		"  /mayfly exec --env DB_PASSWORD=db-password -- /docker-entrypoint.sh mysqld\n",
	.run = run,
};
