/* Disks that are full or read-only. Needs mounts of its own: root, or a user namespace. */
#include "store_fixture.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

static bool may_mount(void)
{
	return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* A tmpfs of SIZE over the fixture's directory, and a store in it. */
static void begin_on_tmpfs(struct fixture *f, const char *options)
{
	struct secret audit_key;
	struct store_init_args args;

	fixture_begin(f, NULL);
	ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
	ck_assert_int_eq(mount("test", f->directory, "tmpfs", 0, options), 0);
	fixture_open(f);
	audit_key = secret_of(f, "0123456789abcdef0123456789abcdef", 32);
	args = (struct store_init_args){ .host_key = &f->host_key, .audit_key = &audit_key };
	MUST(store_init(f->store, &args, &f->recovery_text, err));
	secret_done(&audit_key);
}

static void end_on_tmpfs(struct fixture *f)
{
	fixture_close(f);
	ck_assert_int_eq(umount2(f->directory, MNT_DETACH), 0);
	fixture_end(f);
}

static void remount(const struct fixture *f, unsigned long flags)
{
	ck_assert_int_eq(mount(NULL, f->directory, NULL, MS_REMOUNT | flags, NULL), 0);
}

static void name_of(char name[64], unsigned number)
{
	snprintf(name, 64, "prod/n%u", number);
}

/* Puts values of 16 KiB until one is refused. Returns how many were taken. */
static unsigned fill(struct fixture *f, int *ret_refusal)
{
	static char value[16 * 1024];
	char name[64];

	memset(value, 'v', sizeof value - 1);
	for (unsigned number = 0;; number++) {
		name_of(name, number);
		*ret_refusal = put_text(f, name, value, false);
		if (*ret_refusal != 0)
			return number;
	}
}

START_TEST(a_full_disk_loses_nothing)
{
	static const char ballast_bytes[64 * 1024];
	struct bytes ballast = { (unsigned char *)ballast_bytes, sizeof ballast_bytes };
	const struct secret_reference first = reference_of("prod/n0");
	struct fixture f;
	unsigned taken;
	uint32_t number;
	char name[64];
	int refusal;

	begin_on_tmpfs(&f, "size=2m");
	bytes_write(fixture_path(&f, "ballast"), &ballast);
	taken = fill(&f, &refusal);
	ck_assert_uint_gt(taken, 10);
	ck_assert_int_eq(refusal, -ENOSPC);
	/* A small value may still have had room. */
	for (number = 0; put_text(&f, "prod/small", (name_of(name, number), name), true) == 0;)
		number++;
	ck_assert_int_eq(put_text(&f, "prod/again", "x", false), -ENOSPC);
	for (unsigned i = 0; i < taken; i++) {
		const struct secret_reference reference = reference_of((name_of(name, i), name));
		AUTO_SECRET value = { 0 };

		MUST(store_get(f.store, &reference, VERSION_CURRENT, &value, NULL, err));
		ck_assert_uint_eq(value.length, 16 * 1024 - 1);
	}
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	ck_assert_int_eq(unlink(fixture_path(&f, "ballast")), 0);
	ck_assert_int_eq(put_text(&f, "prod/again", "x", false), 0);
	MUST(store_remove(f.store, &first, true, &number, err));
	fixture_reopen_unlocked(&f);
	ck_assert_int_eq(get_text(&f, "prod/again", VERSION_CURRENT, "x"), 0);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	end_on_tmpfs(&f);
}
END_TEST

START_TEST(a_full_disk_makes_no_half_store)
{
	static const char ballast_bytes[16 * 1024];
	struct bytes ballast = { (unsigned char *)ballast_bytes, sizeof ballast_bytes };
	struct store_init_args args;
	AUTO_SECRET audit_key = { 0 };
	struct fixture f;

	fixture_begin(&f, NULL);
	ck_assert_int_eq(unshare(CLONE_NEWNS), 0);
	ck_assert_int_eq(mount("test", f.directory, "tmpfs", 0, "size=32k"), 0);
	bytes_write(fixture_path(&f, "ballast"), &ballast);
	fixture_open(&f);
	audit_key = secret_of_text(&f, "audit");
	args = (struct store_init_args){ .host_key = &f.host_key, .audit_key = &audit_key };
	ck_assert_int_eq(store_init(f.store, &args, &f.recovery_text, NULL), -ENOSPC);
	ck_assert_int_eq(store_state(f.store, NULL), STORE_UNINITIALISED);
	ck_assert_int_ne(access(fixture_path(&f, "store.db"), F_OK), 0);
	ck_assert_int_ne(access(fixture_path(&f, "store.db.new"), F_OK), 0);
	secret_done(&audit_key);
	end_on_tmpfs(&f);
}
END_TEST

/* Opened for reading; nothing can be changed. */
static void assert_readable(struct fixture *f, const char *what)
{
	const char *detail = NULL;

	fixture_open(f);
	ck_assert_msg(store_state(f->store, &detail) == STORE_LOCKED, "%s: %s", what, detail);
	ck_assert_msg(
		detail && strstr(detail, "is read-only"), "%s: '%s'", what, detail ? detail : "");
	MUST(store_unlock(f->store, SLOT_HOST_KEY, &f->host_key, err));
	ck_assert_int_eq(get_text(f, "prod/a", VERSION_CURRENT, "one"), 0);
	ck_assert_int_eq(get_text(f, "prod/b", VERSION_CURRENT, "two"), 0);
	ck_assert_int_eq(put_text(f, "prod/c", "three", false), -EROFS);
	ck_assert_int_eq(put_text(f, "prod/a", "one", false), 0);
	MUST(store_verify(f->store, &(uint64_t){ 0 }, err));
	fixture_close(f);
}

START_TEST(a_read_only_disk_is_read)
{
	struct fixture f;

	begin_on_tmpfs(&f, "size=4m");
	ck_assert_int_eq(put_text(&f, "prod/a", "one", false), 0);
	ck_assert_int_eq(put_text(&f, "prod/b", "two", false), 0);
	fixture_close(&f);
	ck_assert_int_ne(access(fixture_path(&f, "store.db-wal"), F_OK), 0);
	remount(&f, MS_RDONLY);
	assert_readable(&f, "a read-only disk");
	remount(&f, 0);
	fixture_open(&f);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	ck_assert_int_eq(put_text(&f, "prod/c", "three", false), 0);
	end_on_tmpfs(&f);
}
END_TEST

START_TEST(a_read_only_bind_mount_is_read)
{
	struct fixture f;

	begin_on_tmpfs(&f, "size=4m");
	ck_assert_int_eq(put_text(&f, "prod/a", "one", false), 0);
	ck_assert_int_eq(put_text(&f, "prod/b", "two", false), 0);
	fixture_close(&f);
	ck_assert_int_eq(mount(f.directory, f.directory, NULL, MS_BIND, NULL), 0);
	remount(&f, MS_BIND | MS_RDONLY);
	assert_readable(&f, "a read-only bind mount");
	ck_assert_int_eq(umount2(f.directory, MNT_DETACH), 0);
	end_on_tmpfs(&f);
}
END_TEST

/* The host comes up read-only after a crash: the newest values stand in the log. */
START_TEST(the_log_is_read_on_a_read_only_disk)
{
	unsigned char host_key[HOST_KEY_BYTES];
	struct fixture f;
	int status;

	begin_on_tmpfs(&f, "size=4m");
	ck_assert_int_eq(put_text(&f, "prod/a", "one", false), 0);
	fixture_close(&f);
	memcpy(host_key, f.host_key.bytes, sizeof host_key);
	if (fork() == 0) {
		struct fixture mine = f;

		if (arena_new((size_t)4 * 1024 * 1024, &mine.arena, NULL) < 0)
			_exit(2);
		mine.host_key = secret_of(&mine, host_key, sizeof host_key);
		fixture_open(&mine);
		MUST(store_unlock(mine.store, SLOT_HOST_KEY, &mine.host_key, err));
		_exit(put_text(&mine, "prod/b", "two", false) == 0 ? 0 : 3);
	}
	ck_assert_int_gt(wait(&status), 0);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(access(fixture_path(&f, "store.db-wal"), F_OK), 0);
	remount(&f, MS_RDONLY);
	assert_readable(&f, "a read-only disk with a log");
	ck_assert_int_eq(access(fixture_path(&f, "store.db-wal"), F_OK), 0);
	remount(&f, 0);
	fixture_open(&f);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	ck_assert_int_eq(get_text(&f, "prod/b", VERSION_CURRENT, "two"), 0);
	end_on_tmpfs(&f);
}
END_TEST

START_TEST(a_file_that_may_not_be_written_is_read)
{
	struct fixture f;
	int status;

	begin_on_tmpfs(&f, "size=4m,mode=0755");
	ck_assert_int_eq(put_text(&f, "prod/a", "one", false), 0);
	ck_assert_int_eq(put_text(&f, "prod/b", "two", false), 0);
	fixture_close(&f);
	ck_assert_int_eq(chmod(fixture_path(&f, "store.db"), 0444), 0);
	if (fork() == 0) {
		unsigned char host_key[HOST_KEY_BYTES] = { 0 };
		struct fixture mine = f;

		/* The arena is zero here, and so is the key: the store opens, and stays locked. */
		if (arena_new((size_t)4 * 1024 * 1024, &mine.arena, NULL) < 0 ||
			setresuid(65534, 65534, 65534) != 0)
			_exit(2);
		mine.host_key = secret_of(&mine, host_key, sizeof host_key);
		fixture_open(&mine);
		_exit(store_state(mine.store, NULL) == STORE_LOCKED ? 0 : 3);
	}
	ck_assert_int_gt(wait(&status), 0);
	ck_assert_int_eq(status, 0);
	end_on_tmpfs(&f);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, a_full_disk_loses_nothing);
	tcase_add_test(cases, a_full_disk_makes_no_half_store);
	tcase_add_test(cases, a_read_only_disk_is_read);
	tcase_add_test(cases, a_read_only_bind_mount_is_read);
	tcase_add_test(cases, the_log_is_read_on_a_read_only_disk);
	tcase_add_test(cases, a_file_that_may_not_be_written_is_read);
}

int main(void)
{
	if (!may_mount()) {
		const char *must_run = getenv("MAYFLY_TESTS_MUST_RUN");

		printf("1..0 # SKIP needs CAP_SYS_ADMIN for mounts: %s\n", strerror(errno));
		return must_run && strcmp(must_run, "1") == 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	return unit_test_run("store_disk", add);
}
