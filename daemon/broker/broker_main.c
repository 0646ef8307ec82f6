/* mayfly-broker: started by mayflyd with the descriptors that proto/supervisor_protocol.h lists.
 *   --plan --root DIR    reads the configuration for the supervisor (plan_mode.h)
 *   --check --root DIR   checks configuration and policy, starts nothing
 *   --root DIR --engine NAME ... --groups N [--denied N] [--connect PORTS]    serves
 * Order of a start: harden, read configuration, lock memory, open what must be open, drop, sandbox;
 * only then the first byte of input. */
#include "daemon/broker/broker_start.h"
#include "daemon/broker/plan_mode.h"
#include "daemon/privilege/drop.h"
#include "proto/log.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

enum mode { MODE_SERVE = 0, MODE_PLAN, MODE_CHECK };

/* "8200,443" */
static bool parse_ports(const char *text, struct broker_birth *birth)
{
	while (*text) {
		char *end;
		const unsigned long port = strtoul(text, &end, 10);

		if (end == text || port < 1 || port > UINT16_MAX ||
			birth->ports_count == LAUNCH_PLAN_PORTS_MAX)
			return false;
		birth->ports[birth->ports_count++] = (uint16_t)port;
		text = *end == ',' ? end + 1 : end;
	}
	return true;
}

static bool parse_arguments(int argc, char **argv, enum mode *mode, struct broker_birth *birth)
{
	static const struct option options[] = {
		{ "plan", no_argument, NULL, 'p' },
		{ "check", no_argument, NULL, 'c' },
		{ "root", required_argument, NULL, 'r' },
		{ "engine", required_argument, NULL, 'e' },
		{ "groups", required_argument, NULL, 'g' },
		{ "denied", required_argument, NULL, 'd' },
		{ "connect", required_argument, NULL, 'o' },
		{ 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (option) {
		case 'p':
			*mode = MODE_PLAN;
			break;
		case 'c':
			*mode = MODE_CHECK;
			break;
		case 'r':
			birth->root = optarg;
			break;
		case 'e':
			if (birth->engines_count == MAYFLY_ENGINES_MAX)
				return false;
			birth->engines[birth->engines_count++] = optarg;
			break;
		case 'g':
			birth->groups_count = (uint32_t)strtoul(optarg, NULL, 10);
			break;
		case 'd':
			birth->denied = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'o':
			if (!parse_ports(optarg, birth))
				return false;
			break;
		default:
			return false;
		}
	return optind == argc && birth->groups_count <= GUARD_GROUPS_MAX + 1;
}

int main(int argc, char **argv)
{
	struct broker_birth birth = { .root = "" };
	enum mode mode = MODE_SERVE;

	process_harden();
	log_init("mayfly-broker", getenv("JOURNAL_STREAM") != NULL);
	if (!parse_arguments(argc, argv, &mode, &birth)) {
		log_error("started by hand? mayflyd starts it");
		return 2;
	}
	if (mode == MODE_PLAN)
		return plan_write(birth.root, CHILD_FD_CONTROL);
	if (mode == MODE_CHECK)
		return plan_check(birth.root);
	return broker_run(&birth);
}
