#include "client/cli/command_line/self_verbs.h"

#include "client/cli/command_line/arguments.h"
#include "client/cli/command_line/completion.h"
#include "client/cli/command_line/help.h"
#include "client/cli/operator/link.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"
#include "client/cli/verb_table.h"

#include <limits.h>
#include <string.h>

/* The verb that the words of `help` name, "key" "add" or "key add". */
static int find_asked(struct cli *cli, const struct verb **ret_verb, struct mayfly_error *err)
{
	const struct verbs verbs = verb_table();
	const char *const *words = cli->arguments->words;
	AUTO_FREE char *name = NULL;

	*ret_verb = NULL;
	if (cli->arguments->words_count == 0)
		return 0;
	name = text_format("%s%s%s", words[0], words[1] ? " " : "", words[1] ? words[1] : "");
	*ret_verb = verb_find(&verbs, name);
	if (*ret_verb && !((*ret_verb)->flags & VERB_UNDESCRIBED))
		return 0;
	return arguments_refuse_verb(&verbs, words[0], words[1], err);
}

static void list_names(const struct verbs *verbs)
{
	for (size_t i = 0; i < verbs->count; i++)
		if (!(verbs->items[i].flags & VERB_UNDESCRIBED))
			say("%s\n", verbs->items[i].name);
}

int help_run(struct cli *cli, struct mayfly_error *err)
{
	const struct verbs verbs = verb_table();
	const struct verb *asked;
	int r = find_asked(cli, &asked, err);

	if (r < 0)
		return r;
	if (argument_flag(cli->arguments, "names"))
		list_names(&verbs);
	else if (argument_flag(cli->arguments, "manual"))
		manual_print(&verbs, asked);
	else if (asked)
		help_print_verb(asked);
	else
		help_print_overview(&verbs);
	return CLI_DONE;
}

int completion_run(struct cli *cli, struct mayfly_error *err)
{
	(void)cli;
	(void)err;
	/* Not through say(): a tab is no control character to a shell. */
	(void)fputs(completion_bash_script, stdout);
	return CLI_DONE;
}

/* What the broker is asked for names of a kind: in its reply, MEMBER of each item of LIST. */
static const struct {
	enum word_kind kind;
	const char *method;
	const char *list;
	const char *member;
} sources[] = {
	{ WORD_SECRET, "List", "secrets", "name" },
	{ WORD_SET, "ListSets", "sets", "name" },
	{ WORD_CONTAINER, "ListLeases", "leases", "container" },
	{ WORD_GRANT, "ShowPolicy", "grants", "name" },
};

#define NAMES_PROPOSED_MAX 500

struct collected {
	const char *list, *member, *begun;
	struct text_list names;
};

static bool collect(json_t *parameters, void *data)
{
	struct collected *collected = data;
	size_t i;
	json_t *item;

	json_array_foreach (json_object_get(parameters, collected->list), i, item) {
		const char *name = json_text(item, collected->member);

		if (strncmp(name, collected->begun, strlen(collected->begun)) == 0 &&
			!text_list_has(&collected->names, name))
			text_list_add(&collected->names, "%s", name);
		/* More than a person reads, and every one is compared with all before. */
		if (collected->names.count == NAMES_PROPOSED_MAX)
			return false;
	}
	return true;
}

/* Names from the broker; none when it cannot be asked. */
static void print_names(struct cli *cli, enum word_kind kind, const char *begun)
{
	for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
		const bool is_long = kind == WORD_SECRET || kind == WORD_CONTAINER;
		struct collected collected = {
			.list = sources[i].list, .member = sources[i].member, .begun = begun
		};
		AUTO_JSON json_t *reply = NULL;

		if (sources[i].kind != kind)
			continue;
		/* A completion says nothing about what is wrong; the verb will. */
		if (operator_call(cli,
			    &(struct operator_call){ .method = sources[i].method,
				    .timeout_ms = 2000,
				    .on_reply = is_long ? collect : NULL,
				    .data = &collected },
			    &reply, NULL) == 0 &&
			!is_long)
			(void)collect(reply, &collected);
		for (size_t j = 0; j < collected.names.count; j++)
			say("%s\n", collected.names.items[j]);
		text_list_done(&collected.names);
	}
}

int completion_words_run(struct cli *cli, struct mayfly_error *err)
{
	const struct verbs verbs = verb_table();
	MAYFLY_CLEANUP(text_list_done) struct text_list list = { 0 };
	const char *const *words = cli->arguments->words + 1;
	const char *begun;
	enum word_kind kind;
	long long index;
	int r = cli->arguments->words_count > 0
			? number_parse("INDEX", cli->arguments->words[0], 0,
				  (long long)cli->arguments->words_count - 1, &index, err)
			: error_set(err, CLI_ERROR_USAGE, "no INDEX");

	if (r < 0)
		return r;
	begun = words[index] ? words[index] : "";
	kind = completion_words(&verbs, words, (size_t)index, &list);
	for (size_t i = 0; i < list.count; i++)
		say("%s\n", list.items[i]);
	if (kind == WORD_VERB)
		list_names(&verbs);
	else
		print_names(cli, kind, begun);
	return CLI_DONE;
}

int version_run(struct cli *cli, struct mayfly_error *err)
{
	(void)err;
	if (cli->json)
		return print_json(json_pack("{s:s}", "version", MAYFLY_VERSION));
	say("mayfly %s\n", MAYFLY_VERSION);
	return CLI_DONE;
}
