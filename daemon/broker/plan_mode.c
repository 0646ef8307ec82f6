#include "daemon/broker/plan_mode.h"

#include "daemon/broker/config/config.h"
#include "daemon/broker/policy/policy.h"
#include "daemon/broker/request/broker.h"
#include "daemon/privilege/drop.h"
#include "proto/cleanup.h"
#include "proto/log.h"
#include "proto/supervisor_protocol.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOBODY 65534

static int become_nobody(void)
{
	const struct drop_target nobody = { .uid = NOBODY, .gid = NOBODY };
	struct mayfly_error err;

	if (privilege_drop(&nobody, &err) == 0)
		return 0;
	log_error("%s", err.text);
	return -1;
}

static void tell(const struct complaints *list, const char *kind)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct complaint *item = &list->items[i];

		(void)fprintf(stderr, "%s%s: %s%s%s%s\n", kind, item->where, item->text,
			item->nearest ? "; did you mean '" : "", item->nearest ? item->nearest : "",
			item->nearest ? "'?" : "");
	}
}

static struct config *load(const char *root)
{
	struct complaints complaints = { 0 };
	struct config *config = NULL;
	struct mayfly_error err = { 0 };
	const int r = config_load(root, &config, &complaints, &err);

	tell(&complaints, "");
	if (r < 0 && complaints.count == 0)
		log_error("%s", err.text);
	complaints_done(&complaints);
	return config;
}

/* A name, or a number: tests and several instances on one host need no entry in passwd. */
static bool find_user(const char *user, struct launch_plan *plan)
{
	char *end;
	const unsigned long number = strtoul(user, &end, 10);
	const struct passwd *entry;

	if (user[0] && *end == '\0' && number > 0 && number != NOBODY && number < UINT32_MAX) {
		plan->uid = (uid_t)number;
		plan->gid = (gid_t)number;
		return true;
	}
	entry = getpwnam(user);
	if (!entry || entry->pw_uid == 0) {
		log_error("user '%s' does not exist (or is root): make it with `adduser --system "
			  "--group %s`, or set "
			  "\"user\" in the configuration",
			user, user);
		return false;
	}
	plan->uid = entry->pw_uid;
	plan->gid = entry->pw_gid;
	return true;
}

static bool copy_text(char *to, size_t size, const char *from, const char *what)
{
	if ((size_t)snprintf(to, size, "%s", from) < size)
		return true;
	log_error("%s '%s' is too long", what, from);
	return false;
}

/* Each once. */
static bool add_port(struct launch_plan *plan, uint16_t port)
{
	for (size_t i = 0; i < LAUNCH_PLAN_PORTS_MAX; i++) {
		if (plan->ports[i] == 0)
			plan->ports[i] = port;
		if (plan->ports[i] == port)
			return true;
	}
	log_error("the sets of provider 'vault' have more than %d different ports",
		LAUNCH_PLAN_PORTS_MAX);
	return false;
}

static bool fill_ports(const struct config *config, struct launch_plan *plan)
{
	for (size_t i = 0; i < config->sets_count; i++) {
		const struct config_vault *vault = config->sets[i].vault;

		for (size_t k = 0; vault && k < vault->addresses_count; k++)
			if (!add_port(plan, vault->ports[k]))
				return false;
	}
	return true;
}

static bool fill_plan(const struct config *config, struct launch_plan *plan)
{
	const struct group *group = getgrnam(config->operator_group);

	plan->magic = LAUNCH_PLAN_MAGIC;
	plan->operator_gid = group ? group->gr_gid : (gid_t)-1;
	if (!find_user(config->user, plan) || !fill_ports(config, plan))
		return false;
	for (size_t i = 0; i < config->engines_count; i++) {
		struct launch_plan_engine *engine = &plan->engines[i];

		if (!copy_text(
			    engine->name, sizeof engine->name, config->engines[i].name, "engine") ||
			!copy_text(engine->plugin_name, sizeof engine->plugin_name,
				config->engines[i].plugin_name, "plugin_name") ||
			!copy_text(engine->socket, sizeof engine->socket, config->engines[i].socket,
				"socket") ||
			!copy_text(engine->exec_root, sizeof engine->exec_root,
				config->engines[i].exec_root, "exec_root"))
			return false;
	}
	plan->engine_count = (uint32_t)config->engines_count;
	return true;
}

int plan_write(const char *root, int fd)
{
	struct launch_plan plan = { 0 };
	struct config *config;
	bool is_fine;

	if (become_nobody() < 0)
		return EXIT_FAILURE;
	config = load(root);
	if (!config)
		return EXIT_FAILURE;
	is_fine = fill_plan(config, &plan);
	config_free(config);
	return is_fine && write(fd, &plan, sizeof plan) == sizeof plan ? EXIT_SUCCESS
								       : EXIT_FAILURE;
}

int plan_check(const char *root)
{
	struct complaints complaints = { 0 }, notes = { 0 };
	struct policy *policy = NULL;
	struct config *config;
	AUTO_FREE const char **sets = NULL;
	struct mayfly_error err = { 0 };
	size_t count;
	int r;

	if (become_nobody() < 0)
		return EXIT_FAILURE;
	config = load(root);
	if (!config)
		return EXIT_FAILURE;
	sets = broker_set_names(config, &count);
	r = policy_load(root, sets, count, &policy, &complaints, &notes, &err);
	tell(&complaints, "");
	tell(&notes, "note: ");
	if (r < 0 && complaints.count == 0)
		log_error("%s", err.text);
	if (r == 0) {
		(void)printf("configuration and policy are fine: %zu sets, %zu grants\n", count,
			policy->grants_count);
		policy_unref(policy);
	}
	complaints_done(&complaints);
	complaints_done(&notes);
	config_free(config);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
