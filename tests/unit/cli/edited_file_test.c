#include "client/cli/files/edited_file.h"

#include "client/cli/files/json_file.h"
#include "client/cli/terminal/text.h"

#include "unit_test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static char root[] = "/tmp/edited_file_test_XXXXXX";
#define FOLDER "etc/mayfly"

static char *path_of(const char *name)
{
	return text_format("%s/" FOLDER "/%s", root, name);
}

/* The text of file NAME, or NULL. */
static char *content(const char *name)
{
	AUTO_FREE char *path = path_of(name);
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = NULL;
	size_t length;

	if (fd >= 0)
		ck_assert_int_eq(file_read_all(fd, path, &text, &length, NULL), 0);
	return text;
}

static void write_text(const char *name, const char *text)
{
	MAYFLY_CLEANUP(edited_file_done) struct edited_file file = EDITED_FILE_EMPTY;

	ck_assert_int_eq(edited_file_open(root, FOLDER, name, true, &file, NULL), 0);
	ck_assert_int_eq(edited_file_write(&file, text, strlen(text), NULL), 0);
}

static void set_up(void)
{
	memcpy(root, "/tmp/edited_file_test_XXXXXX", sizeof root);
	ck_assert_ptr_nonnull(mkdtemp(root));
}

static void tear_down(void)
{
	AUTO_FREE char *command = text_format("rm -r %s", root);

	ck_assert_int_eq(system(command), 0);
}

START_TEST(a_file_is_made_with_its_folders)
{
	AUTO_FREE char *path = path_of("a.json");
	AUTO_FREE char *text = NULL;
	struct stat status;

	write_text("a.json", "{}\n");
	text = content("a.json");
	ck_assert_str_eq(text, "{}\n");
	ck_assert_int_eq(stat(path, &status), 0);
	ck_assert_uint_eq(status.st_mode & 07777, 0644);
}
END_TEST

START_TEST(what_was_there_can_be_put_back)
{
	MAYFLY_CLEANUP(edited_file_done) struct edited_file file = EDITED_FILE_EMPTY;
	AUTO_FREE char *text = NULL;

	write_text("a.json", "old");
	ck_assert_int_eq(edited_file_open(root, FOLDER, "a.json", true, &file, NULL), 0);
	ck_assert_str_eq(file.old_text, "old");
	ck_assert_int_eq(edited_file_write(&file, "newer", 5, NULL), 0);
	ck_assert_int_eq(edited_file_restore(&file, NULL), 0);
	text = content("a.json");
	ck_assert_str_eq(text, "old");
}
END_TEST

START_TEST(a_file_that_was_not_there_is_gone_again)
{
	MAYFLY_CLEANUP(edited_file_done) struct edited_file file = EDITED_FILE_EMPTY;

	ck_assert_int_eq(edited_file_open(root, FOLDER, "a.json", true, &file, NULL), 0);
	ck_assert_ptr_null(file.old_text);
	ck_assert_int_eq(edited_file_write(&file, "x", 1, NULL), 0);
	ck_assert_int_eq(edited_file_restore(&file, NULL), 0);
	ck_assert_ptr_null(content("a.json"));
}
END_TEST

START_TEST(the_mode_stays)
{
	AUTO_FREE char *path = path_of("a.json");
	struct stat status;

	write_text("a.json", "old");
	ck_assert_int_eq(chmod(path, 0600), 0);
	write_text("a.json", "new");
	ck_assert_int_eq(stat(path, &status), 0);
	ck_assert_uint_eq(status.st_mode & 07777, 0600);
}
END_TEST

START_TEST(nothing_else_is_left_in_the_folder)
{
	AUTO_FREE char *draft = path_of(".a.json.new");

	write_text("a.json", "x");
	/* A draft of an edit that was killed is in nobody's way. */
	write_text(".a.json.new", "remnant");
	write_text("a.json", "y");
	ck_assert_int_ne(access(draft, F_OK), 0);
}
END_TEST

START_TEST(a_symbolic_link_is_not_followed)
{
	MAYFLY_CLEANUP(edited_file_done) struct edited_file file = EDITED_FILE_EMPTY;
	AUTO_FREE char *link = path_of("a.json");
	struct mayfly_error err;

	write_text("b.json", "x");
	ck_assert_int_eq(symlink("b.json", link), 0);
	ck_assert_int_eq(edited_file_open(root, FOLDER, "a.json", true, &file, &err), -ELOOP);
	ck_assert_ptr_nonnull(strstr(err.text, "symbolic link"));
}
END_TEST

START_TEST(a_folder_is_not_made_unasked)
{
	MAYFLY_CLEANUP(edited_file_done) struct edited_file file = EDITED_FILE_EMPTY;

	ck_assert_int_eq(edited_file_open(root, FOLDER, "a", false, &file, NULL), -ENOENT);
}
END_TEST

START_TEST(the_order_of_keys_stays)
{
	static const char text[] = "{\"b\": 1, \"a\": {\"z\": 0.1, \"note\": \"\\u00e4\"}, "
				   "\"c\": []}";
	AUTO_JSON json_t *json = NULL;
	AUTO_FREE char *again = NULL;
	size_t length;

	ck_assert_int_eq(json_file_parse("x", text, sizeof text - 1, &json, NULL), 0);
	again = json_file_text(json, &length);
	ck_assert_str_eq(again, "{\n  \"b\": 1,\n  \"a\": {\n    \"z\": 0.1,\n    \"note\": "
				"\"\xc3\xa4\"\n  },\n  \"c\": []\n}\n");
	ck_assert_uint_eq(length, strlen(again));
}
END_TEST

static const struct {
	const char *text;
	const char *says;
} broken[] = {
	{ "{\n\"a\": 1,\n}", "x:3" },
	{ "[]", "no JSON object" },
	{ "{\"a\": 1, \"a\": 2}", "duplicate" },
	{ "", "x:1" },
};

START_TEST(a_mistake_is_named_with_its_line)
{
	struct mayfly_error err;
	json_t *json = NULL;

	ck_assert_int_lt(
		json_file_parse("x", broken[_i].text, strlen(broken[_i].text), &json, &err), 0);
	ck_assert_msg(strstr(err.text, broken[_i].says), "%s", err.text);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_checked_fixture(cases, set_up, tear_down);
	tcase_add_test(cases, a_file_is_made_with_its_folders);
	tcase_add_test(cases, what_was_there_can_be_put_back);
	tcase_add_test(cases, a_file_that_was_not_there_is_gone_again);
	tcase_add_test(cases, the_mode_stays);
	tcase_add_test(cases, nothing_else_is_left_in_the_folder);
	tcase_add_test(cases, a_symbolic_link_is_not_followed);
	tcase_add_test(cases, a_folder_is_not_made_unasked);
	tcase_add_test(cases, the_order_of_keys_stays);
	tcase_add_loop_test(
		cases, a_mistake_is_named_with_its_line, 0, sizeof broken / sizeof broken[0]);
}

int main(void)
{
	return unit_test_run("cli_edited_file", add);
}
