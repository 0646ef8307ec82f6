#include "daemon/broker/policy/policy.h"

#include "unit_test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* EXPECT: "GRANT|PATH>NEWPATH uid gid mode, ...", '-' for what is not given. */
static const struct {
	const char *reads_as;
	const char *options;
	const char *expect;
} good[] = {
	{ "null", "null", "|" },
	{ "an empty object", "{}", "|" },
	{ "a grant", "{\"grant\": \"shop-web\"}", "shop-web|" },
	{ "one file", "{\"files\": \"a\"}", "|a>a - - -" },
	{ "a file in a directory", "{\"files\": \"keys/api.pem\"}",
		"|keys/api.pem>keys/api.pem - - -" },
	{ "two files, one renamed", "{\"files\": \"a,b=c/d\"}", "|a>a - - -,b>c/d - - -" },
	{ "an owner", "{\"files\": \"a:uid=0:gid=4294967294:mode=0440\"}",
		"|a>a 0 4294967294 440" },
	{ "attributes in another order", "{\"files\": \"a=b:mode=0777:uid=5\"}", "|a>b 5 - 777" },
	{ "both", "{\"grant\": \"g\", \"files\": \"a\"}", "g|a>a - - -" },
};

static void describe(const struct volume_options *options, char *text, size_t size)
{
	size_t used = (size_t)snprintf(text, size, "%s|", options->grant);

	for (size_t i = 0; i < options->files_count; i++) {
		const struct file_choice *choice = &options->files[i];
		char uid[16] = "-", gid[16] = "-", mode[16] = "-";

		if (choice->has_uid)
			(void)snprintf(uid, sizeof uid, "%u", choice->uid);
		if (choice->has_gid)
			(void)snprintf(gid, sizeof gid, "%u", choice->gid);
		if (choice->has_mode)
			(void)snprintf(mode, sizeof mode, "%o", choice->mode);
		used += (size_t)snprintf(text + used, size - used, "%s%s>%s %s %s %s", i ? "," : "",
			choice->path, choice->new_path, uid, gid, mode);
	}
}

START_TEST(options_are_read)
{
	json_t *json = json_loads(good[_i].options, JSON_DECODE_ANY, NULL);
	struct volume_options options;
	struct mayfly_error err;
	char text[512];

	ck_assert_msg(volume_options_parse(json, &options, &err) == 0, "%s: %s", good[_i].reads_as,
		err.text);
	describe(&options, text, sizeof text);
	ck_assert_str_eq(text, good[_i].expect);
	volume_options_done(&options);
	ck_assert_ptr_null(options.files);
	json_decref(json);
}
END_TEST

static const struct {
	const char *reads_as;
	const char *options;
	const char *says;
} bad[] = {
	{ "a text instead of an object", "\"grant=x\"", "no object" },
	{ "a list", "[]", "no object" },
	{ "an unknown option", "{\"grnat\": \"x\"}",
		"unknown option 'grnat'; did you mean 'grant'?; there are `grant` and `files`" },
	{ "an option of another driver", "{\"o\": \"size=1m\"}",
		"unknown option 'o'; there are `grant` and `files`" },
	{ "an option that a terminal would obey", "{\"\\u001b[2J\": \"x\"}",
		"unknown option '?[2J'" },
	{ "an empty grant", "{\"grant\": \"\"}", "option `grant` is empty or no string" },
	{ "an empty list of files", "{\"files\": \"\"}", "option `files` is empty or no string" },
	{ "a grant that is a number", "{\"grant\": 1}", "option `grant` is empty or no string" },
	{ "nothing behind a comma", "{\"files\": \"a,\"}", "'' is no valid path" },
	{ "nothing before a comma", "{\"files\": \",a\"}", "'' is no valid path" },
	{ "a blank", "{\"files\": \"a, b\"}", "' b' is no valid path" },
	{ "no new name", "{\"files\": \"a=\"}", "'' is no valid path" },
	{ "no name", "{\"files\": \"=a\"}", "'' is no valid path" },
	{ "up and away", "{\"files\": \"a=../../etc/passwd\"}", "is no valid path" },
	{ "an absolute new name", "{\"files\": \"a=/b\"}", "is no valid path" },
	{ "our own name", "{\"files\": \"a=..data\"}", "is no valid path" },
	{ "two new names", "{\"files\": \"a=b=c\"}", "'b=c' is no valid path" },
	{ "an unknown attribute", "{\"files\": \"a:owner=1\"}", "'owner=1' is not uid=N" },
	{ "an empty attribute", "{\"files\": \"a:\"}", "'' is not uid=N" },
	{ "an attribute twice", "{\"files\": \"a:uid=1:uid=2\"}", "'uid=2' is not uid=N" },
	{ "a uid without digits", "{\"files\": \"a:uid=\"}", "'uid=' is not" },
	{ "a negative uid", "{\"files\": \"a:uid=-1\"}", "'uid=-1' is not" },
	{ "the uid that means none", "{\"files\": \"a:uid=4294967295\"}", "is not uid=N" },
	{ "a uid beyond all numbers", "{\"files\": \"a:gid=99999999999999999999\"}",
		"is not uid=N" },
	{ "a uid by its name", "{\"files\": \"a:uid=app\"}", "'uid=app' is not" },
	{ "a mode with a set-id bit", "{\"files\": \"a:mode=4755\"}", "'mode=4755' is not" },
	{ "a mode without its zero", "{\"files\": \"a:mode=440\"}", "'mode=440' is not" },
	{ "a mode with an 8", "{\"files\": \"a:mode=0480\"}", "'mode=0480' is not" },
};

START_TEST(options_are_refused)
{
	json_t *json = json_loads(bad[_i].options, JSON_DECODE_ANY, NULL);
	struct volume_options options = { .grant = "untouched" };
	struct mayfly_error err = { 0 };

	ck_assert_ptr_nonnull(json);
	ck_assert_msg(
		volume_options_parse(json, &options, &err) == -EINVAL, "%s", bad[_i].reads_as);
	ck_assert_msg(strstr(err.text, bad[_i].says) != NULL, "%s: %s", bad[_i].reads_as, err.text);
	ck_assert_str_eq(options.grant, "untouched");
	json_decref(json);
}
END_TEST

static int parse_files_of(size_t count, size_t name_length)
{
	char *text = calloc(count, name_length + 2);
	struct volume_options options = { 0 };
	json_t *json;
	int r;

	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			strcat(text, ",");
		memset(text + strlen(text), 'a', name_length);
	}
	json = json_pack("{s:s}", "files", text);
	r = volume_options_parse(json, &options, NULL);
	json_decref(json);
	free(text);
	volume_options_done(&options);
	return r;
}

START_TEST(limits_are_kept)
{
	ck_assert_int_eq(parse_files_of(128, 1), 0);
	ck_assert_int_eq(parse_files_of(129, 1), -EINVAL);
	ck_assert_int_eq(parse_files_of(1, 255), 0);
	ck_assert_int_eq(parse_files_of(1, 256), -EINVAL);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, options_are_read, 0, sizeof good / sizeof good[0]);
	tcase_add_loop_test(cases, options_are_refused, 0, sizeof bad / sizeof bad[0]);
	tcase_add_test(cases, limits_are_kept);
}

int main(void)
{
	return unit_test_run("volume_options", add);
}
