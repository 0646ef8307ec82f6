#include "proto/secret.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define SIZE ((size_t)64 * 4096)

static struct arena *new_arena(void)
{
	struct arena *arena = NULL;
	struct mayfly_error err = { 0 };

	ck_assert_msg(arena_new(SIZE, &arena, &err) == 0, "%s", err.text);
	return arena;
}

static int sealed_memfd(const void *bytes, size_t length, int seals)
{
	const int fd = memfd_create("value", MFD_ALLOW_SEALING | MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, length), (ssize_t)length);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

START_TEST(a_secret_is_zeroed_and_returned_pages_are_empty)
{
	struct arena *arena = new_arena();
	struct secret secret;
	unsigned char *where;

	ck_assert_int_eq(secret_new(arena, 5000, &secret, NULL), 0);
	ck_assert_uint_eq(arena_used_bytes(arena), 8192);
	where = secret.bytes;
	memset(where, 'x', 5000);
	secret_done(&secret);
	ck_assert_ptr_null(secret.bytes);
	ck_assert_uint_eq(arena_used_bytes(arena), 0);
	for (size_t i = 0; i < 5000; i++)
		ck_assert_int_eq(where[i], 0);
	arena_free(arena);
}
END_TEST

START_TEST(a_full_arena_refuses_and_recovers)
{
	struct arena *arena = new_arena();
	struct secret all, one;

	ck_assert_int_eq(secret_new(arena, SIZE, &all, NULL), 0);
	ck_assert_int_eq(secret_new(arena, 1, &one, NULL), -ENOMEM);
	ck_assert_int_eq(secret_new(arena, SIZE + 1, &one, NULL), -ENOMEM);
	secret_done(&all);
	ck_assert_int_eq(secret_new(arena, 1, &one, NULL), 0);
	secret_done(&one);
	arena_free(arena);
}
END_TEST

START_TEST(holes_between_secrets_are_used_again)
{
	struct arena *arena = new_arena();
	struct secret secrets[64], big;

	for (size_t i = 0; i < 64; i++)
		ck_assert_int_eq(secret_new(arena, 100, &secrets[i], NULL), 0);
	for (size_t i = 10; i < 13; i++)
		secret_done(&secrets[i]);
	ck_assert_int_eq(secret_new(arena, 4 * 4096, &big, NULL), -ENOMEM);
	ck_assert_int_eq(secret_new(arena, 3 * 4096, &big, NULL), 0);
	arena_free(arena);
}
END_TEST

START_TEST(shortening_wipes_the_rest_and_returns_pages)
{
	struct arena *arena = new_arena();
	struct secret secret;

	ck_assert_int_eq(secret_new(arena, 9000, &secret, NULL), 0);
	memset(secret.bytes, 'x', 9000);
	secret_shorten(&secret, 4097);
	ck_assert_uint_eq(secret.length, 4097);
	ck_assert_uint_eq(arena_used_bytes(arena), 8192);
	ck_assert_int_eq(secret.bytes[4096], 'x');
	ck_assert_int_eq(secret.bytes[4097], 0);
	secret_shorten(&secret, 0);
	ck_assert_uint_eq(arena_used_bytes(arena), 0);
	secret_done(&secret);
	arena_free(arena);
}
END_TEST

START_TEST(a_forked_child_sees_zeros)
{
	struct arena *arena = new_arena();
	struct secret secret;
	int status;
	pid_t child;

	ck_assert_int_eq(secret_new(arena, 16, &secret, NULL), 0);
	memset(secret.bytes, 'x', 16);
	child = fork();
	if (child == 0)
		_exit(secret.bytes[0] == 0 ? 0 : 1);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	secret_done(&secret);
	arena_free(arena);
}
END_TEST

START_TEST(the_pages_are_locked)
{
	struct arena *arena = new_arena();
	struct secret secret;
	char line[256];
	unsigned long locked_kib = 0;
	FILE *status = fopen("/proc/self/status", "re");

	ck_assert_int_eq(secret_new(arena, 16, &secret, NULL), 0);
	ck_assert_ptr_nonnull(status);
	while (fgets(line, sizeof line, status))
		if (sscanf(line, "VmLck: %lu", &locked_kib) == 1)
			break;
	fclose(status);
	ck_assert_uint_ge(locked_kib, SIZE / 1024);
	secret_done(&secret);
	arena_free(arena);
}
END_TEST

START_TEST(a_sealed_memfd_is_read_whole)
{
	struct arena *arena = new_arena();
	AUTO_FD fd = sealed_memfd("a\0b", 3, F_SEAL_SHRINK | F_SEAL_WRITE);
	struct secret secret;

	ck_assert_int_eq(secret_read_memfd(arena, fd, 3, &secret, NULL), 0);
	ck_assert_uint_eq(secret.length, 3);
	ck_assert_mem_eq(secret.bytes, "a\0b", 3);
	secret_done(&secret);
	arena_free(arena);
}
END_TEST

START_TEST(what_its_sender_can_still_change_is_refused)
{
	struct arena *arena = new_arena();
	AUTO_FD writable = sealed_memfd("abc", 3, F_SEAL_SHRINK);
	AUTO_FD shrinkable = sealed_memfd("abc", 3, F_SEAL_WRITE);
	AUTO_FD large = sealed_memfd("abcd", 4, F_SEAL_SHRINK | F_SEAL_WRITE);
	AUTO_FD file = open("/etc/passwd", O_RDONLY | O_CLOEXEC);
	struct secret secret;

	ck_assert_int_eq(secret_read_memfd(arena, writable, 3, &secret, NULL), -EINVAL);
	ck_assert_int_eq(secret_read_memfd(arena, shrinkable, 3, &secret, NULL), -EINVAL);
	ck_assert_int_eq(secret_read_memfd(arena, large, 3, &secret, NULL), -EFBIG);
	ck_assert_int_eq(secret_read_memfd(arena, file, 1 << 20, &secret, NULL), -EINVAL);
	arena_free(arena);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, a_secret_is_zeroed_and_returned_pages_are_empty);
	tcase_add_test(cases, a_full_arena_refuses_and_recovers);
	tcase_add_test(cases, holes_between_secrets_are_used_again);
	tcase_add_test(cases, shortening_wipes_the_rest_and_returns_pages);
	tcase_add_test(cases, a_forked_child_sees_zeros);
	tcase_add_test(cases, the_pages_are_locked);
	tcase_add_test(cases, a_sealed_memfd_is_read_whole);
	tcase_add_test(cases, what_its_sender_can_still_change_is_refused);
}

int main(void)
{
	return unit_test_run("secret", add);
}
