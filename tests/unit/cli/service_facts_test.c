#include "client/cli/compose/service_facts.h"

#include "unit_test.h"

#include <string.h>

#define WEB(members) "{\"name\": \"shop\", \"services\": {\"web\": {" members "}}"

static const struct {
	const char *reads_as;
	const char *model;
	const char *user;
	const char *specs[3];
	bool has_secrets, has_volume;
} rows[] = {
	{ "a service that says little", WEB("\"image\": \"x\"") "}", "", { NULL }, false, false },
	{ "its user", WEB("\"user\": \"1000:100\"") "}", "1000:100", { NULL }, false, false },
	{ "its user as a number", WEB("\"user\": 1000") "}", "1000", { NULL }, false, false },
	{ "its secrets with their owners, without their paths",
		WEB("\"secrets\": [{\"source\": \"a\", \"target\": \"keys/a\", \"uid\": \"5\", "
		    "\"mode\": \"0440\"}, \"b\"]") ", \"secrets\": {\"a\": {\"file\": \"x\"}, "
						   "\"b\": {\"file\": \"y\"}}}",
		"", { "a:uid=5:mode=0440", "b" }, true, false },
	{ "the names in a volume of ours",
		WEB("\"volumes\": [{\"type\": \"volume\", \"source\": \"s\", \"target\": "
		    "\"/run/secrets\"}]") ", \"volumes\": {\"s\": {\"driver\": \"mayfly\", "
					  "\"driver_opts\": {\"files\": \"a=b:uid=5,c\"}}}}",
		"", { "a", "c" }, false, true },
	{ "a volume of ours in short syntax",
		WEB("\"volumes\": [\"s:/run/secrets:ro\"]") ", \"volumes\": {\"s\": {\"driver\": "
							    "\"mayfly\"}}}",
		"", { NULL }, false, true },
	{ "somebody else's volume",
		WEB("\"volumes\": [\"s:/run/secrets:ro\"]") ", \"volumes\": {\"s\": {\"driver\": "
							    "\"local\"}}}",
		"", { NULL }, false, false },
};

START_TEST(a_service_has)
{
	MAYFLY_CLEANUP(service_facts_done) struct service_facts facts = { 0 };
	AUTO_JSON json_t *model = json_loads(rows[_i].model, 0, NULL);
	struct mayfly_error err;
	size_t expected = 0;

	ck_assert_msg(model != NULL, "%s", rows[_i].reads_as);
	ck_assert_msg(service_facts_of_model(model, "web", "mayfly", &facts, &err) == 0, "%s: %s",
		rows[_i].reads_as, err.text);
	ck_assert_str_eq(facts.project, "shop");
	ck_assert_str_eq(facts.user, rows[_i].user);
	ck_assert_msg(facts.has_secrets == rows[_i].has_secrets, "%s", rows[_i].reads_as);
	ck_assert_msg(facts.has_volume == rows[_i].has_volume, "%s", rows[_i].reads_as);
	for (; expected < 3 && rows[_i].specs[expected]; expected++) {
		AUTO_FREE char *spec = file_spec_text(&facts.secrets[expected]);

		ck_assert_msg(strcmp(spec, rows[_i].specs[expected]) == 0, "%s: %s",
			rows[_i].reads_as, spec);
	}
	ck_assert_uint_eq(facts.secrets_count, expected);
}
END_TEST

START_TEST(a_service_that_is_not_there_is_refused_with_the_nearest)
{
	MAYFLY_CLEANUP(service_facts_done) struct service_facts facts = { 0 };
	AUTO_JSON json_t *model = json_loads(WEB("\"image\": \"x\"") "}", 0, NULL);
	struct mayfly_error err;

	ck_assert_int_lt(service_facts_of_model(model, "wbe", "mayfly", &facts, &err), 0);
	ck_assert_msg(strstr(err.text, "did you mean 'web'"), "%s", err.text);
}
END_TEST

START_TEST(the_project_of_a_directory_is_in_small_letters)
{
	char directory[] = "/tmp/service_facts_test_XXXXXX";
	AUTO_FREE char *project = NULL;
	AUTO_FREE char *made = NULL;
	AUTO_FREE char *removed = NULL;
	AUTO_FREE char *file = NULL;

	ck_assert_ptr_nonnull(mkdtemp(directory));
	made = text_format(
		"mkdir %s/My.Shop_1-x && touch %s/My.Shop_1-x/c.yaml", directory, directory);
	removed = text_format("rm -r %s", directory);
	file = text_format("%s/My.Shop_1-x/../My.Shop_1-x//c.yaml", directory);
	ck_assert_int_eq(system(made), 0);
	project = project_of_directory(file);
	ck_assert_str_eq(project, "myshop_1-x");
	ck_assert_int_eq(system(removed), 0);
}
END_TEST

START_TEST(a_file_that_is_not_there_has_no_project)
{
	AUTO_FREE char *project = project_of_directory("/nonexistent/c.yaml");

	ck_assert_str_eq(project, "");
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_service_has, 0, sizeof rows / sizeof rows[0]);
	tcase_add_test(cases, a_service_that_is_not_there_is_refused_with_the_nearest);
	tcase_add_test(cases, the_project_of_a_directory_is_in_small_letters);
	tcase_add_test(cases, a_file_that_is_not_there_has_no_project);
}

int main(void)
{
	return unit_test_run("cli_service_facts", add);
}
