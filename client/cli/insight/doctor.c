#include "client/cli/insight/insight_verbs.h"
#include "client/cli/operator/link.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <string.h>

#define LINE_WIDTH 80
#define LEFT	   9

static bool is(json_t *check, const char *outcome)
{
	return strcmp(json_text(check, "outcome"), outcome) == 0;
}

/* Prints one check; returns true if it has failed. */
static bool print_check(json_t *check)
{
	const enum paint paint = is(check, "ok")       ? PAINT_GOOD
				 : is(check, "failed") ? PAINT_BAD
						       : PAINT_STRONG;
	const char *advice = json_text(check, "advice");
	AUTO_FREE char *text =
		text_format("%s: %s", json_text(check, "name"), json_text(check, "text"));

	say_painted(paint, "%-*s", LEFT, json_text(check, "outcome"));
	say_wrapped(LEFT, LINE_WIDTH, text);
	if (advice[0]) {
		say("%*s", LEFT, "");
		say_wrapped(LEFT, LINE_WIDTH, advice);
	}
	return is(check, "failed");
}

static bool has_failed(json_t *checks)
{
	size_t i;
	json_t *check;

	json_array_foreach (checks, i, check) {
		if (is(check, "failed"))
			return true;
	}
	return false;
}

int doctor_run(struct cli *cli, struct mayfly_error *err)
{
	AUTO_JSON json_t *reply = NULL;
	json_t *checks, *check;
	size_t i, failed = 0;
	int r = operator_ask(cli, "Doctor", NULL, &reply, err);

	if (r < 0)
		return r;
	checks = json_object_get(reply, "checks");
	if (cli->json) {
		(void)print_json(json_incref(reply));
		return has_failed(checks) ? CLI_REFUSED : CLI_DONE;
	}
	json_array_foreach (checks, i, check)
		failed += print_check(check) ? 1 : 0;
	say("%zu checks, %zu failed\n", json_array_size(checks), failed);
	return failed > 0 ? CLI_REFUSED : CLI_DONE;
}
