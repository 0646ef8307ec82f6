#include "client/cli/value/newline_rule.h"

#include "unit_test.h"

#include <string.h>

#define TEXT(literal) literal, sizeof(literal) - 1

static const struct {
	const char *reads_as;
	const char *bytes;
	size_t length;
	bool exact;
	enum newline_outcome outcome;
	size_t kept;
} rows[] = {
	{ "one line without a newline", TEXT("abc"), false, NEWLINE_NONE, 3 },
	{ "one line with its newline", TEXT("abc\n"), false, NEWLINE_LEFT_OUT, 3 },
	{ "one line with --exact", TEXT("abc\n"), true, NEWLINE_KEPT_EXACT, 4 },
	{ "one line of another system", TEXT("abc\r\n"), false, NEWLINE_LEFT_OUT, 3 },
	{ "a carriage return that ends no line", TEXT("ab\rc\n"), false, NEWLINE_KEPT_BINARY, 5 },
	{ "blanks and tabs, which stay", TEXT(" a\tb \n"), false, NEWLINE_LEFT_OUT, 5 },
	{ "letters beyond ASCII", TEXT("p\xc3\xa4ss\xf0\x9f\x94\x91\n"), false, NEWLINE_LEFT_OUT,
		9 },
	{ "two lines", TEXT("a\nb\n"), false, NEWLINE_KEPT_LINES, 4 },
	{ "a line and an empty one", TEXT("a\n\n"), false, NEWLINE_KEPT_LINES, 3 },
	{ "a PEM file", TEXT("-----BEGIN KEY-----\nAA==\n-----END KEY-----\n"), false,
		NEWLINE_KEPT_LINES, 43 },
	{ "a NUL byte", TEXT("a\0b\n"), false, NEWLINE_KEPT_BINARY, 4 },
	{ "a byte that is no UTF-8", TEXT("a\xff\n"), false, NEWLINE_KEPT_BINARY, 3 },
	{ "an overlong form", TEXT("\xc0\xaf\n"), false, NEWLINE_KEPT_BINARY, 3 },
	{ "half of a surrogate", TEXT("\xed\xa0\x80\n"), false, NEWLINE_KEPT_BINARY, 4 },
	{ "beyond the last character", TEXT("\xf4\x90\x80\x80\n"), false, NEWLINE_KEPT_BINARY, 5 },
	{ "a character that is cut", TEXT("a\xe2\x82\n"), false, NEWLINE_KEPT_BINARY, 4 },
	{ "an escape character", TEXT("\033[31m\n"), false, NEWLINE_KEPT_BINARY, 6 },
	{ "a delete character", TEXT("a\x7f\n"), false, NEWLINE_KEPT_BINARY, 3 },
	{ "nothing but a newline", TEXT("\n"), false, NEWLINE_LEFT_OUT, 0 },
	{ "nothing but a newline, exactly", TEXT("\n"), true, NEWLINE_KEPT_EXACT, 1 },
	{ "nothing at all", TEXT(""), false, NEWLINE_NONE, 0 },
	{ "binary without a newline", TEXT("\0\1\2"), false, NEWLINE_NONE, 3 },
};

START_TEST(of)
{
	size_t kept = 99;
	const enum newline_outcome outcome = newline_rule(
		(const unsigned char *)rows[_i].bytes, rows[_i].length, rows[_i].exact, &kept);

	ck_assert_msg(outcome == rows[_i].outcome, "%s: %d", rows[_i].reads_as, (int)outcome);
	ck_assert_msg(kept == rows[_i].kept, "%s: %zu bytes", rows[_i].reads_as, kept);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, of, 0, sizeof rows / sizeof rows[0]);
}

int main(void)
{
	return unit_test_run("cli_newline_rule", add);
}
