#include "client/cli/import/entries.h"

#include "unit_test.h"

#include <stdio.h>
#include <string.h>

static struct arena *arena;

struct row {
	const char *what;
	const char *text;
	const char *wanted; /* "A=1|B=x y", or NULL: refused */
};

/* What compose-go 2.16.2 makes of them, but for the last few. */
static const struct row env_rows[] = {
	{ "nothing", "", "" },
	{ "an unquoted value ends with its line", "A=1\nB=x y\n", "A=1|B=x y" },
	{ "without a last newline", "A=1", "A=1" },
	{ "carriage returns are space", "A=1\r\nB=2\r\n", "A=1|B=2" },
	{ "space around names and values goes", "  A \t=  x  \n", "A=x" },
	{ "a colon stands for =", "A: x\n", "A=x" },
	{ "export is no name", "export A=1\n", "A=1" },
	{ "a comment line", "# A=1\nB=2\n", "B=2" },
	{ "a comment behind a value", "A=x # y\n", "A=x" },
	{ "# without a space in front belongs to the value", "A=x#y\nB=#z\n", "A=x#y|B=#z" },
	{ "the last one counts", "A=1\nA=2\n", "A=2" },
	{ "an empty value", "A=\nB=1\n", "A=|B=1" },
	{ "a byte order mark",
		"\xef\xbb\xbf"
		"A=1\n",
		"A=1" },
	{ "double quotes keep space and comments", "A=\" x # y \"\n", "A= x # y " },
	{ "single quotes too", "A=' x # y '\n", "A= x # y " },
	{ "quotes go over lines", "A='x\ny'\nB=1\n", "A=x\ny|B=1" },
	{ "a comment behind a quoted value", "A='x' # y\nB=1\n", "A=x|B=1" },
	{ "escapes in double quotes", "A=\"a\\tb\\nc\\\\d\\\"e\\$f\"\n", "A=a\tb\nc\\d\"e$f" },
	{ "no escapes in single quotes but the quote", "A='a\\nb\\'c'\n", "A=a\\nb'c" },
	{ "no escapes without quotes", "A=a\\nb\n", "A=a\\nb" },
	{ "octal escapes", "A=\"\\0101\\0377\\012\"\n", "A=A\xc3\xbf\\12" },
	{ "escapes that are none stay", "A=\"\\x41\\c\"\n", "A=\\x41\\c" },
	{ "quotes inside stay", "A=x\"y\"\n", "A=x\"y\"" },
	{ "variables of earlier lines", "A=1\nB=$A-${A}x\n", "A=1|B=1-1x" },
	{ "in double quotes", "A=1\nB=\"${A}\"\n", "A=1|B=1" },
	{ "not in single quotes", "A=1\nB='$A'\n", "A=1|B=$A" },
	{ "two dollars are one", "A=pa$$word\n", "A=pa$word" },
	{ "a dollar before no name is one", "A=5$ and $1\n", "A=5$ and $1" },
	{ "a default", "A=\nB=${X:-d}${A:-e}${A-f}\n", "A=|B=de" },
	{ "a nested default", "A=1\nB=${X:-${Y:-$A}}z\n", "A=1|B=1z" },
	{ "an alternative", "A=1\nB=${A:+x}${X+y}\n", "A=1|B=x" },
	{ "a needed one that is there", "A=1\nB=${A:?no}\n", "A=1|B=1" },
	{ "a quote without an end", "A=\"x\nB=1\n", NULL },
	{ "a name with a space", "A B=1\n", NULL },
	{ "a name with a character that none has", "A!=1\n", NULL },
	{ "braces around nothing", "A=${}\n", NULL },
	{ "braces without an end", "A=${B\n", NULL },
	{ "a needed one that is not there", "A=${B?no}\n", NULL },
	/* Compose looks into its environment for these. */
	{ "a variable of nowhere", "A=$B\n", NULL },
	{ "a variable of a later line", "A=$B\nB=1\n", NULL },
	{ "a name without a value is left out", "A\nB=1\n", "B=1" },
};

static const struct row json_rows[] = {
	{ "an empty object", "{}", "" },
	{ "strings", "{\"a\": \"1\", \"b\" : \"x y\\n\"}", "a=1|b=x y\n" },
	{ "objects", "{\"a\":{\"b\":\"1\",\"c\":{\"d\":\"2\"}},\"e\":\"3\"}", "a/b=1|a/c/d=2|e=3" },
	{ "numbers and truth as they are written", "{\"a\":1.50,\"b\":true,\"c\":-0}",
		"a=1.50|b=true|c=-0" },
	{ "null is left out", "{\"a\":null,\"b\":\"1\"}", "b=1" },
	{ "escapes", "{\"a\":\"\\u00e9\\ud83d\\ude00\\/\\\"\"}", "a=\xc3\xa9\xf0\x9f\x98\x80/\"" },
	{ "space and a byte order mark", "\xef\xbb\xbf \n{ \"a\" :\t\"1\" }\r\n", "a=1" },
	{ "a list", "{\"a\":[\"1\"]}", NULL },
	{ "no object", "\"a\"", NULL },
	{ "nothing", "", NULL },
	{ "a name twice", "{\"a\":\"1\",\"a\":\"2\"}", NULL },
	{ "a name twice in two ways", "{\"a/b\":\"1\",\"a\":{\"b\":\"2\"}}", NULL },
	{ "half a pair", "{\"a\":\"\\ud83d\"}", NULL },
	{ "a string without an end", "{\"a\":\"1", NULL },
	{ "a comma too many", "{\"a\":\"1\",}", NULL },
	{ "a word that is none", "{\"a\":maybe}", NULL },
	{ "a raw newline", "{\"a\":\"1\n2\"}", NULL },
	{ "something behind it", "{} x", NULL },
	{ "too deep",
		"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":"
		"{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":\"1\"}}}}}}}}}}}}}}}}}",
		NULL },
};

static void print(const struct entries *entries, char *text, size_t size)
{
	size_t at = 0;

	text[0] = '\0';
	for (size_t i = 0; i < entries->count; i++)
		at += (size_t)snprintf(text + at, size - at, "%s%s=%.*s", i ? "|" : "",
			entries->items[i].name, (int)entries->items[i].length,
			(const char *)entries->values.bytes + entries->items[i].offset);
}

static void check(const struct row *row,
	int (*parse)(const char *, size_t, struct entries *, struct mayfly_error *))
{
	struct mayfly_error err = { 0 };
	struct entries entries;
	char text[512];
	int r;

	ck_assert_int_eq(entries_init(arena, &entries, NULL), 0);
	r = parse(row->text, strlen(row->text), &entries, &err);
	ck_assert_msg((r == 0) == (row->wanted != NULL), "%s: %d %s", row->what, r, err.text);
	if (row->wanted) {
		print(&entries, text, sizeof text);
		ck_assert_msg(strcmp(text, row->wanted) == 0, "%s: '%s'", row->what, text);
	} else {
		ck_assert_msg(strncmp(err.text, "line ", 5) == 0, "%s: %s", row->what, err.text);
	}
	entries_done(&entries);
	ck_assert_uint_eq(arena_used_bytes(arena), 0);
}

START_TEST(a_file_of_variables_is_read_as_compose_reads_it)
{
	check(&env_rows[_i], env_file_parse);
}
END_TEST

START_TEST(json_is_read)
{
	check(&json_rows[_i], json_values_parse);
}
END_TEST

START_TEST(no_mistake_is_told_with_what_the_file_says)
{
	static const char *const texts[] = { "A=\"canary", "canary canary=1", "!canary=1",
		"A=${canary}", "A=${canary", "{\"a\":\"canary", "{\"canary\":[]}", "canary" };

	for (size_t i = 0; i < 2 * sizeof texts / sizeof texts[0]; i++) {
		struct mayfly_error err = { 0 };
		struct entries entries;
		const char *text = texts[i / 2];

		ck_assert_int_eq(entries_init(arena, &entries, NULL), 0);
		if ((i % 2 ? env_file_parse : json_values_parse)(
			    text, strlen(text), &entries, &err) < 0)
			ck_assert_ptr_null(strstr(err.text, "canary"));
		for (size_t j = 0; j < entries.left_out.count; j++)
			ck_assert_ptr_null(strstr(entries.left_out.items[j], "canary"));
		entries_done(&entries);
	}
}
END_TEST

START_TEST(values_that_grow_without_end_are_stopped)
{
	struct mayfly_error err = { 0 };
	struct entries entries;
	char text[1024] = "A=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n";
	int r;

	for (char c = 'B'; c <= 'T'; c++)
		(void)snprintf(text + strlen(text), sizeof text - strlen(text), "%c=$%c$%c$%c$%c\n",
			c, c - 1, c - 1, c - 1, c - 1);
	ck_assert_int_eq(entries_init(arena, &entries, NULL), 0);
	r = env_file_parse(text, strlen(text), &entries, &err);
	ck_assert_int_eq(r, -E2BIG);
	entries_done(&entries);
}
END_TEST

static void set_up(void)
{
	ck_assert_int_eq(arena_new((size_t)4 << 20, &arena, NULL), 0);
}

static void add(TCase *cases)
{
	tcase_add_checked_fixture(cases, set_up, NULL);
	tcase_add_loop_test(cases, a_file_of_variables_is_read_as_compose_reads_it, 0,
		sizeof env_rows / sizeof env_rows[0]);
	tcase_add_loop_test(cases, json_is_read, 0, sizeof json_rows / sizeof json_rows[0]);
	tcase_add_test(cases, no_mistake_is_told_with_what_the_file_says);
	tcase_add_test(cases, values_that_grow_without_end_are_stopped);
}

int main(void)
{
	return unit_test_run("cli_import", add);
}
