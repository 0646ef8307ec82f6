#include "client/cli/command_line/arguments.h"
#include "client/cli/insight/insight_verbs.h"
#include "client/cli/operator/link.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <string.h>

#define LINE_WIDTH    80
#define STEP_WIDTH    15 /* "running posture" */
#define EVIDENCE_LEFT (2 + 6 + STEP_WIDTH + 1)

/* The words and colours of a step's outcome. */
static const struct {
	const char *outcome;
	const char *mark;
	enum paint paint;
} marks[] = {
	{ "passed", "ok", PAINT_GOOD },
	{ "failed", "no", PAINT_BAD },
	{ "noted", "note", PAINT_WEAK },
};

static void print_step(json_t *step)
{
	const char *outcome = json_text(step, "outcome"), *mark = outcome;
	enum paint paint = PAINT_PLAIN;

	for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++)
		if (strcmp(outcome, marks[i].outcome) == 0) {
			mark = marks[i].mark;
			paint = marks[i].paint;
		}
	say("  ");
	say_painted(paint, "%-5s", mark);
	say(" %-*s ", STEP_WIDTH, json_text(step, "step"));
	say_wrapped(EVIDENCE_LEFT, LINE_WIDTH, json_text(step, "evidence"));
}

static void print_decision(json_t *decision)
{
	const char *container = json_text(decision, "container");
	const char *outcome = json_text(decision, "outcome");
	const bool refused = strcmp(outcome, "refused") == 0;
	size_t i;
	json_t *step;

	say_painted(PAINT_STRONG, "%s", container[0] ? container : "(unknown container)");
	say(": ");
	say_painted(refused ? PAINT_BAD : PAINT_GOOD, "%s", outcome);
	say("\n  ");
	say_wrapped(2, LINE_WIDTH, json_text(decision, "summary"));
	say("  %s, engine %s\n  ", json_text(decision, "time"), json_text(decision, "engine"));
	if (json_text(decision, "container_id")[0])
		say("container %.12s, ", json_text(decision, "container_id"));
	say("volume %s\n\n", json_text(decision, "volume"));
	json_array_foreach (json_object_get(decision, "steps"), i, step)
		print_step(step);
}

int explain_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_JSON json_t *reply = NULL;
	int r = operator_ask(cli, "Explain",
		json_made(json_pack("{s:s*}", "container", cli->arguments->words[0])), &reply, err);

	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	print_decision(json_object_get(reply, "decision"));
	return CLI_DONE;
}
