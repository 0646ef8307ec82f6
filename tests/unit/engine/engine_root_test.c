#include "daemon/engine/facts/engine_root.h"

#include "engine_fixture.h"
#include "unit_test.h"

#include <errno.h>

static const struct {
	const char *reads_as;
	const char *path;
	int expect; /* 0: reads "inside" */
} rows[] = {
	{ "a file", "/etc/file", 0 },
	{ "a file without a slash in front", "etc/file", 0 },
	{ "dots that lead above the root", "/../../etc/file", 0 },
	{ "an absolute link", "/absolute", 0 },
	{ "a relative link that leads above the root", "/escape", 0 },
	{ "a directory link", "/linked/file", 0 },
	{ "a link to a process's root", "/magic/etc/file", -ENOENT },
	{ "no file", "/etc/none", -ENOENT },
	{ "a directory", "/etc", -EINVAL },
	{ "a FIFO", "/fifo", -EINVAL },
	{ "a link to a FIFO", "/to-fifo", -EINVAL },
	{ "a file of one byte too many", "/large", -EFBIG },
	{ "a loop", "/loop", -ELOOP },
	{ "an empty path", "", -ENOENT },
};

START_TEST(a_file_is_read_below_the_root)
{
	struct mayfly_error error = { 0 };
	struct file_bytes file = { 0 };
	struct fixture fixture;
	int r;

	fixture_open(&fixture);
	fixture_text(&fixture, "etc/file", "inside");
	fixture_text(&fixture, "large", "more than ten bytes");
	fixture_link(&fixture, "absolute", "/etc/file");
	fixture_link(&fixture, "escape", "../../../../../../etc/file");
	fixture_link(&fixture, "linked", "etc");
	fixture_link(&fixture, "magic", "/proc/self/root");
	fixture_link(&fixture, "loop", "loop");
	fixture_link(&fixture, "to-fifo", "fifo");
	ck_assert_int_eq(mkfifo(fixture_path(&fixture, "fifo"), 0600), 0);
	r = root_read_file(fixture.root, rows[_i].path, ROOT_ALL_MOUNTS, 10, &file, &error);
	ck_assert_msg(r == rows[_i].expect, "%s: %d %s", rows[_i].reads_as, r, error.text);
	if (r == 0)
		ck_assert_str_eq(file.bytes, "inside");
	file_bytes_done(&file);
	fixture_close(&fixture);
}
END_TEST

START_TEST(a_mark_changes_with_its_file)
{
	struct file_mark first, second;
	struct fixture fixture;

	fixture_open(&fixture);
	fixture_replace(&fixture, "file", "a");
	ck_assert_int_eq(root_mark(fixture.root, "/file", &first), 0);
	ck_assert_int_eq(root_mark(fixture.root, "/file", &second), 0);
	ck_assert(file_mark_equal(&first, &second));
	fixture_replace(&fixture, "other", "b");
	fixture_replace(&fixture, "file", "b");
	ck_assert_int_eq(root_mark(fixture.root, "/file", &second), 0);
	ck_assert(!file_mark_equal(&first, &second));
	fixture_close(&fixture);
}
END_TEST

START_TEST(descriptors_are_not_kept)
{
	struct file_bytes file = { 0 };
	struct fixture fixture;
	int before, after;

	fixture_open(&fixture);
	fixture_text(&fixture, "file", "inside");
	before = dup(0);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		(void)root_read_file(fixture.root, rows[i].path, ROOT_ONE_MOUNT, 10, &file, NULL);
		file_bytes_done(&file);
	}
	after = dup(0);
	ck_assert_int_eq(after, before + 1);
	fixture_close(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_file_is_read_below_the_root, 0, sizeof rows / sizeof rows[0]);
	tcase_add_test(cases, a_mark_changes_with_its_file);
	tcase_add_test(cases, descriptors_are_not_kept);
}

int main(void)
{
	return unit_test_run("engine_root", add);
}
