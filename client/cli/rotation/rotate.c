/* rotate and rollback: prepare every value, tell other systems (--apply), put all into force at once,
 * follow it to the containers. */
#include "client/cli/command_line/arguments.h"
#include "client/cli/operator/link.h"
#include "client/cli/rotation/apply.h"
#include "client/cli/rotation/progress.h"
#include "client/cli/rotation/rotation_verbs.h"
#include "client/cli/secrets/secret_verbs.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"
#include "client/cli/value/value.h"

#include <stdlib.h>
#include <string.h>

#define CANARY_MAX 10000

/* What this run has prepared: taken back if it comes to nothing. */
struct prepared {
	const char **names; /* borrowed */
	size_t count;
};

static void discard_all(struct cli *cli, struct prepared *prepared)
{
	struct mayfly_error err;

	while (prepared->count > 0) {
		const char *name = prepared->names[--prepared->count];

		if (operator_ask(cli, "Discard", json_made(json_pack("{s:s}", "name", name)), NULL,
			    &err) < 0)
			print_error(&err);
	}
}

/* --- where the values come from --- */

static int send_value(struct cli *cli, const char *name, const char *from_file, json_t **ret_reply,
	struct mayfly_error *err)
{
	MAYFLY_CLEANUP(sealed_value_done) struct sealed_value sealed = SEALED_VALUE_EMPTY;
	AUTO_FREE char *prompt = text_format("New value of %s", name);
	AUTO_SECRET value = { 0 };
	int r = value_read(cli,
		&(struct value_request){ .prompt = prompt,
			.from_file = from_file,
			.exact = argument_flag(cli->arguments, "exact"),
			.ask_twice = true,
			.max_bytes = MAYFLY_VALUE_MAX_BYTES,
			.what = "value" },
		&value, NULL, err);

	if (r == 0)
		r = sealed_value_new(&value, &sealed, err);
	if (r < 0)
		return r;
	return operator_call(cli,
		&(struct operator_call){ .method = "Prepare",
			.parameters =
				json_made(json_pack("{s:s, s:i}", "name", name, "value_fd", 0)),
			.fds = &sealed.fd,
			.fds_count = 1 },
		ret_reply, err);
}

static int prepare_generated(
	struct cli *cli, const char *name, json_t **ret_reply, struct mayfly_error *err)
{
	AUTO_JSON json_t *wish = json_made(json_pack("{s:s, s:b}", "name", name, "generate", 1));
	const int r = generated_wish_read(cli, wish, err);

	return r < 0 ? r : operator_ask(cli, "Prepare", ptr_take(&wish), ret_reply, err);
}

/* The value of `prod/shop/smtp` in a directory is the file shop/smtp. */
static char *file_in(const char *directory, const char *name)
{
	return text_format("%s/%s", directory, strchr(name, '/') + 1);
}

static int prepare_one(struct cli *cli, const char *name, bool is_rollback, json_t **ret_reply,
	struct mayfly_error *err)
{
	const char *directory = is_rollback ? NULL : argument_value(cli->arguments, "from-dir");
	AUTO_FREE char *file = directory ? file_in(directory, name) : NULL;

	if (is_rollback)
		return operator_ask(cli, "Prepare",
			json_made(json_pack("{s:s, s:b}", "name", name, "previous", 1)), ret_reply,
			err);
	if (argument_flag(cli->arguments, "generate"))
		return prepare_generated(cli, name, ret_reply, err);
	return send_value(cli, name, file ? file : argument_value(cli->arguments, "from-file"),
		ret_reply, err);
}

static int prepare_all(
	struct cli *cli, bool is_rollback, struct prepared *prepared, struct mayfly_error *err)
{
	for (size_t i = 0; i < cli->arguments->words_count; i++) {
		const char *name = cli->arguments->words[i];
		AUTO_JSON json_t *reply = NULL;
		const int r = prepare_one(cli, name, is_rollback, &reply, err);

		if (r < 0) {
			discard_all(cli, prepared);
			return r;
		}
		if (strcmp(json_text(reply, "outcome"), "unchanged") == 0)
			say_aside("%s: unchanged, it is the current value already (version %lld)\n",
				name, (long long)json_number(reply, "current"));
		else
			prepared->names[prepared->count++] = name;
	}
	return 0;
}

/* --- into force --- */

static void take_back(struct progress *progress, const char *rotation)
{
	/* The other connection is in the middle of its call. */
	struct cli other = *progress->cli;
	struct mayfly_error err;

	other.link = NULL;
	if (apply_back(progress->data, &err) < 0)
		say_aside("--apply could not be taken back everywhere: see above\n");
	if (operator_ask(&other, "ConfirmRollback",
		    json_made(json_pack("{s:s}", "rotation", rotation)), NULL, &err) < 0)
		print_error(&err);
	operator_link_close(other.link);
}

static int put_into_force(struct cli *cli, const struct prepared *prepared, struct apply *apply,
	struct mayfly_error *err)
{
	struct progress progress = { .cli = cli,
		.is_silent = !argument_flag(cli->arguments, "wait") && !apply->command,
		.take_back = apply->command ? take_back : NULL,
		.data = apply };
	json_t *names = json_made(json_array());
	long long canary = 0;
	int r = argument_number(cli->arguments, "canary", 1, CANARY_MAX, 0, &canary, err);

	for (size_t i = 0; i < prepared->count; i++)
		(void)json_array_append_new(names, json_made(json_string(prepared->names[i])));
	if (r == 0)
		r = operator_call(cli,
			&(struct operator_call){ .method = "Rotate",
				.parameters = json_made(json_pack("{s:O, s:I, s:b}", "names", names,
					"canary", (json_int_t)canary, "apply",
					apply->command != NULL)),
				.timeout_ms = OPERATOR_FOREVER_MS,
				.on_reply = progress_on_event,
				.data = &progress },
			NULL, err);
	json_decref(names);
	if (r == 0)
		r = progress_result(&progress, err);
	else if (progress.begun)
		say_aside("the rotation goes on; see `mayfly status`\n");
	progress_done(&progress);
	return r;
}

static int rotate(struct cli *cli, struct prepared *prepared, struct mayfly_error *err)
{
	const char *command = argument_value(cli->arguments, "apply");
	struct apply apply = { 0 };
	int r = 0;

	if (command)
		r = apply_fetch(cli, command, prepared->names, prepared->count, &apply, err);
	if (r == 0 && command)
		r = apply_forward(&apply, err);
	if (r < 0) {
		discard_all(cli, prepared);
		apply_done(&apply);
		return r < 0 ? error_within(err, "nothing has changed") : r;
	}
	r = put_into_force(cli, prepared, &apply, err);
	apply_done(&apply);
	return r;
}

static int check_names(struct cli *cli, struct mayfly_error *err)
{
	int r = 0;

	for (size_t i = 0; i < cli->arguments->words_count && r == 0; i++) {
		const char *name;

		r = secret_word(cli, i, &name, err);
		for (size_t k = 0; k < i && r == 0; k++)
			if (strcmp(cli->arguments->words[k], name) == 0)
				r = error_set(err, CLI_ERROR_USAGE, "%s is named twice", name);
	}
	return r < 0 ? r : operator_reach(cli, err);
}

/* From where the values come: one place, and one that has a value for each name. */
static int check_source(const struct cli *cli, struct mayfly_error *err)
{
	const bool generate = argument_flag(cli->arguments, "generate");
	const bool from_file = argument_value(cli->arguments, "from-file") != NULL;
	const bool from_dir = argument_value(cli->arguments, "from-dir") != NULL;

	if (generate + from_file + from_dir > 1)
		return error_set(err, CLI_ERROR_USAGE,
			"--generate, --from-file and --from-dir: give one of them");
	if (cli->arguments->words_count > 1 && !generate && !from_dir)
		return error_set(
			err, CLI_ERROR_USAGE, "several values come from --generate or --from-dir");
	return 0;
}

static int run(struct cli *cli, bool is_rollback, struct mayfly_error *err)
{
	struct prepared prepared = { .names = calloc(cli->arguments->words_count + 1,
					     sizeof *prepared.names) };
	int r = prepared.names ? check_names(cli, err) : error_errno(err, -ENOMEM, "rotate");

	if (r == 0)
		r = prepare_all(cli, is_rollback, &prepared, err);
	if (r == 0 && prepared.count > 0)
		r = rotate(cli, &prepared, err);
	free(prepared.names);
	return r;
}

/* What another run has prepared, and did not finish. */
static int resume(struct cli *cli, struct mayfly_error *err)
{
	struct prepared prepared = { .names = cli->arguments->words,
		.count = cli->arguments->words_count };
	struct apply none = { 0 };
	int r = check_names(cli, err);

	return r < 0 ? r : put_into_force(cli, &prepared, &none, err);
}

static int discard(struct cli *cli, struct mayfly_error *err)
{
	int r = check_names(cli, err);

	for (size_t i = 0; i < cli->arguments->words_count && r == 0; i++) {
		AUTO_JSON json_t *reply = NULL;

		r = operator_ask(cli, "Discard",
			json_made(json_pack("{s:s}", "name", cli->arguments->words[i])), &reply,
			err);
		if (r == 0 && cli->json)
			(void)print_json(ptr_take(&reply));
		else if (r == 0)
			say("%s: version %lld is discarded\n", cli->arguments->words[i],
				(long long)json_number(reply, "version"));
	}
	return r;
}

int rotate_run(struct cli *cli, struct mayfly_error *err)
{
	const bool wants_resume = argument_flag(cli->arguments, "resume");
	const bool wants_discard = argument_flag(cli->arguments, "discard");
	int r;

	if (wants_resume && wants_discard)
		return error_set(err, CLI_ERROR_USAGE, "--resume or --discard: give one of them");
	if (wants_resume)
		return resume(cli, err);
	if (wants_discard)
		return discard(cli, err);
	r = check_source(cli, err);
	return r < 0 ? r : run(cli, false, err);
}

int rollback_run(struct cli *cli, struct mayfly_error *err)
{
	return run(cli, true, err);
}
