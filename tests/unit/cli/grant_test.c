#include "client/cli/policy/grant.h"

#include "unit_test.h"

#include <string.h>

static json_t *parse(const char *text)
{
	json_error_t where;
	json_t *json = json_loads(text, 0, &where);

	ck_assert_msg(json != NULL, "%s in %s", where.text, text);
	return json;
}

#define MATCH "\"match\": {\"container.name\": \"web\"}"

static const struct {
	const char *reads_as;
	const char *grant, *wish;
	int changes; /* below 0: refused */
	const char *joined;
} joins[] = {
	{ "another secret", "{" MATCH ", \"secrets\": [{\"name\": \"a\"}]}",
		"{" MATCH ", \"secrets\": [{\"name\": \"b\"}]}", 1,
		"{" MATCH ", \"secrets\": [{\"name\": \"a\"}, {\"name\": \"b\"}]}" },
	{ "the same secret", "{" MATCH ", \"secrets\": [{\"name\": \"a\"}]}",
		"{" MATCH ", \"secrets\": [{\"name\": \"a\"}]}", 0,
		"{" MATCH ", \"secrets\": [{\"name\": \"a\"}]}" },
	{ "another owner of the same file",
		"{" MATCH ", \"secrets\": [{\"name\": \"a\", \"uid\": 1, \"mode\": \"0440\"}]}",
		"{" MATCH ", \"secrets\": [{\"name\": \"a\", \"uid\": 2}]}", 1,
		"{" MATCH ", \"secrets\": [{\"name\": \"a\", \"uid\": 2, \"mode\": \"0440\"}]}" },
	{ "the same secret as another file", "{" MATCH ", \"secrets\": [{\"name\": \"a\"}]}",
		"{" MATCH ", \"secrets\": [{\"name\": \"a\", \"as\": \"b\"}]}", 1,
		"{" MATCH ", \"secrets\": [{\"name\": \"a\"}, {\"name\": \"a\", \"as\": \"b\"}]}" },
	{ "another secret as the same file", "{" MATCH ", \"secrets\": [{\"name\": \"a\"}]}",
		"{" MATCH ", \"secrets\": [{\"name\": \"b\", \"as\": \"a\"}]}", -1, NULL },
	{ "a posture", "{" MATCH ", \"secrets\": []}",
		"{" MATCH ", \"require\": {\"non_root\": true}, \"secrets\": []}", 1,
		"{" MATCH ", \"secrets\": [], \"require\": {\"non_root\": true}}" },
	{ "a posture beside another",
		"{" MATCH ", \"require\": {\"non_root\": true}, \"secrets\": []}",
		"{" MATCH ", \"require\": {\"privileged\": \"allow\"}, \"secrets\": []}", 1,
		"{" MATCH ", \"require\": {\"non_root\": true, \"privileged\": \"allow\"}, "
		"\"secrets\": []}" },
	{ "what people wrote by hand, which stays",
		"{\"note\": \"n\", " MATCH ", \"secrets\": [{\"name\": \"a\", \"versions\": "
		"[\"current\"]}]}",
		"{" MATCH ", \"secrets\": [{\"name\": \"b\"}]}", 1,
		"{\"note\": \"n\", " MATCH ", \"secrets\": [{\"name\": \"a\", \"versions\": "
		"[\"current\"]}, {\"name\": \"b\"}]}" },
	{ "other containers", "{\"match\": {\"container.name\": \"x\"}, \"secrets\": []}",
		"{" MATCH ", \"secrets\": []}", -1, NULL },
	{ "another set", "{" MATCH ", \"set\": \"dev\", \"secrets\": []}",
		"{" MATCH ", \"secrets\": []}", -1, NULL },
};

START_TEST(a_wish_joins_a_grant)
{
	AUTO_JSON json_t *grant = parse(joins[_i].grant);
	AUTO_JSON json_t *wish = parse(joins[_i].wish);
	AUTO_JSON json_t *expected = joins[_i].joined ? parse(joins[_i].joined) : NULL;
	AUTO_FREE char *text = NULL;
	struct mayfly_error err;
	const int r = grant_join(grant, wish, &err);

	if (joins[_i].changes < 0) {
		ck_assert_msg(r < 0, "%s", joins[_i].reads_as);
		return;
	}
	text = json_dumps(grant, 0);
	ck_assert_msg(r == joins[_i].changes, "%s: %d", joins[_i].reads_as, r);
	ck_assert_msg(json_equal(grant, expected), "%s: %s", joins[_i].reads_as, text);
}
END_TEST

START_TEST(an_entry_says_only_what_was_said)
{
	const struct file_spec plain = { .name = "a" };
	const struct file_spec full = { .name = "a",
		.path = "b",
		.has_uid = true,
		.has_gid = true,
		.has_mode = true,
		.uid = 0,
		.gid = 5,
		.mode = 0440 };
	AUTO_JSON json_t *one = grant_entry(&plain);
	AUTO_JSON json_t *two = grant_entry(&full);
	AUTO_JSON json_t *expected = parse(
		"{\"name\": \"a\", \"as\": \"b\", \"uid\": 0, \"gid\": 5, \"mode\": \"0440\"}");

	ck_assert_uint_eq(json_object_size(one), 1);
	ck_assert(json_equal(two, expected));
}
END_TEST

START_TEST(the_names_of_a_grant_include_templates)
{
	AUTO_JSON json_t *grant =
		parse("{\"secrets\": [{\"name\": \"a\"}, {\"name\": \"a\", \"as\": \"b\"}, "
		      "{\"template\": \"x{{c|url}}y{{ d }}{{a}}\", \"as\": \"u\"}]}");
	AUTO_JSON json_t *names = grant_secret_names(grant);
	AUTO_FREE char *text = json_dumps(names, 0);

	ck_assert_str_eq(text, "[\"a\", \"c\", \"d\"]");
}
END_TEST

START_TEST(a_secret_is_removed_under_every_path)
{
	AUTO_JSON json_t *grant =
		parse("{\"secrets\": [{\"name\": \"a\"}, {\"name\": \"b\"}, {\"name\": \"a\", "
		      "\"as\": \"c\"}]}");

	ck_assert_int_eq(grant_remove_secret(grant, "a"), 2);
	ck_assert_uint_eq(json_array_size(json_object_get(grant, "secrets")), 1);
	ck_assert_int_eq(grant_remove_secret(grant, "a"), 0);
}
END_TEST

START_TEST(a_posture_is_true_false_or_text)
{
	AUTO_JSON json_t *text = require_value("sha256:x");

	ck_assert(json_is_true(require_value(NULL)));
	ck_assert(json_is_true(require_value("true")));
	ck_assert(json_is_false(require_value("false")));
	ck_assert_str_eq(json_string_value(text), "sha256:x");
}
END_TEST

static const struct {
	const char *reads_as;
	const char *entry;
	const char *user;
	const char *says; /* NULL: no warning */
} owners[] = {
	{ "the container's user reads its own", "{\"name\": \"a\"}", "1000", NULL },
	{ "root reads everything", "{\"name\": \"a\", \"uid\": 5}", "0", NULL },
	{ "another user's file", "{\"name\": \"a\", \"uid\": 0}", "1000", "cannot read a" },
	{ "another user's file under its path", "{\"name\": \"a\", \"as\": \"b\", \"uid\": 0}",
		"1000", "cannot read b" },
	{ "another user's file for the group",
		"{\"name\": \"a\", \"uid\": 0, \"gid\": 100, \"mode\": \"0440\"}", "1000:100",
		NULL },
	{ "another group", "{\"name\": \"a\", \"uid\": 0, \"gid\": 5, \"mode\": \"0440\"}",
		"1000:100", "cannot read" },
	{ "a group that is not known",
		"{\"name\": \"a\", \"uid\": 0, \"gid\": 5, \"mode\": "
		"\"0440\"}",
		"1000", NULL },
	{ "everybody's file", "{\"name\": \"a\", \"uid\": 0, \"mode\": \"0444\"}", "1000", NULL },
	{ "a mode that shuts out its owner", "{\"name\": \"a\", \"mode\": \"0040\"}", "1000",
		"cannot read" },
	{ "no user in the file", "{\"name\": \"a\"}", "", "does not say as which user" },
	{ "no user, but an owner of its own", "{\"name\": \"a\", \"uid\": 5}", "", NULL },
	{ "a variable", "{\"name\": \"a\"}", "${U}", "has a variable" },
	{ "a name, looked up when it starts", "{\"name\": \"a\"}", "app", NULL },
};

START_TEST(a_file_that_its_container_cannot_read_is_warned_of)
{
	AUTO_FREE char *text = text_format("{\"secrets\": [%s]}", owners[_i].entry);
	AUTO_JSON json_t *grant = parse(text);
	MAYFLY_CLEANUP(text_list_done) struct text_list warnings = { 0 };

	grant_warn_owner(grant, owners[_i].user, &warnings);
	ck_assert_msg((warnings.count > 0) == (owners[_i].says != NULL), "%s", owners[_i].reads_as);
	if (owners[_i].says)
		ck_assert_msg(strstr(warnings.items[0], owners[_i].says), "%s: %s",
			owners[_i].reads_as, warnings.items[0]);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_wish_joins_a_grant, 0, sizeof joins / sizeof joins[0]);
	tcase_add_test(cases, an_entry_says_only_what_was_said);
	tcase_add_test(cases, the_names_of_a_grant_include_templates);
	tcase_add_test(cases, a_secret_is_removed_under_every_path);
	tcase_add_test(cases, a_posture_is_true_false_or_text);
	tcase_add_loop_test(cases, a_file_that_its_container_cannot_read_is_warned_of, 0,
		sizeof owners / sizeof owners[0]);
}

int main(void)
{
	return unit_test_run("cli_grant", add);
}
