#include "daemon/mounter/kernel/mount_table.h"

#include "daemon/mounter/kernel/kernel_calls.h"
#include "proto/cleanup.h"
#include "unit_test.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A /proc of the test's own with one table, PID's; an empty TEXT: without one. */
static int proc_with(const char *path, pid_t pid, const char *text)
{
	char name[64];
	AUTO_FD directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO_FD file = -1;

	(void)snprintf(name, sizeof name, "%d", pid);
	(void)mkdirat(directory, name, 0700);
	(void)snprintf(name, sizeof name, "%d/mountinfo", pid);
	(void)unlinkat(directory, name, 0);
	if (text[0]) {
		file = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
		ck_assert_int_eq(write(file, text, strlen(text)), (ssize_t)strlen(text));
	}
	return fd_take(&directory);
}

static void remove_proc(const char *path)
{
	char command[96];

	(void)snprintf(command, sizeof command, "rm -rf %s", path);
	ck_assert_int_eq(system(command), 0);
}

#define ROOT "21 1 8:1 / / rw,relatime - overlay overlay rw\n"

static const struct {
	const char *reads_as;
	const char *table;
	bool has_writable_cgroup, root_is_read_only;
} rows[] = {
	{ "a container as engines make it",
		ROOT "30 21 0:27 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n", false, false },
	{ "a writable cgroup file system of version 2",
		ROOT "30 21 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup rw\n", true, false },
	{ "and of version 1", ROOT "30 21 0:27 / /x rw - cgroup cgroup rw,pids\n", true, false },
	{ "read-only by its mount and not only by its file system",
		ROOT "30 21 0:27 / /x rw - cgroup2 cgroup ro\n", true, false },
	{ "one of two is enough",
		ROOT "30 21 0:27 / /a ro - cgroup2 c rw\n"
		     "31 21 0:27 / /b rw - cgroup2 c rw\n",
		true, false },
	{ "with optional fields before the type",
		ROOT "30 21 0:27 / /x rw shared:7 master:3 - cgroup2 cgroup rw\n", true, false },
	{ "options that only begin like read-only", ROOT "30 21 0:27 / /x rox - cgroup2 c rw\n",
		true, false },
	{ "a mount point that is called like the type",
		ROOT "30 21 0:27 / /cgroup2 rw - tmpfs - cgroup2\n", false, false },
	{ "a blank in a path is escaped and moves no word",
		ROOT "30 21 0:27 / /a\\040rw\\040-\\040cgroup2 ro - cgroup2 c rw\n", false, false },
	{ "a read-only root", "21 1 8:1 / / ro,relatime - overlay overlay rw\n", false, true },
	{ "what is mounted last on the root counts",
		"21 1 8:1 / / ro - overlay o rw\n22 1 8:1 / / rw - overlay o rw\n", false, false },
	{ "a mount below the root is not the root", ROOT "22 21 8:1 / /etc ro - ext4 e rw\n", false,
		false },
	{ "lines that are no mounts are none", "\n \n- - -\n21\n", false, false },
	{ "without an end of line", "30 21 0:27 / /x rw - cgroup2 cgroup rw", true, false },
	{ "no table at all is the worst", "", true, false },
};

START_TEST(a_table)
{
	char path[] = "/tmp/mayfly-mount-table-XXXXXX";
	struct mount_table_facts facts;
	AUTO_FD proc = -1;

	ck_assert_ptr_nonnull(mkdtemp(path));
	proc = proc_with(path, 7, rows[_i].table);
	facts = mount_table_look(proc, 7);
	ck_assert_msg(
		facts.has_writable_cgroup == rows[_i].has_writable_cgroup, "%s", rows[_i].reads_as);
	ck_assert_msg(
		facts.root_is_read_only == rows[_i].root_is_read_only, "%s", rows[_i].reads_as);
	remove_proc(path);
}
END_TEST

START_TEST(one_that_is_too_large_is_the_worst)
{
	char path[] = "/tmp/mayfly-mount-table-XXXXXX";
	char *text = calloc(1, MOUNT_TABLE_MAX_BYTES + 2);
	AUTO_FD proc = -1;

	ck_assert_ptr_nonnull(mkdtemp(path));
	memset(text, '\n', MOUNT_TABLE_MAX_BYTES - 1);
	proc = proc_with(path, 7, text);
	ck_assert(!mount_table_look(proc, 7).has_writable_cgroup);
	text[MOUNT_TABLE_MAX_BYTES - 1] = '\n';
	(void)close(fd_take(&proc));
	proc = proc_with(path, 7, text);
	ck_assert(mount_table_look(proc, 7).has_writable_cgroup);
	free(text);
	remove_proc(path);
}
END_TEST

/* FORMAT gets the id of the mount that the test's directory is on. */
static const struct {
	const char *reads_as;
	const char *format;
	bool is_shared;
} propagations[] = {
	{ "a private mount", "%llu 1 8:1 / / rw - overlay o rw\n", false },
	{ "a shared one", "%llu 1 8:1 / / rw shared:3 - overlay o rw\n", true },
	{ "a slave gets and gives nothing", "%llu 1 8:1 / / rw master:3 - overlay o rw\n", false },
	{ "a slave that is shared too", "%llu 1 8:1 / / rw master:3 shared:4 - overlay o rw\n",
		true },
	{ "another mount's line is another's",
		"%llu 1 8:1 / / rw - overlay o rw\n1 1 8:1 / / rw shared:3 - x x rw\n", false },
	{ "options are no optional fields", "%llu 1 8:1 / / shared:1 - overlay o shared:3\n",
		false },
	{ "one that is not in the table", "1%llu 1 8:1 / / rw - overlay o rw\n", true },
	{ "more fields than there are kinds of",
		"%llu 1 8:1 / / rw a b c d e f g h i j k l - x x rw\n", true },
	{ "no table at all", "", true },
};

START_TEST(a_propagation)
{
	char path[] = "/tmp/mayfly-mount-table-XXXXXX", text[256] = "";
	uint64_t id = 0;
	AUTO_FD proc = -1;

	ck_assert_ptr_nonnull(mkdtemp(path));
	proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	ck_assert_int_eq(mount_id_reusable(proc, &id), 0);
	(void)close(fd_take(&proc));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	if (propagations[_i].format[0])
		(void)snprintf(text, sizeof text, propagations[_i].format, (unsigned long long)id);
#pragma GCC diagnostic pop
	proc = proc_with(path, getpid(), text);
	ck_assert_msg(mount_table_is_shared(proc, proc) == propagations[_i].is_shared, "%s",
		propagations[_i].reads_as);
	remove_proc(path);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_table, 0, sizeof rows / sizeof rows[0]);
	tcase_add_test(cases, one_that_is_too_large_is_the_worst);
	tcase_add_loop_test(cases, a_propagation, 0, sizeof propagations / sizeof propagations[0]);
}

int main(void)
{
	return unit_test_run("mount_table", add);
}
