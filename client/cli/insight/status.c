#include "client/cli/command_line/arguments.h"
#include "client/cli/insight/insight_verbs.h"
#include "client/cli/insight/status_watch.h"
#include "client/cli/operator/link.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <string.h>

/* Exit statuses of a monitoring plugin. */
enum check_exit { CHECK_OK = 0, CHECK_WARNING = 1, CHECK_CRITICAL = 2 };

#define LINE_WIDTH 80
#define LEFT	   12

static void print_engines(json_t *engines)
{
	const char *title = "engines";
	size_t i;
	json_t *engine;

	json_array_foreach (engines, i, engine) {
		const char *version = json_text(engine, "version");
		const char *detail = json_text(engine, "detail");

		AUTO_FREE char *text = text_format("%s: %s%s%s%s%s", json_text(engine, "name"),
			json_text(engine, "state"), version[0] ? ", version " : "", version,
			detail[0] ? "; " : "", detail);

		say("%-*s", LEFT, title);
		say_wrapped(LEFT, LINE_WIDTH, text);
		title = "";
	}
}

static char *life_text(json_t *backend)
{
	const long long life_s = (long long)json_number(backend, "token_life_s");

	if (!json_is_true(json_object_get(backend, "logged_in")))
		return text_copy("");
	return life_s < 0 ? text_copy(", token without end")
			  : text_format(", token for %lld s", life_s);
}

static char *values_text(json_t *backend)
{
	const long long values = (long long)json_number(backend, "values");

	if (values == 0)
		return text_copy("");
	return text_format(", %lld value%s, confirmed %lld s ago or later", values, plural(values),
		(long long)json_number(backend, "oldest_value_s"));
}

/* Sets of provider `vault`. */
static void print_backends(json_t *backends)
{
	const char *title = "backends";
	size_t i;
	json_t *backend;

	json_array_foreach (backends, i, backend) {
		json_t *address = json_array_get(json_object_get(backend, "addresses"), 0);
		const char *detail = json_text(backend, "detail");
		AUTO_FREE char *life = life_text(backend), *values = values_text(backend);
		AUTO_FREE char *text = text_format("set %s: %s, %s%s%s%s%s",
			json_text(backend, "set"), json_text(address, "url"),
			json_text(backend, "state"), life, values, detail[0] ? "; " : "", detail);

		say("%-*s", LEFT, title);
		say_wrapped(LEFT, LINE_WIDTH, text);
		title = "";
	}
}

static void print_list(const char *title, json_t *list, enum paint paint)
{
	size_t i;
	json_t *item;

	json_array_foreach (list, i, item) {
		say_painted(paint, "%-*s", LEFT, title);
		say_wrapped(LEFT, LINE_WIDTH, json_string_value(item));
		title = "";
	}
}

static void print_rotations(json_t *list)
{
	const char *title = "rotation";
	size_t i, k;
	json_t *rotation, *secret;

	json_array_foreach (list, i, rotation) {
		const char *state = json_text(rotation, "state");
		AUTO_FREE char *text = text_format("%s %lld of %lld containers%s:",
			strcmp(state, "rolling_back") == 0 ? "back to" : "to",
			(long long)json_number(rotation, "reached"),
			(long long)json_number(rotation, "containers"),
			strcmp(state, "watched") == 0 ? ", whose health is watched" : "");

		say("%-*s%s", LEFT, title, text);
		json_array_foreach (json_object_get(rotation, "secrets"), k, secret)
			say(" %s/%s", json_text(secret, "set"), json_text(secret, "name"));
		say("\n");
		title = "";
	}
}

static void print_status(json_t *status)
{
	const char *environment = json_text(status, "environment");
	const char *state = json_text(status, "state"), *detail = json_text(status, "detail");
	const bool is_well = strcmp(state, "unlocked") == 0;

	say("%-*s%s\n", LEFT, "broker", json_text(status, "version"));
	say("%-*s", LEFT, "store");
	say_painted(is_well ? PAINT_GOOD : PAINT_BAD, "%s", state);
	say("%s", detail[0] ? "; " : "\n");
	if (detail[0])
		say_wrapped(LEFT, LINE_WIDTH - (unsigned)strlen(state) - 2, detail);
	say("%-*s%s\n", LEFT, "environment", environment[0] ? environment : "(none)");
	say("%-*s%lld, grants %lld\n", LEFT, "secrets", (long long)json_number(status, "secrets"),
		(long long)json_number(status, "grants"));
	say("%-*s%lld armed, %lld released\n", LEFT, "deliveries",
		(long long)json_number(status, "armed"),
		(long long)json_number(status, "released"));
	print_engines(json_object_get(status, "engines"));
	print_backends(json_object_get(status, "backends"));
	say("%-*s%lld record%s, head\n", LEFT, "audit",
		(long long)json_number(status, "audit_records"),
		plural(json_number(status, "audit_records")));
	say("%-*s%s\n", LEFT, "", json_text(status, "audit_head"));
	print_rotations(json_object_get(status, "rotations"));
	print_list("refused", json_object_get(status, "refused_while_locked"), PAINT_BAD);
	print_list("problem", json_object_get(status, "problems"), PAINT_BAD);
}

static bool has_lost_engine(json_t *status)
{
	size_t i;
	json_t *engine;

	json_array_foreach (json_object_get(status, "engines"), i, engine) {
		if (strcmp(json_text(engine, "state"), "connected") != 0)
			return true;
	}
	return false;
}

static bool has_lost_backend(json_t *status)
{
	size_t i;
	json_t *backend;

	json_array_foreach (json_object_get(status, "backends"), i, backend) {
		if (!status_backend_is_well(backend))
			return true;
	}
	return false;
}

/* A store that is not open refuses every start; the rest can wait for a person. */
static enum check_exit judge(json_t *status)
{
	if (strcmp(json_text(status, "state"), "unlocked") != 0)
		return CHECK_CRITICAL;
	if (has_lost_engine(status) || has_lost_backend(status) ||
		json_array_size(json_object_get(status, "problems")) > 0)
		return CHECK_WARNING;
	return CHECK_OK;
}

static int check(json_t *status)
{
	static const char *const words[] = {
		[CHECK_OK] = "OK", [CHECK_WARNING] = "WARNING", [CHECK_CRITICAL] = "CRITICAL"
	};
	const enum check_exit verdict = judge(status);
	json_t *problem = json_array_get(json_object_get(status, "problems"), 0);
	const char *more = problem ? json_string_value(problem) : json_text(status, "detail");

	if (!more[0] && has_lost_engine(status))
		more = "an engine is not connected";
	if (!more[0] && has_lost_backend(status))
		more = "a server of secrets does not answer";
	say("MAYFLY %s - %s%s%s | secrets=%lld grants=%lld armed=%lld released=%lld\n",
		words[verdict], json_text(status, "state"), more[0] ? ": " : "", more,
		(long long)json_number(status, "secrets"), (long long)json_number(status, "grants"),
		(long long)json_number(status, "armed"),
		(long long)json_number(status, "released"));
	return (int)verdict;
}

int status_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_JSON json_t *reply = NULL;
	int r;

	if (argument_flag(cli->arguments, "watch"))
		return status_watch(cli, err);
	r = operator_ask(cli, "Status", NULL, &reply, err);
	if (r < 0)
		return r;
	if (cli->json) {
		(void)print_json(json_incref(reply));
		return argument_flag(cli->arguments, "check") ? (int)judge(reply) : CLI_DONE;
	}
	if (argument_flag(cli->arguments, "check"))
		return check(reply);
	print_status(reply);
	return CLI_DONE;
}
