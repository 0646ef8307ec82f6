#include "client/cli/rotation/progress.h"

#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <string.h>

static const struct {
	const char *outcome;
	enum paint paint;
	const char *words; /* before the event's text */
} outcomes[] = {
	{ "told", PAINT_GOOD, "told " },
	{ "restarted", PAINT_GOOD, "restarted" },
	{ "watches", PAINT_GOOD, "told: it watches the container socket" },
	{ "quiet", PAINT_GOOD, "changed; its grant says that it needs no telling" },
	{ "untold", PAINT_BAD, "NOT told: " },
	{ "gone", PAINT_WEAK, "gone: " },
	{ "failed", PAINT_BAD, "failed: " },
};

static void print_container(const struct progress *progress, json_t *event)
{
	const char *outcome = json_text(event, "outcome");

	for (size_t i = 0; i < sizeof outcomes / sizeof outcomes[0]; i++) {
		if (strcmp(outcome, outcomes[i].outcome) != 0)
			continue;
		say("  %s  ", json_text(event, "container"));
		if (progress->is_back && strcmp(outcome, "failed") != 0 &&
			strcmp(outcome, "gone") != 0)
			say("rolled back, ");
		say_painted(
			outcomes[i].paint, "%s%s\n", outcomes[i].words, json_text(event, "text"));
	}
}

static void print_begun(const struct progress *progress, json_t *event)
{
	const long long containers = json_number(event, "containers");
	json_t *change;
	size_t i;

	json_array_foreach (json_object_get(event, "secrets"), i, change)
		say("%s/%s: version %lld is in force\n", json_text(change, "set"),
			json_text(change, "name"), (long long)json_number(change, "after"));
	if (containers == 0)
		say("  no container has it\n");
	else if (progress->is_silent)
		say("  %lld container%s get%s it now; --wait tells how it goes\n", containers,
			plural(containers), containers == 1 ? "s" : "");
}

static void print_watching(json_t *event)
{
	const bool is_canary = strcmp(json_text(event, "what"), "canary") == 0;

	say("  %s: their health is watched for %lld s%s\n",
		is_canary ? "the first ones have it" : "all have it",
		(long long)json_number(event, "seconds"),
		is_canary ? ", then the others follow" : "");
}

static void print_event(struct progress *progress, const char *kind, json_t *event)
{
	if (strcmp(kind, "begun") == 0)
		print_begun(progress, event);
	else if (strcmp(kind, "container") == 0)
		print_container(progress, event);
	else if (strcmp(kind, "watching") == 0)
		print_watching(event);
	else if (strcmp(kind, "unwell") == 0)
		say_painted(PAINT_BAD, "  %s\n", json_text(event, "text"));
	else if (strcmp(kind, "rolling_back") == 0)
		say_painted(PAINT_BAD, "  rolling back: %s\n", json_text(event, "text"));
	else if (strcmp(kind, "not_taken_back") == 0)
		say_painted(PAINT_BAD, "  not rolled back: %s\n", json_text(event, "text"));
}

static void note(struct progress *progress, const char *kind, json_t *event)
{
	if (strcmp(kind, "begun") == 0 && !progress->begun)
		progress->begun = json_incref(event);
	if (strcmp(kind, "rolling_back") == 0)
		progress->is_back = true;
	if (strcmp(kind, "over") == 0) {
		progress->failed = json_number(event, "failed");
		progress->was_taken_back = strcmp(json_text(event, "outcome"), "rolled_back") == 0;
	}
}

bool progress_on_event(json_t *event, void *data)
{
	struct progress *progress = data;
	const char *kind = json_text(event, "event");

	note(progress, kind, event);
	if (progress->cli->json && progress->is_silent) {
		(void)print_json(json_incref(event));
	} else if (progress->cli->json) {
		AUTO_FREE char *line = json_dumps(event, JSON_COMPACT | JSON_ENSURE_ASCII);

		(void)fprintf(stdout, "%s\n", line ? line : "{}");
	} else {
		print_event(progress, kind, event);
	}
	(void)fflush(stdout);
	if (strcmp(kind, "unwell") == 0 && progress->take_back)
		progress->take_back(progress, json_text(event, "rotation"));
	/* Whoever only wanted to begin it leaves now. */
	return !progress->is_silent && strcmp(kind, "over") != 0;
}

int progress_result(const struct progress *progress, struct mayfly_error *err)
{
	if (progress->was_taken_back)
		return error_set(err, -EIO, "the rotation was rolled back");
	if (progress->failed > 0)
		return error_set(err, -EIO, "%lld container%s kept what they had", progress->failed,
			plural(progress->failed));
	return CLI_DONE;
}

void progress_done(struct progress *progress)
{
	json_decref(progress->begun);
	progress->begun = NULL;
}
