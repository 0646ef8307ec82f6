#include "client/cli/command_line/arguments.h"

#include "client/cli/verb_table.h"

#include "unit_test.h"

#include <string.h>

#define WORDS_MAX 8

static const struct {
	const char *reads_as;
	const char *words[WORDS_MAX];
	const char *verb;
	size_t words_count;
} accepted[] = {
	{ "a verb of one word", { "lock" }, "lock", 0 },
	{ "a verb of two words", { "key", "list" }, "key list", 0 },
	{ "a verb that begins another", { "audit" }, "audit", 0 },
	{ "the longer of the two", { "audit", "verify" }, "audit verify", 0 },
	{ "an alias", { "rm", "prod/a" }, "remove", 1 },
	{ "an option before the verb", { "--root", "/x", "status" }, "status", 0 },
	{ "an option behind a word", { "put", "prod/a", "--exact" }, "put", 1 },
	{ "an option with '='", { "put", "--from-file=x", "prod/a" }, "put", 1 },
	{ "a letter", { "rm", "-y", "prod/a" }, "remove", 1 },
	{ "a letter with its argument attached", { "compose", "convert", "-ox" }, "compose convert",
		0 },
	{ "a word that looks like an option, behind --", { "put", "--", "-a" }, "put", 1 },
	{ "a single dash is a word", { "policy", "check", "-" }, "policy check", 1 },
	{ "--help without the words that are needed", { "put", "--help" }, "put", 0 },
	{ "the words of Compose, which are not ours", { "compose", "-f", "x", "--json", "up" },
		"compose", 4 },
	{ "compose's own help", { "compose", "--help" }, "compose", 0 },
	{ "help for a command of Compose", { "compose", "up", "--help" }, "compose", 2 },
	{ "nothing at all", { NULL }, NULL, 0 },
	{ "only --help", { "--help" }, NULL, 0 },
	{ "what people type first", { "--version" }, "version", 0 },
};

START_TEST(a_command_line_is_taken_apart)
{
	const struct verbs verbs = verb_table();
	struct arguments arguments;
	struct mayfly_error err;

	ck_assert_msg(arguments_parse(&verbs, accepted[_i].words, &arguments, &err) == 0, "%s: %s",
		accepted[_i].reads_as, err.text);
	if (accepted[_i].verb)
		ck_assert_str_eq(arguments.verb->name, accepted[_i].verb);
	else
		ck_assert_ptr_null(arguments.verb);
	ck_assert_uint_eq(arguments.words_count, accepted[_i].words_count);
	arguments_done(&arguments);
}
END_TEST

static const struct {
	const char *reads_as;
	const char *words[WORDS_MAX];
	const char *says;
} refused[] = {
	{ "a verb that does not exist", { "banana" }, "there is no verb 'banana'" },
	{ "a slip in a verb", { "stauts" }, "did you mean 'status'" },
	{ "a slip in the first half of a verb", { "kye", "list" }, "did you mean 'key'" },
	{ "half a verb", { "key" }, "needs one of: list, add, remove, rotate" },
	{ "a slip in the second half", { "key", "lst" }, "did you mean 'list'" },
	{ "an option that does not exist", { "lock", "--wait" }, "there is no option '--wait'" },
	{ "a slip in an option", { "put", "prod/a", "--form-file", "x" },
		"did you mean "
		"'--from-file'" },
	{ "an option without its argument", { "put", "prod/a", "--from-file" }, "needs FILE" },
	{ "a flag with an argument", { "put", "prod/a", "--exact=1" }, "takes nothing" },
	{ "a choice that there is not", { "init", "--unlock", "tpm" }, "host-key passphrase" },
	{ "a word that is no choice", { "key", "add", "fingerprint" }, "host-key passphrase" },
	{ "too few words", { "diff", "dev" }, "too few words" },
	{ "too many words", { "diff", "a", "b", "c" }, "too many words" },
	{ "a value on the command line", { "put", "prod/a", "hunter2" }, "shell's history" },
	{ "JSON of a value", { "reveal", "prod/a", "--json" }, "no JSON" },
};

START_TEST(a_command_line_is_refused_with_a_reason)
{
	const struct verbs verbs = verb_table();
	struct arguments arguments;
	struct mayfly_error err;

	ck_assert_msg(
		arguments_parse(&verbs, refused[_i].words, &arguments, &err) == CLI_ERROR_USAGE,
		"%s", refused[_i].reads_as);
	ck_assert_msg(strstr(err.text, refused[_i].says), "%s: %s", refused[_i].reads_as, err.text);
}
END_TEST

static const struct {
	const char *reads_as;
	const char *words[WORDS_MAX];
} with_value[] = {
	{ "as a second word", { "put", "prod/a", "hunter2" } },
	{ "of an option that does not exist", { "put", "prod/a", "--value=hunter2" } },
	{ "behind a letter that does not exist", { "put", "prod/a", "-phunter2" } },
	{ "for verify", { "verify", "prod/a", "hunter2" } },
};

START_TEST(a_value_on_the_command_line_is_not_repeated)
{
	const struct verbs verbs = verb_table();
	struct arguments arguments;
	struct mayfly_error err;

	ck_assert_int_eq(
		arguments_parse(&verbs, with_value[_i].words, &arguments, &err), CLI_ERROR_USAGE);
	ck_assert_msg(!strstr(err.text, "hunter2"), "%s: %s", with_value[_i].reads_as, err.text);
}
END_TEST

START_TEST(options_are_found_by_name)
{
	const struct verbs verbs = verb_table();
	const char *const words[] = { "allow", "--label", "a=1", "--name", "x", "--name", "y",
		"--label=b=2", "-y", NULL };
	struct arguments arguments;
	size_t at = 0;

	ck_assert_int_eq(arguments_parse(&verbs, words, &arguments, NULL), 0);
	ck_assert_str_eq(argument_value(&arguments, "name"), "y");
	ck_assert(argument_flag(&arguments, "yes"));
	ck_assert(!argument_flag(&arguments, "json"));
	ck_assert_ptr_null(argument_value(&arguments, "set"));
	ck_assert_str_eq(argument_next(&arguments, "label", &at), "a=1");
	ck_assert_str_eq(argument_next(&arguments, "label", &at), "b=2");
	ck_assert_ptr_null(argument_next(&arguments, "label", &at));
	arguments_done(&arguments);
}
END_TEST

static const struct {
	const char *text;
	bool valid;
} numbers[] = {
	{ "1", true },
	{ "100", true },
	{ "0", false },
	{ "101", false },
	{ "-1", false },
	{ "", false },
	{ " 5", false },
	{ "5 ", false },
	{ "5k", false },
	{ "99999999999999999999", false },
};

START_TEST(a_number_is_whole_and_in_its_range)
{
	long long number;

	ck_assert_int_eq(
		number_parse("N", numbers[_i].text, 1, 100, &number, NULL) == 0, numbers[_i].valid);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(
		cases, a_command_line_is_taken_apart, 0, sizeof accepted / sizeof accepted[0]);
	tcase_add_loop_test(cases, a_command_line_is_refused_with_a_reason, 0,
		sizeof refused / sizeof refused[0]);
	tcase_add_loop_test(cases, a_value_on_the_command_line_is_not_repeated, 0,
		sizeof with_value / sizeof with_value[0]);
	tcase_add_test(cases, options_are_found_by_name);
	tcase_add_loop_test(
		cases, a_number_is_whole_and_in_its_range, 0, sizeof numbers / sizeof numbers[0]);
}

int main(void)
{
	return unit_test_run("cli_arguments", add);
}
