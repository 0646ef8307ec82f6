#include "client/cli/policy/file_spec.h"

#include "unit_test.h"

#include <string.h>

static const struct {
	const char *reads_as;
	const char *text;
	const char *again; /* as file_spec_text() writes it; NULL: refused */
} rows[] = {
	{ "a name", "db-password", "db-password" },
	{ "a name in parts", "shop/smtp", "shop/smtp" },
	{ "another path", "api-key=keys/api", "api-key=keys/api" },
	{ "its own path", "api-key=api-key", "api-key" },
	{ "an owner", "a:uid=1000:gid=100", "a:uid=1000:gid=100" },
	{ "a mode", "a:mode=0440", "a:mode=0440" },
	{ "a mode without its zero", "a:mode=440", "a:mode=0440" },
	{ "a mode in the other way", "a:mode=0o440", "a:mode=0440" },
	{ "everything", "a=b/c:uid=0:gid=0:mode=0400", "a=b/c:uid=0:gid=0:mode=0400" },
	{ "another order", "a:mode=0400:uid=5", "a:uid=5:mode=0400" },
	{ "nothing", "", NULL },
	{ "no name", "=b", NULL },
	{ "no path", "a=", NULL },
	{ "a path that goes up", "a=../b", NULL },
	{ "an absolute path", "a=/etc/b", NULL },
	{ "a comma, which separates files", "a,b", NULL },
	{ "a mode that is not octal", "a:mode=0480", NULL },
	{ "a mode with a set-uid bit", "a:mode=4400", NULL },
	{ "a user by name", "a:uid=app", NULL },
	{ "a negative user", "a:uid=-1", NULL },
	{ "the user that means none", "a:uid=4294967295", NULL },
	{ "the last user", "a:uid=4294967294", "a:uid=4294967294" },
	{ "an unknown setting", "a:owner=1", NULL },
	{ "an empty setting", "a:", NULL },
	{ "a blank", "a b", NULL },
	{ "a variable", "${A}", NULL },
};

START_TEST(a_file_is_described_by)
{
	struct file_spec spec;
	struct mayfly_error err;
	int r = file_spec_parse(rows[_i].text, strlen(rows[_i].text), &spec, &err);

	ck_assert_msg((r == 0) == (rows[_i].again != NULL), "%s", rows[_i].reads_as);
	if (r == 0) {
		char *text = file_spec_text(&spec);

		ck_assert_msg(strcmp(text, rows[_i].again) == 0, "%s: %s", rows[_i].reads_as, text);
		free(text);
	}
}
END_TEST

START_TEST(only_the_given_length_is_read)
{
	struct file_spec spec;

	ck_assert_int_eq(file_spec_parse("a=b,c=d", 3, &spec, NULL), 0);
	ck_assert_str_eq(spec.name, "a");
	ck_assert_str_eq(spec.path, "b");
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_file_is_described_by, 0, sizeof rows / sizeof rows[0]);
	tcase_add_test(cases, only_the_given_length_is_read);
}

int main(void)
{
	return unit_test_run("cli_file_spec", add);
}
