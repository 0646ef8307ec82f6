/* Values from files: whole or not at all, in locked memory or not at all. */
#include "lib_fixture.h"

#include "unit_test.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A directory of the test's own, where it stands while it runs. */
static char directory[256];

static void write_file(const char *name, const char *bytes, size_t length)
{
	const int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, length), (ssize_t)length);
	(void)close(fd);
}

static void write_text(const char *name, const char *text)
{
	write_file(name, text, strlen(text));
}

static void enter_directory(void)
{
	temporary_path(directory, sizeof directory, "value");
	ck_assert_ptr_nonnull(mkdtemp(directory));
	ck_assert_int_eq(chdir(directory), 0);
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *where)
{
	(void)status;
	(void)kind;
	(void)where;
	return remove(path);
}

static void leave_directory(void)
{
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0);
}

/* Makes GENERATION, a directory, what `..data` of "d" leads to. */
static void point_to(const char *generation)
{
	ck_assert_int_eq(symlink(generation, "d/..data_new"), 0);
	ck_assert_int_eq(rename("d/..data_new", "d/..data"), 0);
}

static void make_generations(void)
{
	ck_assert_int_eq(mkdir("d", 0755), 0);
	ck_assert_int_eq(mkdir("d/..1", 0755), 0);
	ck_assert_int_eq(mkdir("d/..1/keys", 0755), 0);
	ck_assert_int_eq(mkdir("d/..2", 0755), 0);
	write_text("d/..1/a", "first a");
	write_text("d/..1/keys/b", "first b");
	write_text("d/..2/a", "second a");
	point_to("..1");
	ck_assert_int_eq(symlink("..data/a", "d/a"), 0);
}

static void take_first_away(void)
{
	(void)unlink("d/..1/a");
	(void)unlink("d/..1/keys/b");
	(void)rmdir("d/..1/keys");
	(void)rmdir("d/..1");
}

static void expect_value(struct mayfly_value *value, const char *bytes, size_t length)
{
	ck_assert_uint_eq(mayfly_value_length(value), length);
	ck_assert_mem_eq(mayfly_value_bytes(value), bytes, length);
	ck_assert_int_eq(((const char *)mayfly_value_bytes(value))[length], 0);
	ck_assert(mayfly_value_is_locked(value));
	mayfly_value_free(value);
}

static void expect_text(const char *path, const char *text)
{
	struct mayfly_value *value;
	struct mayfly_failure failure = { 0 };

	ck_assert_msg(
		mayfly_value_read(path, 0, &value, &failure) == MAYFLY_OK, "%s", failure.text);
	expect_value(value, text, strlen(text));
}

static void expect_failure(const char *path, enum mayfly_status status, const char *says)
{
	struct mayfly_value *value = NULL;
	struct mayfly_failure failure = { 0 };

	ck_assert_int_eq(mayfly_value_read(path, 0, &value, &failure), status);
	ck_assert_ptr_null(value);
	ck_assert_int_eq(failure.status, status);
	ck_assert_msg(strstr(failure.text, says), "%s", failure.text);
	ck_assert_int_eq(mayfly_value_read(path, 0, &value, NULL), status);
}

START_TEST(a_value_is_read_whole)
{
	static char large[1024 * 1024];

	memset(large, 'x', sizeof large);
	write_text("one", "x");
	expect_text("one", "x");
	write_file("nul", "a\0b\n", 4);
	struct mayfly_value *value;
	ck_assert_int_eq(mayfly_value_read("nul", 0, &value, NULL), MAYFLY_OK);
	expect_value(value, "a\0b\n", 4);
	/* A whole page: the NUL behind it needs another. */
	write_file("page", large, 4096);
	ck_assert_int_eq(mayfly_value_read("page", 0, &value, NULL), MAYFLY_OK);
	expect_value(value, large, 4096);
	write_file("large", large, sizeof large);
	ck_assert_int_eq(mayfly_value_read("large", 0, &value, NULL), MAYFLY_OK);
	expect_value(value, large, sizeof large);
	faults = (struct faults){ .one_byte = true, .interrupts = true };
	expect_text("one", "x");
	ck_assert_int_eq(mayfly_value_read("page", 0, &value, NULL), MAYFLY_OK);
	expect_value(value, large, 4096);
}
END_TEST

START_TEST(what_is_no_value_is_refused)
{
	const int fd = open("long", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_int_eq(ftruncate(fd, 16 * 1024 * 1024 + 1), 0);
	(void)close(fd);
	ck_assert_int_eq(mkfifo("pipe", 0600), 0);
	ck_assert_int_eq(symlink("circle", "circle"), 0);
	write_text("empty", "");
	expect_failure("absent", MAYFLY_NO_FILE, "read 'absent': No such file");
	expect_failure("empty/below", MAYFLY_NO_FILE, "Not a directory");
	expect_failure("long", MAYFLY_NOT_READABLE, "16777217 bytes");
	expect_failure("pipe", MAYFLY_NOT_READABLE, "it is no file");
	expect_failure(".", MAYFLY_NOT_READABLE, "it is no file");
	expect_failure("/dev/zero", MAYFLY_NOT_READABLE, "it is no file");
	expect_failure("circle", MAYFLY_NOT_READABLE, "symbolic links");
	expect_failure("empty", MAYFLY_ENDED, "its delivery has ended");
	expect_failure("", MAYFLY_INVALID_ARGUMENT, "has a path");
	struct mayfly_value *value;
	ck_assert_int_eq(mayfly_value_read("empty", 2, &value, NULL), MAYFLY_INVALID_ARGUMENT);
	ck_assert_int_eq(mayfly_value_read(NULL, 0, &value, NULL), MAYFLY_INVALID_ARGUMENT);
}
END_TEST

START_TEST(memory_that_cannot_be_locked_is_refused_or_said)
{
	struct mayfly_value *value;
	struct mayfly_failure failure;

	write_text("a", "x");
	faults.no_lock = true;
	ck_assert_int_eq(mayfly_value_read("a", 0, &value, &failure), MAYFLY_NOT_LOCKED);
	ck_assert_int_eq(failure.system_error, ENOMEM);
	ck_assert_ptr_nonnull(strstr(failure.advice, "memlock"));
	ck_assert_int_eq(
		mayfly_value_read("a", MAYFLY_ALLOW_UNLOCKED, &value, &failure), MAYFLY_OK);
	ck_assert(!mayfly_value_is_locked(value));
	ck_assert_mem_eq(mayfly_value_bytes(value), "x", 2);
	mayfly_value_free(value);
}
END_TEST

/* The flags of the mapping that holds ADDRESS, as smaps has them. */
static void mapping_flags(const void *address, char flags[256])
{
	FILE *maps = fopen("/proc/self/smaps", "re");
	bool is_it = false;
	char line[512];

	ck_assert_ptr_nonnull(maps);
	flags[0] = '\0';
	while (fgets(line, sizeof line, maps)) {
		uintptr_t from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			is_it = (uintptr_t)address >= from && (uintptr_t)address < to;
		else if (is_it && strncmp(line, "VmFlags:", 8) == 0)
			(void)snprintf(flags, 256, "%.255s", line);
	}
	fclose(maps);
}

START_TEST(the_kernel_says_locked_and_not_dumped)
{
	struct mayfly_value *value;
	char flags[256];

	write_text("a", "x");
	ck_assert_int_eq(mayfly_value_read("a", 0, &value, NULL), MAYFLY_OK);
	mapping_flags(mayfly_value_bytes(value), flags);
#ifndef MAYFLY_SANITIZED
	/* A sanitizer's mlock() does nothing. */
	ck_assert_msg(strstr(flags, " lo"), "%s", flags);
#endif
	ck_assert_msg(strstr(flags, " dd"), "%s", flags);
	mayfly_value_free(value);
}
END_TEST

static unsigned unmapped, not_wiped;

static void look_at_unmapped(const void *bytes, size_t size)
{
	unmapped++;
	for (size_t i = 0; i < size; i++)
		not_wiped += ((const unsigned char *)bytes)[i] != 0;
}

START_TEST(memory_is_wiped_and_given_back)
{
	struct mayfly_value *value;

	write_text("a", "canary");
	faults.on_unmap = look_at_unmapped;
	ck_assert_int_eq(mayfly_value_read("a", 0, &value, NULL), MAYFLY_OK);
	ck_assert_uint_eq(unmapped, 0);
	mayfly_value_free(value);
	ck_assert_uint_eq(unmapped, 1);
	faults.no_lock = true;
	ck_assert_int_eq(mayfly_value_read("a", 0, &value, NULL), MAYFLY_NOT_LOCKED);
	faults = (struct faults){ 0 };
	ck_assert_uint_eq(unmapped, 2);
	ck_assert_uint_eq(not_wiped, 0);
}
END_TEST

static void truncate_once(void)
{
	faults.on_read = NULL;
	ck_assert_int_eq(truncate("d/..1/a", 3), 0);
}

static void overwrite(void)
{
	const int fd = open("d/..1/a", O_WRONLY | O_CLOEXEC);

	/* A time stamp is as fine as the kernel's tick, 10 ms at most. */
	(void)usleep(20000);
	ck_assert_int_eq(pwrite(fd, "\0\0\0\0\0\0\0", 7, 0), 7);
	(void)close(fd);
	faults.on_read = NULL;
}

static void rotate(void)
{
	faults.on_read = NULL;
	point_to("..2");
	take_first_away();
}

static const struct {
	const char *reads_as;
	void (*meanwhile)(void);
	enum mayfly_status status;
	const char *text;
} changes[] = {
	{ "truncated once", truncate_once, MAYFLY_OK, "fir" },
	{ "overwritten in place, again and again", overwrite, MAYFLY_ENDED, NULL },
	{ "rotated", rotate, MAYFLY_OK, "second a" },
};

static void overwrite_always(void)
{
	overwrite();
	faults.on_read = overwrite_always;
}

START_TEST(a_file_that_changes_while_it_is_read_is_never_half)
{
	struct mayfly_value *value = NULL;
	struct mayfly_failure failure = { 0 };
	enum mayfly_status status;

	make_generations();
	faults.on_read =
		changes[_i].meanwhile == overwrite ? overwrite_always : changes[_i].meanwhile;
	status = mayfly_value_read("d/a", 0, &value, &failure);
	faults = (struct faults){ 0 };
	ck_assert_msg(status == changes[_i].status, "%s: %s: %s", changes[_i].reads_as,
		mayfly_status_name(status), failure.text);
	/* What went wrong in between is nobody's concern. */
	ck_assert_int_eq(failure.status, status);
	if (status == MAYFLY_OK)
		expect_value(value, changes[_i].text, strlen(changes[_i].text));
	else
		ck_assert_ptr_null(value);
}
END_TEST

static void empty_it(void)
{
	ck_assert_int_eq(truncate("zeros", 0), 0);
}

/* The broker overwrites with zeros, then truncates: what is read in between is no value. */
START_TEST(zeros_that_vanish_are_no_value)
{
	struct mayfly_value *value = NULL;

	write_file("zeros", "\0\0\0\0", 4);
	ck_assert_int_eq(mayfly_value_read("zeros", 0, &value, NULL), MAYFLY_OK);
	expect_value(value, "\0\0\0\0", 4);
	value = NULL;
	faults.on_sleep = empty_it;
	ck_assert_int_eq(mayfly_value_read("zeros", 0, &value, NULL), MAYFLY_ENDED);
	ck_assert_ptr_null(value);
}
END_TEST

static struct mayfly_generation *open_generation(void)
{
	struct mayfly_generation *generation;
	struct mayfly_failure failure = { 0 };

	ck_assert_msg(mayfly_generation_open("d", &generation, &failure) == MAYFLY_OK, "%s",
		failure.text);
	return generation;
}

START_TEST(a_generation_stays_what_it_is)
{
	struct mayfly_generation *generation;
	struct mayfly_value *value = NULL;
	struct mayfly_failure failure;

	make_generations();
	generation = open_generation();
	ck_assert(mayfly_generation_is_atomic(generation));
	ck_assert_int_eq(mayfly_generation_read(generation, "a", 0, &value, NULL), MAYFLY_OK);
	expect_value(value, "first a", 7);
	point_to("..2");
	expect_text("d/a", "second a");
	ck_assert_int_eq(mayfly_generation_read(generation, "keys/b", 0, &value, NULL), MAYFLY_OK);
	expect_value(value, "first b", 7);
	ck_assert_int_eq(
		mayfly_generation_read(generation, "absent", 0, &value, NULL), MAYFLY_ENDED);
	take_first_away();
	ck_assert_int_eq(
		mayfly_generation_read(generation, "a", 0, &value, &failure), MAYFLY_ENDED);
	ck_assert_ptr_nonnull(strstr(failure.text, "replaced"));
	mayfly_generation_close(generation);
	generation = open_generation();
	ck_assert_int_eq(mayfly_generation_read(generation, "a", 0, &value, NULL), MAYFLY_OK);
	expect_value(value, "second a", 8);
	ck_assert_int_eq(
		mayfly_generation_read(generation, "absent", 0, &value, NULL), MAYFLY_NO_FILE);
	mayfly_generation_close(generation);
	mayfly_generation_close(NULL);
}
END_TEST

static const char *const outside[] = { "", "/a", "a/", "a//b", ".", "..", "./a", "a/.", "a/..",
	"../d/a", "keys/../a", NULL };

START_TEST(a_name_leads_nowhere_else)
{
	struct mayfly_generation *generation;
	struct mayfly_value *value = NULL;
	char too_long[300];

	make_generations();
	write_text("secret", "x");
	ck_assert_int_eq(symlink("../../secret", "d/..1/link"), 0);
	generation = open_generation();
	for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++)
		ck_assert_int_eq(mayfly_generation_read(generation, outside[i], 0, &value, NULL),
			MAYFLY_INVALID_ARGUMENT);
	memset(too_long, 'x', sizeof too_long);
	too_long[256] = '\0';
	ck_assert_int_eq(mayfly_generation_read(generation, too_long, 0, &value, NULL),
		MAYFLY_INVALID_ARGUMENT);
	ck_assert_int_eq(
		mayfly_generation_read(generation, "link", 0, &value, NULL), MAYFLY_NOT_READABLE);
	ck_assert_ptr_null(value);
	mayfly_generation_close(generation);
}
END_TEST

START_TEST(a_directory_without_generations_is_read_file_by_file)
{
	struct mayfly_generation *generation;
	struct mayfly_value *value;

	ck_assert_int_eq(mkdir("d", 0755), 0);
	write_text("d/a", "plain");
	generation = open_generation();
	ck_assert(!mayfly_generation_is_atomic(generation));
	ck_assert_int_eq(mayfly_generation_read(generation, "a", 0, &value, NULL), MAYFLY_OK);
	expect_value(value, "plain", 5);
	ck_assert_int_eq(mayfly_generation_read(generation, "b", 0, &value, NULL), MAYFLY_NO_FILE);
	mayfly_generation_close(generation);
	ck_assert_int_eq(mayfly_generation_open("absent", &generation, NULL), MAYFLY_NO_FILE);
	ck_assert_int_eq(mayfly_generation_open("d/a", &generation, NULL), MAYFLY_NO_FILE);
	ck_assert_int_eq(mayfly_generation_open("", &generation, NULL), MAYFLY_INVALID_ARGUMENT);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
	const unsigned before = open_descriptors();
	bool failed = true;
	long i;

	make_generations();
	for (i = 1; failed; i++) {
		struct mayfly_generation *generation = NULL;
		struct mayfly_value *value = NULL;
		enum mayfly_status status;

		faults.fail_allocation = i;
		faults.is_failed = false;
		status = mayfly_generation_open("d", &generation, NULL);
		if (status == MAYFLY_OK)
			status = mayfly_generation_read(generation, "a", 0, &value, NULL);
		failed = faults.is_failed;
		faults = (struct faults){ 0 };
		ck_assert_int_eq(status, failed ? MAYFLY_NO_MEMORY : MAYFLY_OK);
		mayfly_value_free(value);
		mayfly_generation_close(generation);
	}
	ck_assert_int_gt(i, 2);
	ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_checked_fixture(cases, enter_directory, leave_directory);
	tcase_add_test(cases, a_value_is_read_whole);
	tcase_add_test(cases, what_is_no_value_is_refused);
	tcase_add_test(cases, memory_that_cannot_be_locked_is_refused_or_said);
	tcase_add_test(cases, the_kernel_says_locked_and_not_dumped);
	tcase_add_test(cases, memory_is_wiped_and_given_back);
	tcase_add_loop_test(cases, a_file_that_changes_while_it_is_read_is_never_half, 0,
		sizeof changes / sizeof changes[0]);
	tcase_add_test(cases, zeros_that_vanish_are_no_value);
	tcase_add_test(cases, a_generation_stays_what_it_is);
	tcase_add_test(cases, a_name_leads_nowhere_else);
	tcase_add_test(cases, a_directory_without_generations_is_read_file_by_file);
	tcase_add_test(cases, every_allocation_may_fail);
}

int main(void)
{
	return unit_test_run("lib_value", add);
}
