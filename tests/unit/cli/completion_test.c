#include "client/cli/command_line/completion.h"

#include "client/cli/verb_table.h"

#include "unit_test.h"

static const struct {
	const char *reads_as;
	const char *words[6]; /* the last one is begun */
	size_t index;
	const char *proposed; /* one that must be there, or NULL: none at all */
	const char *not_proposed;
	enum word_kind kind;
} places[] = {
	{ "a verb that is begun", { "ini" }, 0, "init", "put", WORD_OTHER },
	{ "a verb of two words by its first", { "ke" }, 0, "key", "key list", WORD_OTHER },
	{ "the second word of a verb", { "key", "" }, 1, "rotate", "put", WORD_OTHER },
	{ "the second word, begun", { "key", "ad" }, 1, "add", "list", WORD_OTHER },
	{ "a verb that is also a group", { "audit", "v" }, 1, "verify", NULL, WORD_OTHER },
	{ "an option", { "put", "prod/a", "--ex" }, 2, "--exact", "--stage", WORD_OTHER },
	{ "an option of every verb", { "put", "--js" }, 1, "--json", NULL, WORD_OTHER },
	{ "a secret", { "show", "" }, 1, NULL, NULL, WORD_SECRET },
	{ "a secret behind an option", { "--root", "/x", "show", "" }, 3, NULL, NULL, WORD_SECRET },
	{ "a set", { "diff", "dev", "" }, 2, NULL, NULL, WORD_SET },
	{ "nothing behind the last word", { "show", "a/b", "" }, 2, NULL, NULL, WORD_OTHER },
	{ "a file for an option", { "put", "--from-file", "" }, 2, NULL, NULL, WORD_FILE },
	{ "a choice for an option", { "init", "--unlock", "p" }, 2, "passphrase", "host-key",
		WORD_OTHER },
	{ "a choice for a word", { "key", "add", "" }, 2, "recovery", NULL, WORD_OTHER },
	{ "a container", { "explain", "we" }, 1, NULL, NULL, WORD_CONTAINER },
	{ "a grant", { "forbid", "" }, 1, NULL, NULL, WORD_GRANT },
	{ "nothing of Compose's words", { "compose", "u" }, 1, NULL, "undelete", WORD_OTHER },
	{ "nothing of our own machinery", { "completion", "w" }, 1, NULL, "words", WORD_OTHER },
};

START_TEST(what_can_come_next_is)
{
	const struct verbs verbs = verb_table();
	struct text_list list = { 0 };
	const enum word_kind kind =
		completion_words(&verbs, places[_i].words, places[_i].index, &list);

	ck_assert_msg(kind == places[_i].kind, "%s", places[_i].reads_as);
	if (places[_i].proposed)
		ck_assert_msg(text_list_has(&list, places[_i].proposed), "%s", places[_i].reads_as);
	else
		ck_assert_msg(list.count == 0, "%s", places[_i].reads_as);
	if (places[_i].not_proposed)
		ck_assert_msg(
			!text_list_has(&list, places[_i].not_proposed), "%s", places[_i].reads_as);
	text_list_done(&list);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, what_can_come_next_is, 0, sizeof places / sizeof places[0]);
}

int main(void)
{
	return unit_test_run("cli_completion", add);
}
