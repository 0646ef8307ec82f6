#include "client/cli/verb_table.h"

#include "client/cli/command_line/arguments.h"
#include "client/cli/terminal/text.h"

#include "unit_test.h"

#include <string.h>

static const struct verb *row(int index)
{
	return &verb_table().items[index];
}

START_TEST(a_verb_says_what_it_is_for)
{
	const struct verb *verb = row(_i);

	ck_assert_msg(verb->summary && verb->summary[0], "%s", verb->name);
	ck_assert_msg(!strchr(verb->summary, '\n') && strlen(verb->summary) < 60, "%s", verb->name);
	ck_assert_msg(verb->summary[strlen(verb->summary) - 1] != '.', "%s", verb->name);
	ck_assert_msg(verb->words && verb->description && verb->description[0], "%s", verb->name);
	ck_assert_msg(verb->run, "%s", verb->name);
	ck_assert_msg(verb_section_title(verb->section), "%s", verb->name);
}
END_TEST

START_TEST(a_verb_has_a_name_of_its_own)
{
	const struct verbs verbs = verb_table();
	const struct verb *verb = row(_i);

	ck_assert_ptr_eq(verb_find(&verbs, verb->name), verb);
	if (verb->alias)
		ck_assert_ptr_eq(verb_find(&verbs, verb->alias), verb);
}
END_TEST

START_TEST(an_option_says_what_it_is_for)
{
	const struct verb *verb = row(_i);

	for (const struct verb_option *o = verb->options; o && o->name; o++) {
		ck_assert_msg(o->text && o->text[0], "%s --%s", verb->name, o->name);
		ck_assert_msg(o->text[strlen(o->text) - 1] != '.', "%s --%s", verb->name, o->name);
		ck_assert_msg(!o->choices || o->argument, "%s --%s", verb->name, o->name);
		/* One that hides an option of every verb would take it away from this one. */
		for (const struct verb_option *all = verb_options_of_all; all->name; all++)
			ck_assert_str_ne(o->name, all->name);
		ck_assert_ptr_eq(verb_option_find(verb, o->name, strlen(o->name)), o);
	}
}
END_TEST

/* The words of LINE up to what a shell would do with the rest, in WORDS; the first is dropped. */
static void split(char *line, const char *words[32])
{
	char *rest = NULL;
	size_t count = 0;

	line[strcspn(line, "|")] = '\0';
	(void)strtok_r(line, " ", &rest);
	while (count < 31 && (words[count] = strtok_r(NULL, " ", &rest)))
		count++;
	words[count] = NULL;
}

/* The command line that a line of an example has, or NULL: some begin with another program. */
static char *command_line(char *line)
{
	char *found = strncmp(line, "mayfly ", 7) == 0 ? line : strstr(line, "| mayfly ");

	if (!found && strncmp(line, "eval \"$(mayfly ", 15) == 0)
		return NULL;
	return found && found != line ? found + 2 : found;
}

START_TEST(its_example_is_a_command_line_that_parses)
{
	const struct verbs verbs = verb_table();
	const struct verb *verb = row(_i);
	AUTO_FREE char *example = text_copy(verb->example);
	char *rest = NULL;
	bool shows_verb = strcmp(verb->name, "get") == 0 || strcmp(verb->name, "completion") == 0;

	for (char *line = strtok_r(example, "\n", &rest); line;
		line = strtok_r(NULL, "\n", &rest)) {
		struct arguments arguments;
		struct mayfly_error err;
		const char *words[32];
		char *command = command_line(line);

		if (!command)
			continue;
		split(command, words);
		ck_assert_msg(arguments_parse(&verbs, words, &arguments, &err) == 0, "%s: %s",
			verb->name, err.text);
		shows_verb = shows_verb || arguments.verb == verb;
		arguments_done(&arguments);
	}
	ck_assert_msg(shows_verb, "%s", verb->name);
}
END_TEST

START_TEST(what_comes_later_is_not_announced)
{
	static const char *const later[] = { "request", "watch", "exec" };
	const struct verbs verbs = verb_table();

	for (size_t i = 0; i < sizeof later / sizeof later[0]; i++)
		ck_assert_ptr_null(verb_find(&verbs, later[i]));
}
END_TEST

static void add(TCase *cases)
{
	const int count = (int)verb_table().count;

	tcase_add_loop_test(cases, a_verb_says_what_it_is_for, 0, count);
	tcase_add_loop_test(cases, a_verb_has_a_name_of_its_own, 0, count);
	tcase_add_loop_test(cases, an_option_says_what_it_is_for, 0, count);
	tcase_add_loop_test(cases, its_example_is_a_command_line_that_parses, 0, count);
	tcase_add_test(cases, what_comes_later_is_not_announced);
}

int main(void)
{
	return unit_test_run("cli_verb_table", add);
}
