#include "client/cli/policy/policy_files.h"

#include "client/cli/terminal/text.h"

#include "unit_test.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char root[] = "/tmp/policy_files_test_XXXXXX";

static void write_text(const char *name, const char *text)
{
	AUTO_FREE char *path = text_format("%s/" POLICY_FOLDER "/%s", root, name);
	FILE *file = fopen(path, "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
}

static void set_up(void)
{
	AUTO_FREE char *command = NULL;

	memcpy(root, "/tmp/policy_files_test_XXXXXX", sizeof root);
	ck_assert_ptr_nonnull(mkdtemp(root));
	command = text_format("mkdir -p %s/" POLICY_FOLDER, root);
	ck_assert_int_eq(system(command), 0);
}

static void tear_down(void)
{
	AUTO_FREE char *command = text_format("rm -r %s", root);

	ck_assert_int_eq(system(command), 0);
}

START_TEST(files_are_read_in_the_order_of_their_names)
{
	MAYFLY_CLEANUP(policy_files_done) struct policy_files files = { 0 };

	write_text("b.json", "{}");
	write_text("B.json", "{}");
	write_text("a.json", "{\"grants\": []}");
	write_text("a.json.bak", "no JSON");
	write_text(".a.json.new", "no JSON");
	write_text("README", "no JSON");
	ck_assert_int_eq(policy_files_read(root, &files, NULL), 0);
	ck_assert_uint_eq(files.count, 3);
	ck_assert_str_eq(files.items[0].name, "B.json");
	ck_assert_str_eq(files.items[1].name, "a.json");
	ck_assert_str_eq(files.items[1].text, "{\"grants\": []}");
}
END_TEST

START_TEST(without_a_folder_there_are_no_files)
{
	MAYFLY_CLEANUP(policy_files_done) struct policy_files files = { 0 };

	ck_assert_int_eq(policy_files_read("/tmp/policy_files_test_nothing", &files, NULL), 0);
	ck_assert_uint_eq(files.count, 0);
}
END_TEST

START_TEST(a_file_that_is_no_json_is_named)
{
	MAYFLY_CLEANUP(policy_files_done) struct policy_files files = { 0 };
	struct mayfly_error err;

	write_text("a.json", "{\n\n,}");
	ck_assert_int_lt(policy_files_read(root, &files, &err), 0);
	ck_assert_msg(strstr(err.text, "policy.d/a.json:3"), "%s", err.text);
}
END_TEST

START_TEST(a_grant_is_found_in_whatever_file_it_is)
{
	MAYFLY_CLEANUP(policy_files_done) struct policy_files files = { 0 };
	struct policy_file *file;
	json_t *grant = NULL;
	size_t index = 9;

	write_text("a.json", "{\"grants\": [{\"name\": \"x\"}]}");
	write_text("shop.json", "{\"grants\": [{\"name\": \"y\"}, {\"name\": \"shop-web\"}]}");
	ck_assert_int_eq(policy_files_read(root, &files, NULL), 0);
	file = policy_files_find(&files, "shop-web", &grant, &index);
	ck_assert_str_eq(file->name, "shop.json");
	ck_assert_uint_eq(index, 1);
	ck_assert_str_eq(json_text(grant, "name"), "shop-web");
	ck_assert_ptr_null(policy_files_find(&files, "shop", &grant, NULL));
}
END_TEST

START_TEST(a_file_is_there_once)
{
	MAYFLY_CLEANUP(policy_files_done) struct policy_files files = { 0 };

	write_text("a.json", "{\"note\": \"n\"}");
	ck_assert_int_eq(policy_files_read(root, &files, NULL), 0);
	ck_assert_str_eq(policy_files_get(&files, "a.json")->text, "{\"note\": \"n\"}");
	ck_assert_ptr_null(policy_files_get(&files, "b.json")->text);
	ck_assert_uint_eq(files.count, 2);
	ck_assert_ptr_nonnull(policy_file_grants(policy_files_get(&files, "b.json")));
}
END_TEST

static const struct {
	const char *reads_as;
	const char *json;
	bool is_empty;
} contents[] = {
	{ "nothing", "{}", true },
	{ "no grants", "{\"grants\": []}", true },
	{ "only a note", "{\"note\": \"n\", \"grants\": []}", true },
	{ "a grant", "{\"grants\": [{}]}", false },
	{ "something that is not known here", "{\"grants\": [], \"other\": 1}", false },
};

START_TEST(a_file_is_empty_with)
{
	const struct policy_file file = { .json = json_loads(contents[_i].json, 0, NULL) };

	ck_assert_msg(
		policy_file_is_empty(&file) == contents[_i].is_empty, "%s", contents[_i].reads_as);
	json_decref(file.json);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_checked_fixture(cases, set_up, tear_down);
	tcase_add_test(cases, files_are_read_in_the_order_of_their_names);
	tcase_add_test(cases, without_a_folder_there_are_no_files);
	tcase_add_test(cases, a_file_that_is_no_json_is_named);
	tcase_add_test(cases, a_grant_is_found_in_whatever_file_it_is);
	tcase_add_test(cases, a_file_is_there_once);
	tcase_add_loop_test(cases, a_file_is_empty_with, 0, sizeof contents / sizeof contents[0]);
}

int main(void)
{
	return unit_test_run("cli_policy_files", add);
}
