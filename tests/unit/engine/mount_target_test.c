#include "daemon/engine/facts/mount_target.h"

#include "engine_fixture.h"
#include "unit_test.h"

#include <errno.h>
#include <limits.h>

static const struct {
	const char *reads_as;
	const char *path;
	int expect;
	const char *target;
} rows[] = {
	{ "a path that is there", "/run/secrets", 0, "run/secrets" },
	{ "a path that is not", "/not/there/yet", 0, "not/there/yet" },
	{ "slashes and dots are tidied", "//run/./secrets/", 0, "run/secrets" },
	{ "a relative link above", "/var/run/secrets", 0, "run/secrets" },
	{ "an absolute link above", "/absolute/secrets", 0, "run/secrets" },
	{ "a link at the end", "/run/link", 0, "srv/target" },
	{ "a link to what is not there", "/dangling/x", 0, "no/such/x" },
	{ "a chain of links", "/chain/x", 0, "run/x" },
	{ "dots that lead up", "/run/../srv", 0, "srv" },
	{ "dots that lead above the root", "/../../../srv", 0, "srv" },
	{ "a link that leads above the root", "/escape/x", 0, "etc/x" },
	{ "dots behind a link count from its target", "/var/run/../srv", 0, "srv" },
	{ "dots behind what is not there", "/not/there/../../run", 0, "run" },
	{ "the root itself", "/", 0, "" },
	{ "a link to the root", "/slash/run", 0, "run" },
	{ "a file as a directory", "/file/below", 0, "file/below" },
	{ "a link to itself", "/loop/x", -ELOOP, NULL },
	{ "two links to each other", "/ping/x", -ELOOP, NULL },
};

static void make_image(const struct fixture *fixture)
{
	fixture_parents(fixture, "run/secrets/");
	fixture_parents(fixture, "srv/target/");
	fixture_parents(fixture, "etc/");
	fixture_text(fixture, "file", "x");
	fixture_link(fixture, "var/run", "../run");
	fixture_link(fixture, "absolute", "/run");
	fixture_link(fixture, "run/link", "../srv/target");
	fixture_link(fixture, "dangling", "no/such");
	fixture_link(fixture, "chain", "chain2");
	fixture_link(fixture, "chain2", "/chain3/.");
	fixture_link(fixture, "chain3", "var/run/");
	fixture_link(fixture, "escape", "../../../../../../../etc");
	fixture_link(fixture, "slash", "/");
	fixture_link(fixture, "loop", "loop");
	fixture_link(fixture, "ping", "pong");
	fixture_link(fixture, "pong", "ping");
}

START_TEST(a_target_is_resolved)
{
	struct mayfly_error error = { 0 };
	char target[PATH_MAX] = "";
	struct fixture fixture;
	int r;

	fixture_open(&fixture);
	make_image(&fixture);
	r = mount_target_resolve(
		fixture.root, ROOT_ONE_MOUNT, rows[_i].path, target, sizeof target, &error);
	ck_assert_msg(r == rows[_i].expect, "%s: %d %s", rows[_i].reads_as, r, error.text);
	if (r == 0)
		ck_assert_msg(strcmp(target, rows[_i].target) == 0, "%s: '%s'", rows[_i].reads_as,
			target);
	fixture_close(&fixture);
}
END_TEST

START_TEST(without_a_root_a_path_is_only_made_tidy)
{
	char target[64];

	ck_assert_int_eq(mount_target_resolve(-1, ROOT_ONE_MOUNT, "/var/run/../x/./secrets", target,
				 sizeof target, NULL),
		0);
	ck_assert_str_eq(target, "var/x/secrets");
}
END_TEST

START_TEST(work_is_bounded)
{
	char target[PATH_MAX], deep[PATH_MAX], text[PATH_MAX];
	struct fixture fixture;

	fixture_open(&fixture);
	for (size_t i = 0; i + 2 < sizeof deep; i += 2)
		memcpy(deep + i, "/a", 3);
	ck_assert_int_eq(mount_target_resolve(
				 fixture.root, ROOT_ONE_MOUNT, deep, target, sizeof target, NULL),
		-ENAMETOOLONG);
	/* Each of 60 links doubles what is left to do. */
	for (int i = 0; i < 60; i++) {
		char name[16];

		(void)snprintf(name, sizeof name, "l%d", i);
		(void)snprintf(text, sizeof text, "l%d/l%d", i + 1, i + 1);
		fixture_link(&fixture, name, text);
	}
	ck_assert_int_eq(mount_target_resolve(
				 fixture.root, ROOT_ONE_MOUNT, "/l0", target, sizeof target, NULL),
		-ELOOP);
	memset(text, 'n', NAME_MAX + 1);
	text[NAME_MAX + 1] = '\0';
	ck_assert_int_eq(mount_target_resolve(
				 fixture.root, ROOT_ONE_MOUNT, text, target, sizeof target, NULL),
		-ENAMETOOLONG);
	ck_assert_int_eq(mount_target_resolve(
				 fixture.root, ROOT_ONE_MOUNT, "/run/secrets", target, 11, NULL),
		-ENAMETOOLONG);
	fixture_close(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_target_is_resolved, 0, sizeof rows / sizeof rows[0]);
	tcase_add_test(cases, without_a_root_a_path_is_only_made_tidy);
	tcase_add_test(cases, work_is_bounded);
}

int main(void)
{
	return unit_test_run("mount_target", add);
}
