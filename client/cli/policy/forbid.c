#include "client/cli/command_line/arguments.h"
#include "client/cli/leases/lease_list.h"
#include "client/cli/leases/lease_print.h"
#include "client/cli/operator/link.h"
#include "client/cli/policy/grant.h"
#include "client/cli/policy/policy_files.h"
#include "client/cli/policy/policy_verbs.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/prompt.h"
#include "proto/secret_name.h"

#include <string.h>

#define NAMES_MAX 256

static int refuse_unknown_grant(
	const struct policy_files *files, const char *name, struct mayfly_error *err)
{
	const char *names[NAMES_MAX], *nearest;
	char hint[300] = "", shown[80];
	size_t count = 0, j;
	json_t *grant;

	for (size_t i = 0; i < files->count; i++)
		json_array_foreach (json_object_get(files->items[i].json, "grants"), j, grant) {
			if (count < NAMES_MAX)
				names[count++] = json_text(grant, "name");
		}
	nearest = nearest_word(name, names, count);
	if (nearest)
		(void)snprintf(hint, sizeof hint, "; did you mean '%s'?", nearest);
	return error_set(err, -ENOENT, "there is no grant '%s'%s\n`mayfly policy show` lists them",
		error_quote(shown, sizeof shown, name, strlen(name)), hint);
}

static bool has_name(json_t *names, const char *name)
{
	size_t i;
	json_t *present;

	json_array_foreach (names, i, present) {
		if (strcmp(json_string_value(present), name) == 0)
			return true;
	}
	return false;
}

/* Takes one secret out of GRANT; what a template makes of it is text that only a person changes. */
static int take_secret_out(
	json_t *grant, const char *secret, const char *file, struct mayfly_error *err)
{
	const int removed = grant_remove_secret(grant, secret);
	AUTO_JSON json_t *left = grant_secret_names(grant);

	if (has_name(left, secret))
		return error_set(err, -EINVAL,
			"'%s' is part of a template of that grant\nchange the template in %s",
			secret, file);
	if (removed == 0)
		return error_set(err, -ENOENT,
			"it does not give '%s'\n`mayfly policy show %s` shows what it gives",
			secret, json_text(grant, "name"));
	return 0;
}

/* Takes the grant, or one secret of it, out of FILE in memory. */
static int take_out(struct policy_file *file, json_t *grant, size_t index, const char *secret,
	struct mayfly_error *err)
{
	int r = secret ? take_secret_out(grant, secret, file->name, err) : 0;

	/* A grant that gives nothing says nothing. */
	if (r == 0 && (!secret || json_array_size(json_object_get(grant, "secrets")) == 0))
		(void)json_array_remove(policy_file_grants(file), index);
	return r;
}

/* True if one of LEASE's files is SECRET (a name without set) of any set. */
static bool delivers(json_t *lease, const char *secret)
{
	size_t i;
	json_t *file;

	json_array_foreach (json_object_get(lease, "files"), i, file) {
		const char *slash = strchr(json_text(file, "secret"), '/');

		if (slash && strcmp(slash + 1, secret) == 0)
			return true;
	}
	return false;
}

/* The containers that have files of the grant (of SECRET only, if given) now. */
static int list_concerned(struct cli *cli, const char *grant, const char *secret,
	json_t **ret_leases, struct mayfly_error *err)
{
	AUTO_JSON json_t *concerned = json_made(json_array());
	AUTO_JSON json_t *all = NULL;
	size_t i;
	json_t *lease;
	int r = lease_list(cli, json_made(json_pack("{s:s}", "grant", grant)), &all, err);

	if (r < 0)
		return r;
	json_array_foreach (all, i, lease) {
		if (!secret || delivers(lease, secret))
			(void)json_array_append(concerned, lease);
	}
	*ret_leases = ptr_take(&concerned);
	return 0;
}

static void print_concerned(json_t *leases)
{
	size_t i;
	json_t *lease;

	if (json_array_size(leases) == 0) {
		say("No running container has files of it.\n");
		return;
	}
	say("These run. Their files are emptied when their lease's period ends, or they stop:\n");
	json_array_foreach (leases, i, lease) {
		AUTO_FREE char *end = lease_end_text(lease);

		say("  %s (%.12s): %s\n", json_text(lease, "container"),
			json_text(lease, "container_id"), end);
	}
}

static int finish(struct cli *cli, const char *name, const struct policy_file *file, json_t *leases)
{
	if (cli->json)
		return print_json(json_pack("{s:s, s:s, s:b, s:O*}", "grant", name, "file",
			file->name, "file_removed", policy_file_is_empty(file) ? 1 : 0, "leases",
			leases));
	say("It is forbidden for every start from now on.\n");
	if (json_array_size(leases) > 0)
		say("To empty them now: mayfly revoke --grant %s\n", name);
	return CLI_DONE;
}

int forbid_run(struct cli *cli, struct mayfly_error *err)
{
	const char *name = cli->arguments->words[0];
	const char *secret = argument_value(cli->arguments, "secret");
	MAYFLY_CLEANUP(policy_files_done) struct policy_files files = { 0 };
	AUTO_JSON json_t *leases = NULL;
	struct policy_file *file;
	json_t *grant;
	size_t index;
	int r = policy_files_read(cli->root, &files, err);

	if (r < 0)
		return r;
	file = policy_files_find(&files, name, &grant, &index);
	if (!file)
		return refuse_unknown_grant(&files, name, err);
	r = list_concerned(cli, name, secret, &leases, err);
	if (r < 0)
		return r;
	if (!cli->json) {
		grant_print(grant, "");
		print_concerned(leases);
	}
	r = take_out(file, grant, index, secret, err);
	if (r == 0)
		r = policy_files_check(cli, &files, err);
	if (r == 0)
		r = prompt_confirm(
			cli, secret ? "Forbid that secret? (y/N)" : "Forbid it? (y/N)", err);
	if (r == 0)
		r = policy_file_commit(cli, file, err);
	return r < 0 ? r : finish(cli, name, file, leases);
}
