#include "proto/secret_name.h"

#include "unit_test.h"

#include <string.h>

#define A_255                                                                                      \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaa"                                                                             \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaa"                                                                             \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *reads_as;
	const char *text;
	bool valid;
} references[] = {
	{ "a plain one", "prod/db-password", true },
	{ "a name in parts", "dev/shop/smtp", true },
	{ "dots inside a part", "prod/tls.key", true },
	{ "no set", "db-password", false },
	{ "an empty set", "/db-password", false },
	{ "an empty name", "prod/", false },
	{ "an empty part", "prod/a//b", false },
	{ "a final slash", "prod/a/", false },
	{ "up and away", "prod/../x", false },
	{ "up in the middle", "prod/a/../b", false },
	{ "a hidden name", "prod/.mayfly.json", false },
	{ "a newline", "prod/a\nb", false },
	{ "a blank", "prod/a b", false },
	{ "a capital in the set", "Prod/a", false },
	{ "a digit first in the set", "1prod/a", false },
	{ "the reserved set", "environment/a", false },
	{ "a byte above 127", "prod/\xc3\xa4", false },
};

START_TEST(a_reference_is)
{
	struct secret_reference reference;
	struct mayfly_error err;
	const int r = secret_reference_parse(references[_i].text, &reference, &err);

	ck_assert_msg((r == 0) == references[_i].valid, "%s", references[_i].reads_as);
}
END_TEST

START_TEST(a_reference_is_taken_apart)
{
	struct secret_reference reference;

	ck_assert_int_eq(secret_reference_parse("dev/shop/smtp", &reference, NULL), 0);
	ck_assert_str_eq(reference.set, "dev");
	ck_assert_str_eq(reference.name, "shop/smtp");
}
END_TEST

START_TEST(a_reference_of_255_bytes_fits_and_256_do_not)
{
	struct secret_reference reference;
	char text[] = "p/" A_255;

	ck_assert_int_lt(secret_reference_parse(text, &reference, NULL), 0);
	text[256] = '\0';
	ck_assert_int_lt(secret_reference_parse(text, &reference, NULL), 0);
	text[255] = '\0';
	ck_assert_int_eq(secret_reference_parse(text, &reference, NULL), 0);
}
END_TEST

START_TEST(a_set_has_63_bytes_at_most)
{
	char set[] = A_255;

	set[64] = '\0';
	ck_assert_int_lt(set_name_check(set, NULL), 0);
	set[63] = '\0';
	ck_assert_int_eq(set_name_check(set, NULL), 0);
}
END_TEST

static const char *const keys[] = { "match", "require", "secrets", "name", "note" };

static const struct {
	const char *word;
	const char *nearest;
} slips[] = {
	{ "mtach", "match" },
	{ "requires", "require" },
	{ "secret", "secrets" },
	{ "nmae", "name" },
	{ "banana", NULL },
	{ "", NULL },
};

START_TEST(the_nearest_word_of)
{
	const char *found = nearest_word(slips[_i].word, keys, sizeof keys / sizeof keys[0]);

	if (slips[_i].nearest)
		ck_assert_pstr_eq(found, slips[_i].nearest);
	else
		ck_assert_ptr_null(found);
}
END_TEST

START_TEST(a_word_of_any_length_is_compared_safely)
{
	const char *const words[] = { A_255, "match" };

	ck_assert_ptr_null(nearest_word(A_255 A_255, words, 2));
	ck_assert_str_eq(nearest_word("match", words, 2), "match");
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_reference_is, 0, sizeof references / sizeof references[0]);
	tcase_add_test(cases, a_reference_is_taken_apart);
	tcase_add_test(cases, a_reference_of_255_bytes_fits_and_256_do_not);
	tcase_add_test(cases, a_set_has_63_bytes_at_most);
	tcase_add_loop_test(cases, the_nearest_word_of, 0, sizeof slips / sizeof slips[0]);
	tcase_add_test(cases, a_word_of_any_length_is_compared_safely);
}

int main(void)
{
	return unit_test_run("secret_name", add);
}
