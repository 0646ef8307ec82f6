#include "daemon/broker/config/config.h"

#include "daemon/broker/config/file_text.h"
#include "daemon/broker/config/schema_text.h"
#include "proto/cleanup.h"
#include "unit_test.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct config *parse(const char *text)
{
	struct complaints complaints = { 0 };
	struct config *config = NULL;

	ck_assert_msg(config_parse("f", text, strlen(text), &config, &complaints) == 0, "%s: %s",
		text, complaints.count ? complaints.items[0].text : "");
	return config;
}

/* ---- The published defaults are the real ones. ---- */

static json_t *schema_default(const char *const *path)
{
	json_t *schema = json_loadb(mayflyd_schema.bytes, mayflyd_schema.length, 0, NULL);
	json_t *at = schema;

	ck_assert_ptr_nonnull(schema);
	for (; *path; path++)
		at = json_object_get(at, *path);
	at = json_incref(json_object_get(at, "default"));
	json_decref(schema);
	ck_assert_ptr_nonnull(at);
	return at;
}

static void check_default(const char *found, const char *const *path)
{
	json_t *published = schema_default(path);

	ck_assert_str_eq(found, json_string_value(published));
	json_decref(published);
}

#define PATH(...)      ((const char *const[]){ __VA_ARGS__, NULL })
#define OF_ENGINE(key) PATH("$defs", "engine", "properties", key)

START_TEST(an_empty_file_has_the_published_defaults)
{
	struct config *config = parse("{}");
	json_t *reveal = schema_default(PATH("properties", "allow_reveal"));

	check_default(config->operator_group, PATH("properties", "operator_group"));
	check_default(config->user, PATH("properties", "user"));
	ck_assert_uint_eq(config->engines_count, 1);
	check_default(config->engines[0].name, OF_ENGINE("name"));
	check_default(config->engines[0].socket, OF_ENGINE("socket"));
	check_default(config->engines[0].plugin_name, OF_ENGINE("plugin_name"));
	check_default(config->engines[0].exec_root, OF_ENGINE("exec_root"));
	ck_assert(config->allow_reveal == json_is_true(reveal));
	ck_assert_ptr_null(config->environment);
	ck_assert_uint_eq(config->sets_count, 0);
	json_decref(reveal);
	config_free(config);
}
END_TEST

START_TEST(everything_that_is_written_is_read)
{
	struct config *config = parse(
		"{\"environment\": \"prod\", \"user\": 990, \"operator_group\": \"ops\","
		"\"allow_reveal\": true,"
		"\"sets\": {\"note\": \"n\", \"common\": {}, \"a\": {\"provider\": \"store\"},"
		" \"prod\": {\"inherits\": [\"common\", \"a\"]}},"
		"\"engines\": [{\"exec_root\": \"/x\"}, {\"name\": \"two\","
		" \"socket\": \"/two.sock\", \"plugin_name\": \"m2\", \"kind\": \"docker\"}]}");
	const struct config_set *prod = config_set_find(config, "prod");

	ck_assert_str_eq(config->environment, "prod");
	ck_assert_str_eq(config->user, "990");
	ck_assert_str_eq(config->operator_group, "ops");
	ck_assert(config->allow_reveal);
	ck_assert_uint_eq(config->sets_count, 3);
	ck_assert_ptr_nonnull(prod);
	ck_assert_int_eq(prod->provider, SET_PROVIDER_STORE);
	ck_assert_uint_eq(prod->inherits_count, 2);
	ck_assert_str_eq(prod->inherits[0], "common");
	ck_assert_str_eq(prod->inherits[1], "a");
	ck_assert_ptr_null(config_set_find(config, "note"));
	ck_assert_uint_eq(config->engines_count, 2);
	ck_assert_str_eq(config->engines[0].exec_root, "/x");
	ck_assert_str_eq(config->engines[0].name, "docker");
	ck_assert_str_eq(config->engines[1].name, "two");
	ck_assert_str_eq(config->engines[1].socket, "/two.sock");
	ck_assert_str_eq(config->engines[1].plugin_name, "m2");
	config_free(config);
	config_free(NULL);
}
END_TEST

START_TEST(an_environment_that_is_not_listed_is_a_set_of_the_store)
{
	struct config *config = parse("{\"environment\": \"prod\"}");
	const struct config_set *set = config_set_find(config, "prod");

	ck_assert_uint_eq(config->sets_count, 1);
	ck_assert_ptr_nonnull(set);
	ck_assert_int_eq(set->provider, SET_PROVIDER_STORE);
	ck_assert_uint_eq(set->inherits_count, 0);
	config_free(config);
}
END_TEST

/* ---- Files. ---- */

struct root {
	char path[64];
	char file[192];
};

static struct root make_root(const char *text, mode_t mode)
{
	struct root root = { .path = "/tmp/mayfly-config-XXXXXX" };
	char folder[128];
	FILE *file;

	ck_assert_ptr_nonnull(mkdtemp(root.path));
	(void)snprintf(folder, sizeof folder, "%s/etc", root.path);
	ck_assert_int_eq(mkdir(folder, 0755), 0);
	(void)snprintf(folder, sizeof folder, "%s/etc/mayfly", root.path);
	ck_assert_int_eq(mkdir(folder, 0755), 0);
	(void)snprintf(root.file, sizeof root.file, "%s/mayflyd.json", folder);
	if (text) {
		file = fopen(root.file, "we");
		ck_assert_ptr_nonnull(file);
		ck_assert_int_ge(fputs(text, file), 0);
		ck_assert_int_eq(fclose(file), 0);
		ck_assert_int_eq(chmod(root.file, mode), 0);
	}
	return root;
}

static void remove_root(const struct root *root)
{
	char folder[128];

	(void)remove(root->file);
	(void)snprintf(folder, sizeof folder, "%s/etc/mayfly", root->path);
	ck_assert_int_eq(rmdir(folder), 0);
	(void)snprintf(folder, sizeof folder, "%s/etc", root->path);
	ck_assert_int_eq(rmdir(folder), 0);
	ck_assert_int_eq(rmdir(root->path), 0);
}

static const struct {
	const char *reads_as;
	const char *text; /* NULL: no file */
	mode_t mode;
	int expect;
	const char *says;
} files[] = {
	{ "a good file", "{\"environment\": \"dev\"}", 0644, 0, NULL },
	{ "a file that only root reads", "{\"environment\": \"dev\"}", 0600, 0, NULL },
	{ "no file at all", NULL, 0, 0, NULL },
	{ "a file with a mistake", "{\n\"enviroment\": \"dev\"}", 0644, -EINVAL,
		"mayflyd.json:2: unknown key 'enviroment' in the configuration; did you mean "
		"'environment'?" },
	{ "a file with two mistakes", "{\n\"x\": 1, \"y\": 2}", 0644, -EINVAL, "(and 1 more)" },
	{ "an empty file", "", 0644, -EINVAL, "mayflyd.json:1: this is no valid JSON" },
	{ "a file that every user may write to", "{}", 0646, -EPERM, "every user may write to it" },
};

START_TEST(the_configuration_is_loaded_from)
{
	const struct root root = make_root(files[_i].text, files[_i].mode);
	struct complaints complaints = { 0 };
	struct config *config = NULL;
	struct mayfly_error err = { 0 };
	const int r = config_load(root.path, &config, &complaints, &err);

	ck_assert_msg(r == files[_i].expect, "%s: %d %s", files[_i].reads_as, r, err.text);
	ck_assert((r == 0) == (config != NULL));
	ck_assert((r == -EINVAL) == (complaints.count > 0));
	if (files[_i].says)
		ck_assert_msg(strstr(err.text, files[_i].says) != NULL, "%s", err.text);
	config_free(config);
	complaints_done(&complaints);
	remove_root(&root);
}
END_TEST

START_TEST(what_is_no_regular_file_is_refused_and_not_waited_for)
{
	const struct root root = make_root(NULL, 0);
	struct complaints complaints = { 0 };
	struct config *config = NULL;
	struct mayfly_error err;

	ck_assert_int_eq(mkfifo(root.file, 0600), 0);
	ck_assert_int_eq(config_load(root.path, &config, &complaints, &err), -EISDIR);
	ck_assert_int_eq(remove(root.file), 0);
	ck_assert_int_eq(mkdir(root.file, 0700), 0);
	ck_assert_int_eq(config_load(root.path, &config, &complaints, &err), -EISDIR);
	remove_root(&root);
}
END_TEST

START_TEST(a_file_has_four_mebibytes_at_most)
{
	const struct root root = make_root("{}", 0600);
	AUTO_FREE char *text = NULL;
	size_t length = 0;

	ck_assert_int_eq(truncate(root.file, (off_t)FILE_TEXT_MAX_BYTES), 0);
	ck_assert_int_eq(file_text_read(AT_FDCWD, root.file, &text, &length, NULL), 0);
	ck_assert_uint_eq(length, FILE_TEXT_MAX_BYTES);
	free(ptr_take(&text));
	ck_assert_int_eq(truncate(root.file, (off_t)FILE_TEXT_MAX_BYTES + 1), 0);
	ck_assert_int_eq(file_text_read(AT_FDCWD, root.file, &text, &length, NULL), -EFBIG);
	remove_root(&root);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, an_empty_file_has_the_published_defaults);
	tcase_add_test(cases, everything_that_is_written_is_read);
	tcase_add_test(cases, an_environment_that_is_not_listed_is_a_set_of_the_store);
	tcase_add_loop_test(
		cases, the_configuration_is_loaded_from, 0, sizeof files / sizeof files[0]);
	tcase_add_test(cases, what_is_no_regular_file_is_refused_and_not_waited_for);
	tcase_add_test(cases, a_file_has_four_mebibytes_at_most);
}

int main(void)
{
	return unit_test_run("config", add);
}
