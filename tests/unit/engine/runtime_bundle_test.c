#include "daemon/engine/facts/runtime_bundle.h"

#include "engine_fixture.h"
#include "unit_test.h"

#include <errno.h>

#define USER "\"process\":{\"user\":{\"uid\":1000,\"gid\":2000}}"

static const struct {
	const char *reads_as;
	const char *config;
	int expect;
	size_t count;
} rows[] = {
	{ "a mount of ours",
		"{" USER ",\"mounts\":[{\"source\":\"/run/mayfly-volumes/" ID_A "\"}]}", 0, 1 },
	{ "a mount of an instance elsewhere",
		"{" USER ",\"mounts\":[{\"source\":\"/srv/test/run/mayfly-volumes/" ID_A "\"}]}", 0,
		1 },
	{ "two mounts of ours",
		"{" USER ",\"mounts\":[{\"source\":\"/run/mayfly-volumes/" ID_A
		"\"},{\"source\":\"proc\"},{\"source\":\"/run/mayfly-volumes/" ID_B "\"}]}",
		0, 2 },
	{ "a mount below one of ours",
		"{" USER ",\"mounts\":[{\"source\":\"/run/mayfly-volumes/" ID_A "/x\"}]}", 0, 0 },
	{ "a directory that only ends like ours",
		"{" USER ",\"mounts\":[{\"source\":\"/x-run/mayfly-volumes/" ID_A "\"}]}", 0, 0 },
	{ "a directory that only begins like ours",
		"{" USER ",\"mounts\":[{\"source\":\"/run/mayfly-volumes2/" ID_A "\"}]}", 0, 0 },
	{ "a name that is no id",
		"{" USER ",\"mounts\":[{\"source\":\"/run/mayfly-volumes/abc\"}]}", 0, 0 },
	{ "an id alone", "{" USER ",\"mounts\":[{\"source\":\"" ID_A "\"}]}", 0, 0 },
	{ "mounts without a source", "{" USER ",\"mounts\":[{},7,null]}", 0, 0 },
	{ "no mounts", "{" USER "}", 0, 0 },
	{ "a file that is not whole", "{" USER ",\"mounts\":[", -EBADMSG, 0 },
	{ "an empty file", "", -EBADMSG, 0 },
	{ "no user", "{\"mounts\":[]}", -EBADMSG, 0 },
	{ "a user below zero", "{\"process\":{\"user\":{\"uid\":-1,\"gid\":0}}}", -EBADMSG, 0 },
	{ "a user beyond all", "{\"process\":{\"user\":{\"uid\":0,\"gid\":4294967296}}}", -EBADMSG,
		0 },
	{ "no file", NULL, -ENOENT, 0 },
};

START_TEST(a_bundle_with)
{
	struct runtime_bundle bundle = { 0 };
	struct mayfly_error error = { 0 };
	struct fixture fixture;
	int r;

	fixture_open(&fixture);
	fixture_parents(&fixture, "bundle/");
	if (rows[_i].config)
		fixture_text(&fixture, "bundle/config.json", rows[_i].config);
	r = runtime_bundle_read(&fixture.place, "/bundle", &bundle, &error);
	ck_assert_msg(r == rows[_i].expect && bundle.count == rows[_i].count, "%s: %d %zu %s",
		rows[_i].reads_as, r, bundle.count, error.text);
	if (r == 0)
		ck_assert(bundle.uid == 1000 && bundle.gid == 2000);
	if (bundle.count > 0)
		ck_assert_str_eq(bundle.mount_ids[0], ID_A);
	fixture_close(&fixture);
}
END_TEST

START_TEST(more_mounts_than_a_container_may_have_are_not_told)
{
	struct runtime_bundle bundle = { 0 };
	struct fixture fixture;
	char text[4096] = "{" USER ",\"mounts\":[";

	for (int i = 0; i < 20; i++)
		(void)snprintf(text + strlen(text), sizeof text - strlen(text),
			"%s{\"source\":\"/run/mayfly-volumes/" ID_A "\"}", i > 0 ? "," : "");
	memcpy(text + strlen(text), "]}", 3);
	fixture_open(&fixture);
	fixture_text(&fixture, "bundle/config.json", text);
	ck_assert_int_eq(runtime_bundle_read(&fixture.place, "/bundle", &bundle, NULL), 0);
	ck_assert_uint_eq(bundle.count, CONTAINER_VOLUMES_MAX);
	fixture_close(&fixture);
}
END_TEST

START_TEST(its_process_is_a_number)
{
	static const struct {
		const char *text;
		pid_t expect;
	} pids[] = { { "1234", 1234 }, { "12\n", 12 }, { "", 0 }, { "x", 0 }, { "-5", 0 },
		{ "99999999999", 0 } };
	struct fixture fixture;

	fixture_open(&fixture);
	ck_assert_int_eq(runtime_bundle_pid(&fixture.place, "/bundle"), 0);
	for (size_t i = 0; i < sizeof pids / sizeof pids[0]; i++) {
		fixture_text(&fixture, "bundle/init.pid", pids[i].text);
		ck_assert_int_eq(runtime_bundle_pid(&fixture.place, "/bundle"), pids[i].expect);
	}
	fixture_close(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_bundle_with, 0, sizeof rows / sizeof rows[0]);
	tcase_add_test(cases, more_mounts_than_a_container_may_have_are_not_told);
	tcase_add_test(cases, its_process_is_a_number);
}

int main(void)
{
	return unit_test_run("runtime_bundle", add);
}
