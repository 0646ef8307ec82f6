#include "daemon/broker/backup/backup.h"
#include "daemon/broker/store/store_internal.h"
#include "proto/cleanup.h"
#include "proto/recovery_text.h"
#include "store_fixture.h"
#include "unit_test.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

static struct fixture f, g;

struct making {
	struct backup_writer *writer;
	struct backup_counts counts;
	unsigned damaged;
	void (*meanwhile)(void); /* at the first secret */
};

static int on_secret(void *data, const struct backup_secret *secret, struct mayfly_error *err)
{
	struct making *making = data;

	if (making->meanwhile && making->counts.secrets == 0)
		making->meanwhile();
	return backup_write_secret(making->writer, &making->counts, secret, err);
}

static int on_version(void *data, const struct backup_version *version, const struct secret *value,
	struct mayfly_error *err)
{
	struct making *making = data;

	return backup_write_version(making->writer, &making->counts, version, value, err);
}

static void on_damaged(void *data, const char *what)
{
	ck_assert(what[0]);
	((struct making *)data)->damaged++;
}

/* A backup of F's store in FD; the export's result. */
static int back_up(int fd, struct making *making, struct mayfly_error *ret_error)
{
	MAYFLY_CLEANUP(backup_writer_free_p) struct backup_writer *writer = NULL;
	const struct store_export export = { on_secret, on_version, on_damaged, making };
	const struct backup_info info = { .made_unix_s = 1, .host = "here" };
	AUTO_SECRET key = { 0 }, secret_key = { 0 }, audit_key = secret_of_text(&f, "audit");
	unsigned char public_key[BACKUP_KEY_BYTES];
	int r;

	MUST(recovery_text_read(&f.recovery_text, &key, err));
	MUST(backup_key_derive(&key, public_key, &secret_key, err));
	MUST(backup_writer_new(f.arena, fd, public_key, &writer, err));
	making->writer = writer;
	MUST(backup_write_info(writer, &info, err));
	MUST(backup_write_audit_key(writer, &audit_key, err));
	r = store_export(f.store, &export, ret_error);
	if (r == 0)
		MUST(backup_write_end(writer, &making->counts, err));
	return r;
}

/* G gets the store of the backup in FD. */
static int restore(int fd, struct mayfly_error *err)
{
	AUTO_SECRET text = secret_of(&g, f.recovery_text.bytes, f.recovery_text.length);
	AUTO_SECRET audit_key = secret_of_text(&g, "another audit key");
	const struct restore_wish wish = {
		.recovery_text = &text, .host_key = &g.host_key, .audit_key = &audit_key
	};
	struct backup_counts counts;
	struct backup_info info;

	return backup_restore(g.store, g.arena, fd, &wish, &info, &counts, err);
}

static int empty_file(void)
{
	const int fd = memfd_create("backup", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static void begin(void)
{
	fixture_begin_store(&f);
	fixture_begin(&g, NULL);
	fixture_open(&g);
}

static void end(void)
{
	fixture_end(&g);
	fixture_end(&f);
}

static unsigned files_in(const char *directory)
{
	DIR *listed = opendir(directory);
	unsigned count = 0;

	ck_assert_ptr_nonnull(listed);
	while (readdir(listed))
		count++;
	(void)closedir(listed);
	return count - 2;
}

START_TEST(everything_comes_back_as_it_was_but_the_keys)
{
	struct making making = { 0 };
	struct secret_reference removed = reference_of("dev/gone");
	struct secret_reference kept = reference_of("prod/db");
	struct secret_info before, after;
	struct version_info versions[4];
	struct mayfly_error failure = { 0 };
	uint32_t number;
	size_t count;
	uint64_t records;
	AUTO_FD fd = empty_file();

	begin();
	ck_assert_int_eq(put_text(&f, "prod/db", "one", false), 0);
	ck_assert_int_eq(put_text(&f, "prod/db", "two", true), 0);
	ck_assert_int_eq(put_text(&f, "prod/db", "three", true), 0);
	ck_assert_int_eq(put_text(&f, "prod/db/deeper", "x", false), 0);
	ck_assert_int_eq(put_text(&f, "dev/gone", "y", false), 0);
	MUST(store_keep(f.store, &kept, 2, &number, err));
	MUST(store_remove(f.store, &removed, false, &number, err));
	MUST(store_info(f.store, &kept, &before, err));
	ck_assert_msg(back_up(fd, &making, &failure) == 0, "%s", failure.text);
	ck_assert_uint_eq(making.counts.secrets, 3);
	ck_assert_uint_eq(making.counts.versions, 4);
	/* Nothing of the copy is left, not even its name. */
	ck_assert_int_ne(access(fixture_path(&f, "store.db.copy"), F_OK), 0);

	ck_assert_msg(restore(fd, &failure) == 0, "%s", failure.text);
	ck_assert_uint_eq(files_in(g.directory), 2); /* store.db and its log */
	ck_assert_int_eq(get_text(&g, "prod/db", VERSION_CURRENT, "three"), 0);
	ck_assert_int_eq(get_text(&g, "prod/db", VERSION_PREVIOUS, "two"), 0);
	ck_assert_int_eq(get_text(&g, "prod/db", 1, "one"), -ENOENT);
	ck_assert_int_eq(get_text(&g, "prod/db/deeper", 1, "x"), 0);
	ck_assert_int_eq(get_text(&g, "dev/gone", 1, "y"), -ENOENT);
	MUST(store_info(g.store, &kept, &after, err));
	ck_assert_int_eq(memcmp(&before, &after, sizeof after), 0);
	MUST(store_history(g.store, &kept, versions, 4, &count, err));
	ck_assert_uint_eq(count, 2);
	ck_assert_uint_eq(versions[0].number, 3);
	MUST(store_undelete(g.store, &removed, &number, err));
	ck_assert_int_eq(get_text(&g, "dev/gone", 1, "y"), 0);
	/* Numbers go on where they were. */
	ck_assert_int_eq(put_text(&g, "prod/db", "four", true), 0);
	ck_assert_int_eq(get_text(&g, "prod/db", 4, "four"), 0);
	MUST(store_verify(g.store, &records, err));
	end();
}
END_TEST

START_TEST(a_restored_store_opens_by_the_new_host_key_and_the_recovery_key_that_was_typed)
{
	struct making making = { 0 };
	struct mayfly_error failure = { 0 };
	AUTO_FD fd = empty_file();

	begin();
	ck_assert_int_eq(put_text(&f, "prod/db", "one", false), 0);
	ck_assert_int_eq(back_up(fd, &making, &failure), 0);
	ck_assert_int_eq(restore(fd, &failure), 0);
	fixture_close(&g);
	fixture_open(&g);
	{
		AUTO_SECRET old = secret_of(&g, f.host_key.bytes, f.host_key.length);
		AUTO_SECRET text = secret_of(&g, f.recovery_text.bytes, f.recovery_text.length);
		AUTO_SECRET audit_key = { 0 };

		ck_assert_int_eq(
			store_unlock(g.store, SLOT_HOST_KEY, &old, &failure), -EKEYREJECTED);
		MUST(store_unlock(g.store, SLOT_RECOVERY, &text, err));
		store_lock(g.store);
		MUST(store_unlock(g.store, SLOT_HOST_KEY, &g.host_key, err));
		ck_assert_int_eq(get_text(&g, "prod/db", 1, "one"), 0);
		MUST(store_audit_key(g.store, &audit_key, err));
		ck_assert_uint_eq(audit_key.length, strlen("another audit key"));
	}
	ck_assert_int_ne(
		memcmp(f.store->identity.uuid, g.store->identity.uuid, STORE_UUID_BYTES), 0);
	end();
}
END_TEST

START_TEST(a_damaged_backup_leaves_no_store_and_a_whole_one_goes_in_afterwards)
{
	struct making making = { 0 };
	struct mayfly_error failure = { 0 };
	unsigned char byte;
	AUTO_FD fd = empty_file();
	off_t length;

	begin();
	for (unsigned i = 0; i < 40; i++) {
		char name[32], value[6000];

		(void)snprintf(name, sizeof name, "prod/n%u", i);
		memset(value, 'v', sizeof value);
		value[sizeof value - 1] = '\0';
		ck_assert_int_eq(put_text(&f, name, value, false), 0);
	}
	ck_assert_int_eq(back_up(fd, &making, &failure), 0);
	length = lseek(fd, 0, SEEK_END);
	for (off_t at = 0; at < length; at += length / 60) {
		ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
		byte ^= 0x10;
		ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
		ck_assert_int_lt(restore(fd, &failure), 0);
		ck_assert_int_eq(store_state(g.store, NULL), STORE_UNINITIALISED);
		ck_assert_uint_eq(files_in(g.directory), 0);
		byte ^= 0x10;
		ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
	}
	ck_assert_msg(restore(fd, &failure) == 0, "%s", failure.text);
	ck_assert_int_eq(restore(fd, &failure), -EEXIST);
	end();
}
END_TEST

START_TEST(what_a_killed_backup_left_is_removed_at_the_next_start)
{
	const struct bytes left = { (unsigned char *)"x", 1 };

	begin();
	fixture_close(&f);
	bytes_write(fixture_path(&f, "store.db.copy"), &left);
	fixture_reopen_unlocked(&f);
	ck_assert_int_ne(access(fixture_path(&f, "store.db.copy"), F_OK), 0);
	end();
}
END_TEST

static void lock_it(void)
{
	store_lock(f.store);
}

START_TEST(locking_the_store_ends_a_backup)
{
	struct making making = { .meanwhile = lock_it };
	struct mayfly_error failure = { 0 };
	AUTO_FD fd = empty_file();

	begin();
	ck_assert_int_eq(put_text(&f, "prod/a", "one", false), 0);
	ck_assert_int_eq(put_text(&f, "prod/b", "one", false), 0);
	ck_assert_int_eq(back_up(fd, &making, &failure), -ENOKEY);
	ck_assert_int_lt(restore(fd, &failure), 0);
	ck_assert_int_eq(store_state(g.store, NULL), STORE_UNINITIALISED);
	end();
}
END_TEST

static void change_everything(void)
{
	ck_assert_int_eq(put_text(&f, "prod/a", "later", true), 0);
	ck_assert_int_eq(put_text(&f, "prod/b", "later", true), 0);
	ck_assert_int_eq(put_text(&f, "prod/c", "later", false), 0);
}

START_TEST(what_is_put_while_secrets_are_written_is_not_in_it)
{
	struct making making = { .meanwhile = change_everything };
	struct mayfly_error failure = { 0 };
	AUTO_FD fd = empty_file();

	begin();
	ck_assert_int_eq(put_text(&f, "prod/a", "one", false), 0);
	ck_assert_int_eq(put_text(&f, "prod/b", "one", false), 0);
	ck_assert_int_eq(back_up(fd, &making, &failure), 0);
	ck_assert_int_eq(restore(fd, &failure), 0);
	ck_assert_int_eq(get_text(&g, "prod/a", VERSION_CURRENT, "one"), 0);
	ck_assert_int_eq(get_text(&g, "prod/b", VERSION_CURRENT, "one"), 0);
	ck_assert_int_eq(get_text(&g, "prod/c", VERSION_CURRENT, "later"), -ENOENT);
	ck_assert_int_eq(get_text(&f, "prod/c", VERSION_CURRENT, "later"), 0);
	end();
}
END_TEST

static atomic_bool is_enough;

/* Each round puts the same number into x and then y, and a third value in between. */
static void *keep_putting(void *data)
{
	(void)data;
	for (unsigned i = 1; !is_enough; i++) {
		char text[32], name[32];

		(void)snprintf(text, sizeof text, "%08u", i);
		ck_assert_int_eq(put_text(&f, "prod/x", text, true), 0);
		(void)snprintf(name, sizeof name, "dev/n%u", i % 2000);
		ck_assert_int_ge(put_text(&f, name, text, true), 0);
		ck_assert_int_eq(put_text(&f, "prod/y", text, true), 0);
	}
	return NULL;
}

static unsigned number_in_g(const char *name)
{
	struct secret_reference reference = reference_of(name);
	AUTO_SECRET value = { 0 };
	char text[9] = "";

	MUST(store_get(g.store, &reference, VERSION_CURRENT, &value, NULL, err));
	memcpy(text, value.bytes, 8);
	return (unsigned)strtoul(text, NULL, 10);
}

START_TEST(a_backup_while_others_put_is_of_one_moment)
{
	pthread_t thread;

	begin();
	for (unsigned i = 0; i < 1000; i++) {
		char name[32];

		(void)snprintf(name, sizeof name, "prod/n%u", i);
		ck_assert_int_eq(put_text(&f, name, "some value", false), 0);
	}
	is_enough = false;
	ck_assert_int_eq(pthread_create(&thread, NULL, keep_putting, NULL), 0);
	for (unsigned i = 0; i < 10; i++) {
		struct making making = { 0 };
		struct mayfly_error failure = { 0 };
		AUTO_FD fd = empty_file();
		unsigned x, y;
		uint64_t records;

		while (get_text(&f, "prod/y", VERSION_CURRENT, "") == -ENOENT)
			(void)usleep(1000);
		ck_assert_msg(back_up(fd, &making, &failure) == 0, "%s", failure.text);
		ck_assert_msg(restore(fd, &failure) == 0, "%s", failure.text);
		MUST(store_verify(g.store, &records, err));
		x = number_in_g("prod/x");
		y = number_in_g("prod/y");
		/* y follows x: it is as new or one behind. */
		ck_assert_msg(x == y || x == y + 1, "x %u, y %u", x, y);
		fixture_end(&g);
		fixture_begin(&g, NULL);
		fixture_open(&g);
	}
	is_enough = true;
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	end();
}
END_TEST

START_TEST(what_is_damaged_is_left_out_and_named)
{
	struct making making = { 0 };
	struct mayfly_error failure = { 0 };
	AUTO_FD fd = empty_file();
	sqlite3 *file;

	begin();
	ck_assert_int_eq(put_text(&f, "prod/a", "one", false), 0);
	ck_assert_int_eq(put_text(&f, "prod/a", "two", true), 0);
	ck_assert_int_eq(put_text(&f, "prod/b", "one", false), 0);
	ck_assert_int_eq(put_text(&f, "prod/c", "one", false), 0);
	fixture_close(&f);
	file = file_open(&f);
	file_run(file, "UPDATE value SET sealed = zeroblob(104) WHERE id = (1 << 32) + 2");
	file_run(file, "UPDATE value SET sealed = zeroblob(104) WHERE id = (2 << 32) + 1");
	file_run(file, "UPDATE head SET record = zeroblob(296) WHERE id = 3");
	(void)sqlite3_close(file);
	fixture_reopen_unlocked(&f);
	ck_assert_msg(back_up(fd, &making, &failure) == 0, "%s", failure.text);
	ck_assert_uint_eq(making.damaged, 3);
	ck_assert_msg(restore(fd, &failure) == 0, "%s", failure.text);
	ck_assert_int_eq(get_text(&g, "prod/a", VERSION_CURRENT, "one"), 0);
	ck_assert_int_eq(get_text(&g, "prod/b", VERSION_CURRENT, "one"), -ENOENT);
	ck_assert_int_eq(get_text(&g, "prod/c", VERSION_CURRENT, "one"), -ENOENT);
	end();
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, everything_comes_back_as_it_was_but_the_keys);
	tcase_add_test(cases,
		a_restored_store_opens_by_the_new_host_key_and_the_recovery_key_that_was_typed);
	tcase_add_test(cases, a_damaged_backup_leaves_no_store_and_a_whole_one_goes_in_afterwards);
	tcase_add_test(cases, what_a_killed_backup_left_is_removed_at_the_next_start);
	tcase_add_test(cases, locking_the_store_ends_a_backup);
	tcase_add_test(cases, what_is_put_while_secrets_are_written_is_not_in_it);
	tcase_add_test(cases, a_backup_while_others_put_is_of_one_moment);
	tcase_add_test(cases, what_is_damaged_is_left_out_and_named);
}

int main(void)
{
	return unit_test_run("store_backup", add);
}
