#include "daemon/engine/facts/user_lookup.h"

#include "engine_fixture.h"
#include "unit_test.h"

#include <errno.h>

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "\n"
			     "  app:x:1000:1001::/:\r\n"
			     "twice:x:1:1::/:\n"
			     "twice:x:2:2::/:\n"
			     "odd:x:abc:7::/:\n"
			     "short:x\n"
			     "77:x:78:79::/:\n"
			     "large:x:4294967296:0::/:\n"
			     "minus:x:-5:0::/:\n"
			     "last:x:5000:5001";
static const char group[] =
	"root:x:0:\nweb:x:2000:app\nfive:x:5:\n2001:x:2002:\nbad:x:99999999999999999999:\n";

static const struct {
	const char *reads_as;
	const char *text;
	int expect;
	uint32_t uid, gid;
} rows[] = {
	{ "no user is root", "", 0, 0, 0 },
	{ "a number without a line has group 0", "1234", 0, 1234, 0 },
	{ "a number with a line has its group", "1000", 0, 1000, 1001 },
	{ "two numbers are taken as they are", "1000:1000", 0, 1000, 1000 },
	{ "a name has its line's ids", "app", 0, 1000, 1001 },
	{ "a name and a group's name", "app:web", 0, 1000, 2000 },
	{ "a name and a number", "app:5", 0, 1000, 5 },
	{ "a number and a group's name", "42:web", 0, 42, 2000 },
	{ "no user and a group", ":web", 0, 0, 2000 },
	{ "a user and an empty group", "app:", 0, 1000, 1001 },
	{ "a third part is nothing", "app:web:x", 0, 1000, 2000 },
	{ "the first of two lines wins", "twice", 0, 1, 1 },
	{ "a line whose uid is no number is uid 0", "odd", 0, 0, 7 },
	{ "a line without ids is uid 0", "short", 0, 0, 0 },
	{ "a name of digits is a number", "77", 0, 77, 0 },
	{ "a group's name of digits is a number", "app:2001", 0, 1000, 2001 },
	{ "the last line needs no end", "last", 0, 5000, 5001 },
	{ "a sign is a number's", "+7", 0, 7, 0 },
	{ "the largest id", "2147483647", 0, 2147483647, 0 },
	{ "one more is none", "2147483648", -ERANGE, 0, 0 },
	{ "below zero is none", "-1", -ERANGE, 0, 0 },
	{ "what fits into no number is a name that nobody has", "99999999999999999999", -ENOENT, 0,
		0 },
	{ "a line with too large a uid is none", "large", -ERANGE, 0, 0 },
	{ "a line with a negative uid is none", "minus", -ERANGE, 0, 0 },
	{ "a group with too large a gid is none", "app:bad", -ERANGE, 0, 0 },
	{ "an unknown user", "nobody", -ENOENT, 0, 0 },
	{ "an unknown group", "app:nobody", -ENOENT, 0, 0 },
	{ "a name with a space in front is another one", " app", -ENOENT, 0, 0 },
};

START_TEST(a_user_is_looked_up)
{
	struct mayfly_error error = { 0 };
	struct fixture fixture;
	struct user_ids ids = { 0 };
	int r;

	fixture_open(&fixture);
	fixture_text(&fixture, "etc/passwd", passwd);
	fixture_text(&fixture, "etc/group", group);
	r = user_lookup(fixture.root, rows[_i].text, &ids, &error);
	ck_assert_msg(r == rows[_i].expect && ids.uid == rows[_i].uid && ids.gid == rows[_i].gid,
		"%s: %d, %u:%u %s", rows[_i].reads_as, r, ids.uid, ids.gid, error.text);
	fixture_close(&fixture);
}
END_TEST

static const struct {
	const char *reads_as;
	const char *text;
	int without_files; /* an image that has none */
	int out_of_reach;  /* its root cannot be read */
} bare[] = {
	{ "no user", "", 0, 0 },
	{ "a number", "1000", 0, -EUNATCH },
	{ "two numbers", "1000:7", 0, 0 },
	{ "a name", "app", -ENOENT, -EUNATCH },
	{ "a number and a group's name", "1000:web", -ENOENT, -EUNATCH },
};

START_TEST(a_user_without_files_is)
{
	struct fixture fixture;
	struct user_ids ids;

	fixture_open(&fixture);
	ck_assert_msg(
		user_lookup(fixture.root, bare[_i].text, &ids, NULL) == bare[_i].without_files,
		"%s", bare[_i].reads_as);
	ck_assert_msg(user_lookup(-1, bare[_i].text, &ids, NULL) == bare[_i].out_of_reach, "%s",
		bare[_i].reads_as);
	fixture_close(&fixture);
}
END_TEST

static void make_fifo(const struct fixture *fixture)
{
	fixture_parents(fixture, "etc/passwd");
	ck_assert_int_eq(mkfifo(fixture_path(fixture, "etc/passwd"), 0644), 0);
}

static void make_directory(const struct fixture *fixture)
{
	fixture_parents(fixture, "etc/passwd/");
}

static void make_large(const struct fixture *fixture)
{
	fixture_text(fixture, "etc/passwd", passwd);
	ck_assert_int_eq(truncate(fixture_path(fixture, "etc/passwd"), USER_FILE_MAX_BYTES + 1), 0);
}

static void make_long_line(const struct fixture *fixture)
{
	char *text = malloc(USER_LINE_MAX_BYTES + 64);

	memset(text, 'x', USER_LINE_MAX_BYTES);
	memcpy(text + USER_LINE_MAX_BYTES, "\napp:x:1:1\n", 12);
	fixture_text(fixture, "etc/passwd", text);
	free(text);
}

static void make_link_inside(const struct fixture *fixture)
{
	fixture_text(fixture, "usr/share/passwd", passwd);
	fixture_link(fixture, "etc/passwd", "/usr/share/passwd");
}

static void make_link_outside(const struct fixture *fixture)
{
	fixture_link(fixture, "etc/passwd", "../../../../../../../../etc/passwd");
}

/* A device that acts when it is opened must not be: the kernel's list of open files would show it.
 */
static void make_device(const struct fixture *fixture)
{
	fixture_parents(fixture, "etc/passwd");
	if (mknod(fixture_path(fixture, "etc/passwd"), S_IFCHR | 0644, 10 << 8 | 130) != 0)
		make_fifo(fixture);
}

static const struct {
	const char *reads_as;
	void (*make)(const struct fixture *fixture);
	int expect;
} files[] = {
	{ "a FIFO is refused at once", make_fifo, -EINVAL },
	{ "a device is refused without being opened", make_device, -EINVAL },
	{ "a directory is refused", make_directory, -EINVAL },
	{ "a large file is refused", make_large, -EFBIG },
	{ "a line that the runtime cannot read is refused", make_long_line, -EFBIG },
	{ "a link inside the root is followed", make_link_inside, 0 },
	{ "a link out of the root stays in it", make_link_outside, -ELOOP },
};

START_TEST(a_passwd_file_that_is)
{
	struct mayfly_error error = { 0 };
	struct fixture fixture;
	struct user_ids ids;
	int r;

	fixture_open(&fixture);
	files[_i].make(&fixture);
	r = user_lookup(fixture.root, "app", &ids, &error);
	ck_assert_msg(r == files[_i].expect, "%s: %d %s", files[_i].reads_as, r, error.text);
	fixture_close(&fixture);
}
END_TEST

START_TEST(an_error_shows_no_raw_bytes)
{
	struct mayfly_error error = { 0 };
	struct fixture fixture;
	struct user_ids ids;

	fixture_open(&fixture);
	ck_assert_int_eq(user_lookup(fixture.root, "a\033[2J'b", &ids, &error), -ENOENT);
	ck_assert_str_eq(error.text, "no user 'a?[2J?b' in the container's /etc/passwd");
	fixture_close(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_user_is_looked_up, 0, sizeof rows / sizeof rows[0]);
	tcase_add_loop_test(cases, a_user_without_files_is, 0, sizeof bare / sizeof bare[0]);
	tcase_add_loop_test(cases, a_passwd_file_that_is, 0, sizeof files / sizeof files[0]);
	tcase_add_test(cases, an_error_shows_no_raw_bytes);
}

int main(void)
{
	return unit_test_run("user_lookup", add);
}
