#include "daemon/broker/store/sqlite/sqlite_db.h"

#include "store_fixture.h"

#include "unit_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const struct {
	const char *name;
	const char *sql;  /* what is done to a good store */
	const char *says; /* what the reason must say */
} foreign[] = {
	{ "a newer version", "PRAGMA user_version = 2",
		"has version 2, this Mayfly knows version 1" },
	{ "an older version", "PRAGMA user_version = 0",
		"has version 0, this Mayfly knows version 1" },
	{ "another program's file", "PRAGMA application_id = 252006674",
		"application_id is 0x0f055112, not 0x4d465353" },
	{ "no program's file", "PRAGMA application_id = 0", "not 0x4d465353" },
	{ "another schema", "CREATE TABLE t (x)", "other tables than a secret store" },
	{ "a changed schema",
		"PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, "
		"'STRICT', "
		"'WITHOUT ROWID') WHERE name = 'slot'",
		"store.db" },
};

START_TEST(a_file_that_is_not_ours_is_left_as_it_is)
{
	struct bytes before, after;
	const char *detail = NULL;
	struct fixture f;
	sqlite3 *file;

	fixture_begin_store(&f);
	fixture_close(&f);
	file = file_open(&f);
	file_run(file, "%s", foreign[_i].sql);
	sqlite3_close(file);
	before = bytes_read(fixture_path(&f, "store.db"));
	fixture_open(&f);
	ck_assert_int_eq(store_state(f.store, &detail), STORE_DAMAGED);
	ck_assert_msg(
		strstr(detail, foreign[_i].says) != NULL, "%s: '%s'", foreign[_i].name, detail);
	ck_assert_int_eq(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, NULL), -EUCLEAN);
	ck_assert_int_eq(put_text(&f, "prod/db", "x", false), -EUCLEAN);
	ck_assert_int_eq(get_text(&f, "prod/db", VERSION_CURRENT, ""), -EUCLEAN);
	fixture_close(&f);
	after = bytes_read(fixture_path(&f, "store.db"));
	ck_assert_uint_eq(before.length, after.length);
	ck_assert_mem_eq(before.bytes, after.bytes, before.length);
	free(before.bytes);
	free(after.bytes);
	fixture_end(&f);
}
END_TEST

/* A newer Mayfly may have been killed with its version in the log only. */
START_TEST(a_newer_version_in_the_log_is_refused_and_its_log_is_kept)
{
	struct bytes db_before, wal_before, db_after, wal_after;
	const char *detail = NULL;
	struct fixture f;
	int status;

	fixture_begin_store(&f);
	fixture_close(&f);
	if (fork() == 0) {
		sqlite3 *file = file_open(&f);

		file_run(file, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA user_version = 7");
		_exit(0);
	}
	ck_assert_int_gt(wait(&status), 0);
	db_before = bytes_read(fixture_path(&f, "store.db"));
	wal_before = bytes_read(fixture_path(&f, "store.db-wal"));
	ck_assert_uint_gt(wal_before.length, 0);
	fixture_open(&f);
	ck_assert_int_eq(store_state(f.store, &detail), STORE_DAMAGED);
	ck_assert_ptr_nonnull(strstr(detail, "has version 7"));
	fixture_close(&f);
	db_after = bytes_read(fixture_path(&f, "store.db"));
	wal_after = bytes_read(fixture_path(&f, "store.db-wal"));
	ck_assert_uint_eq(wal_before.length, wal_after.length);
	ck_assert_mem_eq(wal_before.bytes, wal_after.bytes, wal_before.length);
	ck_assert_mem_eq(db_before.bytes, db_after.bytes, db_before.length);
	free(db_before.bytes);
	free(db_after.bytes);
	free(wal_before.bytes);
	free(wal_after.bytes);
	fixture_end(&f);
}
END_TEST

/* SQLite would roll it back, which is writing. */
START_TEST(a_foreign_file_with_a_hot_journal_is_left_as_it_is)
{
	struct bytes before, after, journal;
	struct fixture f;
	int status;

	fixture_begin(&f, NULL);
	if (fork() == 0) {
		sqlite3 *file = file_open(&f);

		file_run(file,
			"PRAGMA cache_size = 2; CREATE TABLE t (x); INSERT INTO t "
			"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT "
			"200) SELECT zeroblob(1000) FROM n; BEGIN; UPDATE t SET x = "
			"randomblob(1000)");
		_exit(0);
	}
	ck_assert_int_gt(wait(&status), 0);
	journal = bytes_read(fixture_path(&f, "store.db-journal"));
	ck_assert_uint_gt(journal.length, 512);
	before = bytes_read(fixture_path(&f, "store.db"));
	fixture_open(&f);
	ck_assert_int_eq(store_state(f.store, NULL), STORE_DAMAGED);
	fixture_close(&f);
	after = bytes_read(fixture_path(&f, "store.db"));
	ck_assert_uint_eq(before.length, after.length);
	ck_assert_mem_eq(before.bytes, after.bytes, before.length);
	free(journal.bytes);
	free(before.bytes);
	free(after.bytes);
	fixture_end(&f);
}
END_TEST

static const struct {
	const char *name;
	const char *content; /* NULL: a directory */
	size_t length;
	const char *says;
} strange[] = {
	{ "an empty file", "", 0, "is cut off" },
	{ "a few bytes", "SQLite format 3", 15, "is cut off" },
	{ "text",
		"A text that has a hundred bytes and more, so that it could be a header of "
		"SQLite, which it is not, as can be seen.",
		115, "no SQLite file" },
	{ "a directory", NULL, 0, "no regular file" },
};

START_TEST(what_is_no_database_is_damaged_and_stays)
{
	struct store_init_args args = { 0 };
	AUTO_SECRET audit_key = { 0 }, text = { 0 };
	const char *detail = NULL;
	struct fixture f;
	uint64_t count;

	fixture_begin(&f, NULL);
	if (strange[_i].content) {
		struct bytes bytes = { (unsigned char *)strange[_i].content, strange[_i].length };

		bytes_write(fixture_path(&f, "store.db"), &bytes);
	} else {
		ck_assert_int_eq(mkdir(fixture_path(&f, "store.db"), 0700), 0);
	}
	fixture_open(&f);
	ck_assert_int_eq(store_state(f.store, &detail), STORE_DAMAGED);
	ck_assert_msg(
		strstr(detail, strange[_i].says) != NULL, "%s: '%s'", strange[_i].name, detail);
	audit_key = secret_of_text(&f, "audit");
	args = (struct store_init_args){ .host_key = &f.host_key, .audit_key = &audit_key };
	ck_assert_int_eq(store_init(f.store, &args, &text, NULL), -EEXIST);
	ck_assert_int_eq(store_count(f.store, NULL, &count, NULL), -EUCLEAN);
	secret_done(&audit_key);
	if (!strange[_i].content)
		ck_assert_int_eq(rmdir(fixture_path(&f, "store.db")), 0);
	fixture_end(&f);
}
END_TEST

START_TEST(a_symbolic_link_is_not_followed)
{
	const char *detail = NULL;
	struct fixture f;

	fixture_begin_store(&f);
	fixture_close(&f);
	ck_assert_int_eq(rename(fixture_path(&f, "store.db"), fixture_path(&f, "elsewhere.db")), 0);
	ck_assert_int_eq(
		symlink(fixture_path(&f, "elsewhere.db"), fixture_path(&f, "store.db")), 0);
	fixture_open(&f);
	ck_assert_int_eq(store_state(f.store, &detail), STORE_DAMAGED);
	fixture_end(&f);
}
END_TEST

START_TEST(two_stores_on_one_file_do_not_work)
{
	const char *detail = NULL;
	struct store *second;
	struct fixture f;
	int status;

	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/db", "one", false), 0);
	MUST(store_open(f.directory, f.arena, &second, err));
	ck_assert_int_eq(store_state(second, &detail), STORE_DAMAGED);
	ck_assert_ptr_nonnull(strstr(detail, "another process has it open"));
	store_close(second);
	/* The second one's going must not take the first one's lock along. */
	if (fork() == 0) {
		struct arena *arena;

		if (arena_new((size_t)1024 * 1024, &arena, NULL) < 0 ||
			store_open(f.directory, arena, &second, NULL) < 0)
			_exit(2);
		_exit(store_state(second, NULL) == STORE_DAMAGED ? 0 : 1);
	}
	ck_assert_int_gt(wait(&status), 0);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(put_text(&f, "prod/db", "two", true), 0);
	fixture_reopen_unlocked(&f);
	ck_assert_int_eq(get_text(&f, "prod/db", VERSION_CURRENT, "two"), 0);
	fixture_end(&f);
}
END_TEST

START_TEST(logs_that_lost_their_file_do_not_harm_a_new_store)
{
	AUTO_SECRET audit_key = { 0 }, text = { 0 };
	struct store_init_args args;
	struct fixture f;
	int status;

	fixture_begin_store(&f);
	fixture_close(&f);
	if (fork() == 0) {
		sqlite3 *file = file_open(&f);

		file_run(file, "PRAGMA locking_mode = EXCLUSIVE; DELETE FROM slot");
		_exit(0);
	}
	ck_assert_int_gt(wait(&status), 0);
	ck_assert_int_eq(access(fixture_path(&f, "store.db-wal"), F_OK), 0);
	ck_assert_int_eq(unlink(fixture_path(&f, "store.db")), 0);
	fixture_open(&f);
	ck_assert_int_eq(store_state(f.store, NULL), STORE_UNINITIALISED);
	audit_key = secret_of_text(&f, "audit");
	args = (struct store_init_args){ .host_key = &f.host_key, .audit_key = &audit_key };
	MUST(store_init(f.store, &args, &text, err));
	ck_assert_int_eq(put_text(&f, "prod/db", "one", false), 0);
	fixture_reopen_unlocked(&f);
	ck_assert_int_eq(get_text(&f, "prod/db", VERSION_CURRENT, "one"), 0);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	secret_done(&audit_key);
	secret_done(&text);
	fixture_end(&f);
}
END_TEST

START_TEST(no_file_is_made_by_looking)
{
	struct fixture f;

	fixture_begin(&f, NULL);
	fixture_open(&f);
	fixture_close(&f);
	ck_assert_int_ne(access(fixture_path(&f, "store.db"), F_OK), 0);
	fixture_end(&f);
}
END_TEST

START_TEST(a_directory_that_is_not_there_is_no_store)
{
	struct store *store;
	struct fixture f;

	fixture_begin(&f, NULL);
	MUST(store_open("/nonexistent/mayfly", f.arena, &store, err));
	ck_assert_int_eq(store_state(store, NULL), STORE_UNINITIALISED);
	store_close(store);
	store_close(NULL);
	fixture_end(&f);
}
END_TEST

START_TEST(a_path_with_odd_characters_opens)
{
	char directory[160];
	struct fixture f;
	struct store *store;

	fixture_begin_store(&f);
	fixture_close(&f);
	snprintf(directory, sizeof directory, "%s/a %%20?b#c", f.directory);
	ck_assert_int_eq(mkdir(directory, 0700), 0);
	ck_assert_int_eq(
		rename(fixture_path(&f, "store.db"), fixture_path(&f, "a %20?b#c/store.db")), 0);
	MUST(store_open(directory, f.arena, &store, err));
	ck_assert_int_eq(store_state(store, NULL), STORE_LOCKED);
	store_close(store);
	ck_assert_int_eq(unlink(fixture_path(&f, "a %20?b#c/store.db")), 0);
	ck_assert_int_eq(rmdir(directory), 0);
	fixture_end(&f);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_file_that_is_not_ours_is_left_as_it_is, 0,
		sizeof foreign / sizeof foreign[0]);
	tcase_add_test(cases, a_newer_version_in_the_log_is_refused_and_its_log_is_kept);
	tcase_add_test(cases, a_foreign_file_with_a_hot_journal_is_left_as_it_is);
	tcase_add_loop_test(cases, what_is_no_database_is_damaged_and_stays, 0,
		sizeof strange / sizeof strange[0]);
	tcase_add_test(cases, a_symbolic_link_is_not_followed);
	tcase_add_test(cases, two_stores_on_one_file_do_not_work);
	tcase_add_test(cases, logs_that_lost_their_file_do_not_harm_a_new_store);
	tcase_add_test(cases, no_file_is_made_by_looking);
	tcase_add_test(cases, a_directory_that_is_not_there_is_no_store);
	tcase_add_test(cases, a_path_with_odd_characters_opens);
}

int main(void)
{
	return unit_test_run("sqlite_db", add);
}
