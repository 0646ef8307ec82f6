#include "proto/error.h"

#include "unit_test.h"

#include <errno.h>
#include <string.h>

START_TEST(context_is_put_in_front)
{
	struct mayfly_error err;

	ck_assert_int_eq(error_errno(&err, -EACCES, "open '%s'", "/etc/x"), -EACCES);
	ck_assert_int_eq(error_within(&err, "load policy"), -EACCES);
	ck_assert_str_eq(err.text, "load policy: open '/etc/x': Permission denied");
}
END_TEST

START_TEST(a_long_text_is_cut_not_overrun)
{
	struct mayfly_error err;
	char long_text[3000];

	memset(long_text, 'a', sizeof long_text - 1);
	long_text[sizeof long_text - 1] = '\0';
	error_set(&err, -EINVAL, "%s", long_text);
	ck_assert_uint_eq(strlen(err.text), sizeof err.text - 1);
	error_within(&err, "%s", long_text);
	ck_assert_uint_eq(strlen(err.text), sizeof err.text - 1);
}
END_TEST

START_TEST(without_a_place_for_it_the_code_is_enough)
{
	ck_assert_int_eq(error_set(NULL, -EIO, "x"), -EIO);
}
END_TEST

START_TEST(quoting_hides_what_a_terminal_would_obey)
{
	char shown[12];

	ck_assert_str_eq(error_quote(shown, sizeof shown, "a\n\033[1m\"b", 8), "a??[1m?b");
	ck_assert_str_eq(error_quote(shown, sizeof shown, "abcdefghijk", 11), "abcdefghijk");
	ck_assert_str_eq(error_quote(shown, sizeof shown, "abcdefghijkl", 12), "abcdefgh...");
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, context_is_put_in_front);
	tcase_add_test(cases, a_long_text_is_cut_not_overrun);
	tcase_add_test(cases, without_a_place_for_it_the_code_is_enough);
	tcase_add_test(cases, quoting_hides_what_a_terminal_would_obey);
}

int main(void)
{
	return unit_test_run("error", add);
}
