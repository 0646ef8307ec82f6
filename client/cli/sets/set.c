#include "client/cli/command_line/arguments.h"
#include "client/cli/files/config_edit.h"
#include "client/cli/operator/link.h"
#include "client/cli/sets/set_verbs.h"
#include "client/cli/terminal/columns.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"
#include "proto/secret_name.h"

#include <string.h>

int set_list_run(struct cli *cli, struct mayfly_error *err)
{
	static const char *const heads[] = { "SET", "PROVIDER", "SECRETS", "INHERITS" };
	MAYFLY_CLEANUP(columns_done) struct columns columns;
	AUTO_JSON json_t *reply = NULL;
	size_t i;
	json_t *set;
	int r = operator_ask(cli, "ListSets", NULL, &reply, err);

	columns_init(&columns, heads, 4);
	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	json_array_foreach (json_object_get(reply, "sets"), i, set) {
		const bool is_ours = json_is_true(json_object_get(set, "is_environment"));
		AUTO_FREE char *name = text_format(
			"%s%s", json_text(set, "name"), is_ours ? " (environment)" : "");
		AUTO_FREE char *secrets = text_format("%lld", json_number(set, "secrets"));
		AUTO_FREE char *inherits = text_join(json_object_get(set, "inherits"));
		const char *cells[] = { name, json_text(set, "provider"), secrets, inherits };

		columns_add(&columns, cells);
	}
	columns_print(&columns);
	return CLI_DONE;
}

/* The set that is to be made. */
struct set_wish {
	const char *name;
	json_t *inherits; /* array of names, or NULL */
};

/* "a,b" as an array of names; each is checked. */
static int parse_inherits(const char *text, json_t **ret_list, struct mayfly_error *err)
{
	AUTO_JSON json_t *list = json_made(json_array());
	AUTO_FREE char *copy = text_copy(text);
	char *rest = NULL;

	for (char *name = strtok_r(copy, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
		if (set_name_check(name, err) < 0)
			return cli_usage(err);
		(void)json_array_append_new(list, json_made(json_string(name)));
	}
	*ret_list = ptr_take(&list);
	return 0;
}

static int add_set(json_t *config, void *data, struct mayfly_error *err)
{
	const struct set_wish *wish = data;
	json_t *sets = json_object_get(config, "sets");

	if (sets && !json_is_object(sets))
		return error_set(err, -EINVAL, "\"sets\" in mayflyd.json is no object");
	if (json_object_get(sets, wish->name))
		return error_set(err, -EEXIST,
			"there is a set '%s' already\n`mayfly set list` shows it", wish->name);
	if (!sets) {
		sets = json_made(json_object());
		(void)json_object_set_new(config, "sets", sets);
	}
	(void)json_object_set_new(sets, wish->name,
		json_made(
			json_pack("{s:s, s:O*}", "provider", "store", "inherits", wish->inherits)));
	return 1;
}

int set_create_run(struct cli *cli, struct mayfly_error *err)
{
	const char *inherits = argument_value(cli->arguments, "inherits");
	AUTO_JSON json_t *list = NULL;
	struct set_wish wish = { .name = cli->arguments->words[0] };
	int r = 0;

	if (set_name_check(wish.name, err) < 0)
		return cli_usage(err);
	if (inherits)
		r = parse_inherits(inherits, &list, err);
	wish.inherits = list;
	if (r == 0)
		r = operator_reach(cli, err);
	if (r == 0)
		r = config_edit(cli, add_set, &wish, err);
	if (r < 0)
		return r;
	if (cli->json)
		return operator_ask_and_print(cli, "ListSets", NULL, err);
	say("set %s is there; `mayfly put %s/NAME` stores in it\n", wish.name, wish.name);
	return CLI_DONE;
}

int set_fill_run(struct cli *cli, struct mayfly_error *err)
{
	const char *set = cli->arguments->words[0];
	AUTO_JSON json_t *reply = NULL;
	size_t i;
	json_t *name;
	int r = operator_call(cli,
		&(struct operator_call){ .method = "FillSet",
			.parameters = json_made(json_pack("{s:s}", "set", set)),
			.timeout_ms = OPERATOR_PATIENT_MS },
		&reply, err);

	if (r < 0)
		return r;
	if (cli->json)
		return print_json(ptr_take(&reply));
	json_array_foreach (json_object_get(reply, "created"), i, name)
		say("generated %s\n", json_string_value(name));
	say("%zu generated, %lld were there\n", json_array_size(json_object_get(reply, "created")),
		(long long)json_number(reply, "present"));
	return CLI_DONE;
}
