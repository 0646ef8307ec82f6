/* What is left of a value in our memory after it was freed: nothing, wherever a copy may have been
 * made. Values that were refused leave nothing either. */
#include "lib_fixture.h"

#include "client/exec/environment.h"
#include "unit_test.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define MASK	 0xa5
#define LOOK_FOR 16

/* What must not be found, masked so that remembering it is no copy. */
struct remembered {
	unsigned char masked[LOOK_FOR];
	char path[256];
	int row;
};

static bool is_it(const volatile unsigned char *at, const struct remembered *one)
{
	for (size_t i = 0; i < LOOK_FOR; i++)
		if ((at[i] ^ MASK) != one->masked[i])
			return false;
	return true;
}

/* How often it is in what this process may write to. */
static unsigned count_in_memory(const struct remembered *one)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned count = 0;
	char line[512];

	ck_assert_ptr_nonnull(maps);
	while (fgets(line, sizeof line, maps)) {
		uintptr_t from, to;
		char rights[8];

		if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) != 3 ||
			memcmp(rights, "rw", 2) != 0)
			continue;
		for (const unsigned char *at = (const unsigned char *)from;
			at + LOOK_FOR <= (const unsigned char *)to; at++)
			count += (*at ^ MASK) == one->masked[0] && is_it(at, one);
	}
	fclose(maps);
	return count;
}

/* A file with LENGTH random bytes, of which no copy stays here. */
static void make_file(struct remembered *one, size_t length)
{
	unsigned char bytes[8192];
	int fd;

	ck_assert_uint_le(length, sizeof bytes);
	ck_assert_int_eq(getrandom(bytes, length, 0), (ssize_t)length);
	temporary_path(one->path, sizeof one->path, "memory");
	fd = mkostemp(one->path, O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	/* No NUL: an environment takes it. */
	for (size_t i = 0; i < length; i++)
		bytes[i] = bytes[i] ? bytes[i] : 1;
	for (size_t i = 0; i < LOOK_FOR; i++)
		one->masked[i] = bytes[i] ^ MASK;
	ck_assert_int_eq(write(fd, bytes, length), (ssize_t)length);
	(void)close(fd);
	explicit_bzero(bytes, sizeof bytes);
}

static void read_and_free(const struct remembered *one)
{
	struct mayfly_value *value;

	ck_assert_int_eq(
		mayfly_value_read(one->path, MAYFLY_ALLOW_UNLOCKED, &value, NULL), MAYFLY_OK);
	ck_assert_uint_eq(count_in_memory(one), 1);
	mayfly_value_free(value);
}

static void read_for_environment(const struct remembered *one)
{
	struct env_wish wish;
	struct env_entry entry = { 0 };
	struct mayfly_value *value;

	ck_assert_ptr_null(env_wish_parse("A=x", &wish));
	ck_assert_int_eq(
		mayfly_value_read(one->path, MAYFLY_ALLOW_UNLOCKED, &value, NULL), MAYFLY_OK);
	ck_assert_int_eq(env_entry_make(&wish, value, &entry, NULL), MAYFLY_OK);
	ck_assert_uint_eq(count_in_memory(one), 2);
	mayfly_value_free(value);
	env_entry_done(&entry);
}

static const char *changing_path;

static void change_file(void)
{
	ck_assert_int_eq(truncate(changing_path, 0), 0);
}

/* The file is emptied behind the last read(): the value is refused. */
static void read_and_be_refused(const struct remembered *one)
{
	struct mayfly_value *value = NULL;

	changing_path = one->path;
	faults.one_byte = true;
	faults.on_read = NULL;
	ck_assert_int_eq(
		mayfly_value_read(one->path, MAYFLY_ALLOW_UNLOCKED, &value, NULL), MAYFLY_OK);
	mayfly_value_free(value);
	faults.on_read = change_file;
	ck_assert_int_ne(
		mayfly_value_read(one->path, MAYFLY_ALLOW_UNLOCKED, &value, NULL), MAYFLY_OK);
	faults = (struct faults){ 0 };
}

static const struct {
	const char *reads_as;
	size_t length;
	void (*use)(const struct remembered *one);
} rows[] = {
	{ "a short value", 16, read_and_free },
	{ "a value of a page", 4096, read_and_free },
	{ "a long value", 8192, read_and_free },
	{ "a value for an environment", 32, read_for_environment },
	{ "a value that is refused", 32, read_and_be_refused },
};

static void *use_it(void *argument)
{
	const struct remembered *one = argument;

	rows[one->row].use(one);
	return NULL;
}

/* On a thread's stack nothing is written over what was left there. */
START_TEST(nothing_is_left)
{
	static struct remembered one;
	pthread_t thread;

	make_file(&one, rows[_i].length);
	one.row = _i;
	ck_assert_uint_eq(count_in_memory(&one), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, use_it, &one), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_msg(count_in_memory(&one) == 0, "%s", rows[_i].reads_as);
	(void)unlink(one.path);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, nothing_is_left, 0, sizeof rows / sizeof rows[0]);
}

int main(void)
{
	return unit_test_run("lib_value_memory", add);
}
