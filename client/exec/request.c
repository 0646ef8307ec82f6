#include "client/exec/print_delivery.h"
#include "client/exec/verb.h"
#include "include/mayfly/mayfly.h"

#include <getopt.h>
#include <stdio.h>

/* What the broker's answer itself may take. */
#define ANSWER_MS 10000

enum { OPTION_GRANT = OPTION_FIRST, OPTION_WAIT, OPTION_JSON };

static const struct option options[] = {
	{ "grant", required_argument, NULL, OPTION_GRANT },
	{ "wait", required_argument, NULL, OPTION_WAIT },
	{ "json", no_argument, NULL, OPTION_JSON },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ 0 },
};

struct wish {
	struct mayfly_wanted wanted;
	bool json;
};

static void print_json(const struct mayfly_delivery *delivery)
{
	struct text_buffer out = { 0 };

	text_buffer_add_text(&out, "{\"delivery\":");
	delivery_to_json(delivery, &out);
	text_buffer_add_text(&out, ",\"is_new\":");
	text_buffer_add_text(&out, mayfly_delivery_is_new(delivery) ? "true}\n" : "false}\n");
	if (!out.is_failed)
		(void)fwrite(out.bytes, 1, out.length, stdout);
	text_buffer_done(&out);
}

static void print_words(const struct mayfly_delivery *delivery)
{
	(void)printf(mayfly_delivery_is_new(delivery) ? "delivered: " : "was there already: ");
	print_delivery_line(delivery);
	(void)printf("\n");
	print_delivery_files(delivery);
}

static int request(const struct wish *wish)
{
	struct mayfly_failure failure;
	struct mayfly_delivery *delivery = NULL;
	struct mayfly *mayfly = NULL;
	enum mayfly_status status = mayfly_open(NULL, &mayfly, &failure);

	if (status == MAYFLY_OK)
		status = mayfly_request(mayfly, &wish->wanted,
			(int)wish->wanted.wait_ms + ANSWER_MS, &delivery, &failure);
	mayfly_close(mayfly);
	if (status != MAYFLY_OK)
		return complain("request", &failure);
	if (wish->json)
		print_json(delivery);
	else
		print_words(delivery);
	mayfly_delivery_free(delivery);
	return finish_output("request", EXEC_DONE);
}

static int run(int argc, char **argv)
{
	struct wish wish = { 0 };
	int option;

	while ((option = getopt_long(argc, argv, "+:", options, NULL)) != -1) {
		switch (option) {
		case OPTION_GRANT:
			wish.wanted.grant = optarg;
			break;
		case OPTION_WAIT:
			if (!duration_parse(optarg, MAYFLY_WAIT_MAX_MS, &wish.wanted.wait_ms))
				return usage_error("request",
					"--wait: '%s' is no time like 30s, at most 10m", optarg);
			break;
		case OPTION_JSON:
			wish.json = true;
			break;
		case OPTION_HELP:
			(void)printf("%s", request_verb.help);
			return finish_output("request", EXEC_DONE);
		default:
			return usage_unknown_option("request", argv);
		}
	}
	if (optind < argc)
		wish.wanted.names = (const char *const *)argv + optind;
	return request(&wish);
}

const struct verb request_verb = {
	.name = "request",
	.summary = "have secrets delivered to this container",
	.help = "request [--grant GRANT] [--wait DURATION] [--json] [NAME...]\n"
		"\n"
		"Asks Mayfly for what this container's grants say, or for the secrets NAME...\n"
		"(without their set) of it. Says where the files are, and never prints a value.\n"
		"What is delivered already stays as it is.\n"
		"\n"
		"  --grant GRANT    only what this grant says\n"
		"  --wait DURATION  wait for what can still come (30s, 5m; at most 10m): an "
		"unlocked\n"
		"                   store, a secret, a backend. Without it the answer comes at "
		"once\n"
		"  --json           the broker's reply as one line of JSON\n"
		"\n"
		"The socket is /run/mayfly/container.sock, or what MAYFLY_SOCKET names.\n"
		"Exit status: 0 done, 1 refused or failed, 2 usage, 3 broker not reachable.\n"
		"\n"
		"Example:\n"
		"  /mayfly request --wait 30s db-password && cat /run/secrets/db-password\n",
	.run = run,
};
