#include "client/cli/compose/invocation.h"

#include "unit_test.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The lists as one text, for comparison. */
static char *joined(const struct text_list *list)
{
	char *all = text_copy("");

	for (size_t i = 0; i < list->count; i++) {
		char *longer = text_format("%s%s%s", all, i ? " " : "", list->items[i]);

		free(all);
		all = longer;
	}
	return all;
}

static const struct {
	const char *reads_as;
	const char *words[10];
	const char *files, *project, *others, *command;
} rows[] = {
	{ "a command alone", { "up", "-d" }, "", "", "", "up" },
	{ "files in every way", { "-f", "a", "--file", "b", "--file=c", "-fd", "up" }, "a b c d",
		"", "", "up" },
	{ "a project", { "-p", "shop", "up" }, "", "--project-name shop", "", "up" },
	{ "profiles and env files", { "--profile", "x", "--env-file=e", "ps" }, "",
		"--profile x --env-file e", "", "ps" },
	{ "options for the real call only", { "--progress", "plain", "--dry-run", "up" }, "", "",
		"--progress plain --dry-run", "up" },
	{ "options behind the command, which are its own", { "logs", "-f", "web" }, "", "", "",
		"logs" },
	{ "no command", { "-f", "a" }, "a", "", "", NULL },
};

START_TEST(a_command_line_of_compose)
{
	struct invocation invocation;
	AUTO_FREE char *files = NULL;
	AUTO_FREE char *project = NULL;
	AUTO_FREE char *others = NULL;

	ck_assert_int_eq(invocation_parse(rows[_i].words, &invocation, NULL), 0);
	files = joined(&invocation.files);
	project = joined(&invocation.project);
	others = joined(&invocation.others);
	ck_assert_msg(strcmp(files, rows[_i].files) == 0, "%s: %s", rows[_i].reads_as, files);
	ck_assert_msg(strcmp(project, rows[_i].project) == 0, "%s: %s", rows[_i].reads_as, project);
	ck_assert_msg(strcmp(others, rows[_i].others) == 0, "%s: %s", rows[_i].reads_as, others);
	ck_assert_pstr_eq(invocation.rest[0], rows[_i].command);
	invocation_done(&invocation);
}
END_TEST

START_TEST(an_option_without_its_argument_is_refused)
{
	const char *const words[] = { "-f", NULL };
	struct invocation invocation;

	ck_assert_int_lt(invocation_parse(words, &invocation, NULL), 0);
}
END_TEST

static void touch(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
}

static const struct {
	const char *reads_as;
	const char *present[3]; /* files that are there */
	const char *env_file;	/* text of .env, or NULL */
	const char *variable;	/* COMPOSE_FILE, or NULL */
	const char *found;
} places[] = {
	{ "the usual name", { "compose.yaml" }, NULL, NULL, "compose.yaml" },
	{ "the old name", { "docker-compose.yml" }, NULL, NULL, "docker-compose.yml" },
	{ "the first of two", { "docker-compose.yml", "compose.yaml" }, NULL, NULL,
		"compose.yaml" },
	{ "an override beside it", { "compose.yaml", "compose.override.yaml" }, NULL, NULL,
		"compose.yaml compose.override.yaml" },
	{ "the environment's list", { "compose.yaml" }, NULL, "a.yaml:b.yaml", "a.yaml b.yaml" },
	{ "the env file's list", { "compose.yaml" }, "X=1\nCOMPOSE_FILE=\"c.yaml:d.yaml\"\n", NULL,
		"c.yaml d.yaml" },
	{ "an env file without a list", { "compose.yaml" }, "COMPOSE_FILES=c\n", NULL,
		"compose.yaml" },
	{ "the environment before the env file", { "compose.yaml" }, "COMPOSE_FILE=c\n", "a", "a" },
	{ "nothing", { "other.yaml" }, NULL, NULL, "" },
};

START_TEST(the_files_that_compose_would_find)
{
	char directory[] = "/tmp/invocation_test_XXXXXX";
	const char *const words[] = { "up", NULL };
	struct invocation invocation;
	AUTO_FREE char *found = NULL;

	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(chdir(directory), 0);
	ck_assert_int_eq(unsetenv("COMPOSE_FILE"), 0);
	if (places[_i].variable)
		ck_assert_int_eq(setenv("COMPOSE_FILE", places[_i].variable, 1), 0);
	for (size_t i = 0; i < 3 && places[_i].present[i]; i++)
		touch(places[_i].present[i], "");
	if (places[_i].env_file)
		touch(".env", places[_i].env_file);
	ck_assert_int_eq(invocation_parse(words, &invocation, NULL), 0);
	ck_assert_int_eq(invocation_find_files(&invocation, NULL), 0);
	found = joined(&invocation.files);
	ck_assert_msg(strcmp(found, places[_i].found) == 0, "%s: %s", places[_i].reads_as, found);
	invocation_done(&invocation);
	for (size_t i = 0; i < 3 && places[_i].present[i]; i++)
		ck_assert_int_eq(unlink(places[_i].present[i]), 0);
	(void)unlink(".env"); /* Only some rows have one. */
	ck_assert_int_eq(rmdir(directory), 0);
}
END_TEST

START_TEST(a_file_above_is_found_from_below)
{
	char directory[] = "/tmp/invocation_test_XXXXXX";
	const char *const words[] = { "up", NULL };
	struct invocation invocation;

	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(chdir(directory), 0);
	ck_assert_int_eq(unsetenv("COMPOSE_FILE"), 0);
	touch("compose.yml", "");
	ck_assert_int_eq(mkdir("below", 0755), 0);
	ck_assert_int_eq(chdir("below"), 0);
	ck_assert_int_eq(invocation_parse(words, &invocation, NULL), 0);
	ck_assert_int_eq(invocation_find_files(&invocation, NULL), 0);
	ck_assert_uint_eq(invocation.files.count, 1);
	ck_assert_ptr_nonnull(strstr(invocation.files.items[0], "/compose.yml"));
	invocation_done(&invocation);
	ck_assert_int_eq(chdir(".."), 0);
	ck_assert_int_eq(rmdir("below") + unlink("compose.yml") + rmdir(directory), 0);
}
END_TEST

START_TEST(standard_input_cannot_be_read_twice)
{
	const char *const words[] = { "-f", "-", "up", NULL };
	struct invocation invocation;

	ck_assert_int_eq(invocation_parse(words, &invocation, NULL), 0);
	ck_assert_int_lt(invocation_find_files(&invocation, NULL), 0);
	invocation_done(&invocation);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_command_line_of_compose, 0, sizeof rows / sizeof rows[0]);
	tcase_add_test(cases, an_option_without_its_argument_is_refused);
	tcase_add_loop_test(
		cases, the_files_that_compose_would_find, 0, sizeof places / sizeof places[0]);
	tcase_add_test(cases, a_file_above_is_found_from_below);
	tcase_add_test(cases, standard_input_cannot_be_read_twice);
}

int main(void)
{
	return unit_test_run("cli_invocation", add);
}
