#include "client/cli/command_line/arguments.h"
#include "client/cli/insight/audit_line.h"
#include "client/cli/insight/audit_time.h"
#include "client/cli/insight/insight_verbs.h"
#include "client/cli/operator/link.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <limits.h>
#include <string.h>

/* Without any filter: a person wants the newest, not a million. */
#define NEWEST_DEFAULT 100

/* What to do with the records of each reply. */
struct audit_output {
	json_t *all; /* collected for --json; NULL: print as they come */
	bool as_json;
};

static bool on_records(json_t *parameters, void *data)
{
	const struct audit_output *output = data;
	json_t *records = json_object_get(parameters, "records");
	size_t i;
	json_t *record;

	json_array_foreach (records, i, record) {
		AUTO_FREE char *line = NULL;

		if (output->all) {
			(void)json_array_append(output->all, record);
		} else if (output->as_json) {
			line = json_dumps(record, JSON_COMPACT | JSON_ENSURE_ASCII);
			/* A stream that takes nothing is noticed by print_finish(). */
			(void)fprintf(stdout, "%s\n", line ? line : "{}");
		} else {
			audit_line_print(record);
		}
	}
	/* Who follows wants to see it now; a reader that is gone ends it. */
	return fflush(stdout) == 0;
}

static void add_flag(json_t *parameters, const struct arguments *arguments, const char *name)
{
	if (argument_flag(arguments, name))
		(void)json_object_set_new(parameters, name, json_true());
}

/* The filters as parameters; *RET_LAST is set if only the newest are shown by default. */
static int read_filters(
	struct cli *cli, json_t **ret_parameters, bool *ret_by_default, struct mayfly_error *err)
{
	static const char *const times[] = { "since", "until" };
	static const char *const texts[] = { "secret", "container", "action" };
	const struct arguments *given = cli->arguments;
	bool is_filtered = argument_flag(given, "last") || argument_flag(given, "refused");
	AUTO_JSON json_t *parameters = json_made(json_object());
	long long last = 0;
	int r = argument_number(given, "last", 0, INT_MAX, 0, &last, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		const char *value = argument_value(given, times[i]);
		char moment[AUDIT_TIME_SIZE];

		if (!value)
			continue;
		is_filtered = true;
		r = audit_time_read(times[i], value, time(NULL), moment, err);
		if (r < 0)
			return r;
		(void)json_object_set_new(parameters, times[i], json_made(json_string(moment)));
	}
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		const char *value = argument_value(given, texts[i]);

		is_filtered = is_filtered || value;
		if (value)
			(void)json_object_set_new(
				parameters, texts[i], json_made(json_string(value)));
	}
	if (!is_filtered)
		last = NEWEST_DEFAULT;
	if (last > 0)
		(void)json_object_set_new(parameters, "last", json_made(json_integer(last)));
	add_flag(parameters, given, "refused");
	add_flag(parameters, given, "follow");
	*ret_by_default = !is_filtered;
	*ret_parameters = ptr_take(&parameters);
	return 0;
}

int audit_run(struct cli *cli, struct mayfly_error *err)
{
	const bool follow = argument_flag(cli->arguments, "follow");
	AUTO_JSON json_t *all = cli->json && !follow ? json_made(json_array()) : NULL;
	struct audit_output output = { .all = all, .as_json = cli->json };
	json_t *parameters = NULL;
	bool by_default;
	int r = read_filters(cli, &parameters, &by_default, err);

	if (r == 0)
		r = operator_call(cli,
			&(struct operator_call){ .method = "ReadAudit",
				.parameters = parameters,
				.timeout_ms = follow ? OPERATOR_FOREVER_MS : OPERATOR_PATIENT_MS,
				.on_reply = on_records,
				.data = &output },
			NULL, err);
	if (r < 0)
		return r;
	if (all)
		return print_json(json_pack("{s:O}", "records", all));
	if (by_default)
		say_aside("(at most the newest %d; --last 0 shows all)\n", NEWEST_DEFAULT);
	return CLI_DONE;
}

/* What is to be done is not what is to be done about a damaged secret. */
static int refuse_tampered(struct mayfly_error *err)
{
	const struct mayfly_error found = *err;

	return error_set(err, found.code,
		"%.*s\nleave the audit files as they are, they are evidence; find out who can "
		"write there",
		(int)strcspn(found.text, "\n"), found.text);
}

int audit_verify_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_JSON json_t *reply = NULL;
	const char *first;
	int r = operator_call(cli,
		&(struct operator_call){
			.method = "VerifyAudit", .timeout_ms = OPERATOR_PATIENT_MS },
		&reply, err);

	if (r == -EBADMSG)
		return refuse_tampered(err);
	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	first = json_text(reply, "first");
	say_painted(PAINT_GOOD, "proved");
	say(": %lld record%s unchanged, complete and in order\n",
		(long long)json_number(reply, "records"),
		json_number(reply, "records") == 1 ? " is" : "s are");
	if (first[0])
		say("        from %s to %s\n", first, json_text(reply, "last"));
	say("head: %s\n", json_text(reply, "head"));
	say_painted(PAINT_WEAK, "not proved");
	say(": that nothing was cut off behind the last record\n"
	    "Keep the head on another machine; one that was kept must still be found:\n"
	    "  mayfly audit --last 0 --json | grep HEAD\n");
	return CLI_DONE;
}
