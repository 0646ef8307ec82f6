#include "client/exec/print_delivery.h"
#include "client/exec/verb.h"
#include "include/mayfly/mayfly.h"

#include <getopt.h>
#include <stdio.h>

/* After so long without a connection it is said that there is none. */
#define PATIENCE_MS 5000

enum { OPTION_JSON = OPTION_FIRST };

static const struct option options[] = {
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ 0 },
};

static const char *const event_names[] = {
	[MAYFLY_EVENT_PRESENT] = "present",
	[MAYFLY_EVENT_ROTATED] = "rotated",
	[MAYFLY_EVENT_EXPIRING] = "expiring",
	[MAYFLY_EVENT_ENDED] = "ended",
};

static void print_json(const char *name, const struct mayfly_delivery *delivery)
{
	struct text_buffer out = { 0 };

	text_buffer_add_text(&out, "{\"event\":");
	text_buffer_add_json(&out, name);
	text_buffer_add_text(&out, ",\"delivery\":");
	delivery_to_json(delivery, &out);
	text_buffer_add_text(&out, "}\n");
	if (!out.is_failed)
		(void)fwrite(out.bytes, 1, out.length, stdout);
	text_buffer_done(&out);
}

/* Whoever reads our output wants each line as it comes. */
static int print_event(bool json, enum mayfly_event event, const struct mayfly_delivery *delivery)
{
	if (json) {
		print_json(event_names[event], delivery);
	} else {
		(void)printf("%s ", event_names[event]);
		print_delivery_line(delivery);
		(void)printf("\n");
	}
	return finish_output("watch", EXEC_DONE);
}

/* True for what may pass by itself; said once for each time that it begins. */
static bool is_passing(const struct mayfly_failure *failure, bool *is_said)
{
	if (failure->status == MAYFLY_TIMED_OUT) {
		*is_said = false;
		return true;
	}
	if (failure->status != MAYFLY_NOT_REACHABLE && failure->status != MAYFLY_NOT_YET &&
		failure->status != MAYFLY_TOO_MUCH)
		return false;
	/* A directory that is not there is a mount that will not come. */
	if (failure->advice[0])
		return false;
	if (!*is_said)
		(void)complain("watch: still trying", failure);
	*is_said = true;
	return true;
}

static int watch_on(struct mayfly_watch *watch, bool json)
{
	struct mayfly_failure failure;
	bool is_said = false;

	for (;;) {
		enum mayfly_event event;
		struct mayfly_delivery *delivery;
		int status;

		if (mayfly_watch_next(watch, PATIENCE_MS, &event, &delivery, &failure) !=
			MAYFLY_OK) {
			if (!is_passing(&failure, &is_said))
				return complain("watch", &failure);
			continue;
		}
		is_said = false;
		status = print_event(json, event, delivery);
		mayfly_delivery_free(delivery);
		if (status != EXEC_DONE)
			return status;
	}
}

static int run(int argc, char **argv)
{
	bool json = false;
	struct mayfly_failure failure;
	struct mayfly_watch *watch;
	int option, status;

	while ((option = getopt_long(argc, argv, "+:", options, NULL)) != -1) {
		switch (option) {
		case OPTION_JSON:
			json = true;
			break;
		case OPTION_HELP:
			(void)printf("%s", watch_verb.help);
			return finish_output("watch", EXEC_DONE);
		default:
			return usage_unknown_option("watch", argv);
		}
	}
	if (optind < argc)
		return usage_error("watch", "'%s' is a word too many", argv[optind]);
	if (mayfly_watch_open(NULL, &watch, &failure) != MAYFLY_OK)
		return complain("watch", &failure);
	status = watch_on(watch, json);
	mayfly_watch_close(watch);
	return status;
}

const struct verb watch_verb = {
	.name = "watch",
	.summary = "tell of rotations and ends as they happen",
	.help = "watch [--json]\n"
		"\n"
		"Prints a line for each delivery of this container (present), then one for each\n"
		"change: rotated (read the files again), expiring, ended. Goes on until it is\n"
		"killed, also when Mayfly is started again in between.\n"
		"\n"
		"  --json  each line as JSON: {\"event\": ..., \"delivery\": ...}\n"
		"\n"
		"The socket is /run/mayfly/container.sock, or what MAYFLY_SOCKET names.\n"
		"Exit status: 1 refused or failed, 2 usage, 3 broker not reachable.\n"
		"\n"
		"Example:\n"
		"  /mayfly watch | while read -r event rest; do\n"
		"    if [ \"$event\" = rotated ]; then kill -HUP \"$(cat /run/app.pid)\"; fi\n"
		"  done\n",
	.run = run,
};
