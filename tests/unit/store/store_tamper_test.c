/* What someone who can write to the file may do: no wrong value ever, and store_verify() finds it.
 */
#include "held_values.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

START_TEST(an_untouched_store_is_whole)
{
	struct held_findings findings;
	struct bytes file;
	struct fixture f;

	held_begin(&f, &file);
	findings = held_examine(&f, "nothing");
	ck_assert_uint_eq(findings.right, HELD_READABLE);
	ck_assert(findings.is_verified);
	held_end(&f, &file);
}
END_TEST

static const struct {
	const char *table;
	const char *column;
} columns[] = {
	{ "head", "id" },
	{ "head", "set_name" },
	{ "head", "token" },
	{ "head", "removed" },
	{ "head", "sequence" },
	{ "head", "record" },
	{ "value", "id" },
	{ "value", "sealed" },
	{ "slot", "id" },
	{ "slot", "kind" },
	{ "slot", "salt" },
	{ "slot", "commitment" },
	{ "slot", "root_key" },
};

/* Exchanges COLUMN of rows A and B. False when they are equal: then nothing was changed. */
static bool exchange(sqlite3 *file, const char *table, const char *column, long long a, long long b)
{
	char sql[256];

	snprintf(sql, sizeof sql, "SELECT count(DISTINCT %s) FROM %s WHERE rowid IN (%lld, %lld)",
		column, table, a, b);
	if (file_number(file, sql) != 2)
		return false;
	if (strcmp(column, "id") == 0) {
		file_run(file, "UPDATE %s SET id = -1 WHERE id = %lld", table, a);
		file_run(file, "UPDATE %s SET id = %lld WHERE id = %lld", table, a, b);
		file_run(file, "UPDATE %s SET id = %lld WHERE id = -1", table, b);
		return true;
	}
	file_run(file,
		"CREATE TEMP TABLE held AS SELECT rowid AS r, %s AS c FROM %s "
		"WHERE rowid IN (%lld, %lld)",
		column, table, a, b);
	file_run(file, "UPDATE %s SET %s = (SELECT c FROM held WHERE r = %lld) WHERE rowid = %lld",
		table, column, b, a);
	file_run(file, "UPDATE %s SET %s = (SELECT c FROM held WHERE r = %lld) WHERE rowid = %lld",
		table, column, a, b);
	return true;
}

/* The numbers of a table's rows. */
static size_t row_numbers(struct fixture *f, const char *table, long long numbers[32])
{
	sqlite3 *file = file_open(f);
	sqlite3_stmt *query;
	char sql[64];
	size_t count = 0;

	snprintf(sql, sizeof sql, "SELECT rowid FROM %s ORDER BY rowid", table);
	ck_assert_int_eq(sqlite3_prepare_v2(file, sql, -1, &query, NULL), SQLITE_OK);
	while (count < 32 && sqlite3_step(query) == SQLITE_ROW)
		numbers[count++] = sqlite3_column_int64(query, 0);
	sqlite3_finalize(query);
	sqlite3_close(file);
	return count;
}

START_TEST(no_two_rows_may_exchange_anything)
{
	const char *table = columns[_i].table, *column = columns[_i].column;
	long long numbers[32];
	unsigned exchanged = 0;
	struct bytes original;
	struct fixture f;
	size_t rows;

	held_begin(&f, &original);
	rows = row_numbers(&f, table, numbers);
	for (size_t i = 0; i < rows; i++) {
		for (size_t j = i + 1; j < rows; j++) {
			char what[128];
			sqlite3 *file;
			bool changed;

			bytes_write(fixture_path(&f, "store.db"), &original);
			file = file_open(&f);
			changed = exchange(file, table, column, numbers[i], numbers[j]);
			sqlite3_close(file);
			snprintf(what, sizeof what, "%s.%s of rows %lld and %lld", table, column,
				numbers[i], numbers[j]);
			exchanged += changed;
			if (changed)
				held_assert_found(&f, what);
		}
	}
	ck_assert_uint_gt(exchanged, 0);
	held_end(&f, &original);
}
END_TEST

static const struct {
	const char *name;
	const char *sql;
} changes[] = {
	{ "a secret is taken out", "DELETE FROM head WHERE id = 2" },
	{ "a secret and its values are taken out",
		"DELETE FROM head WHERE id = 2; DELETE FROM value WHERE id >> 32 = 2" },
	{ "a value is taken out", "DELETE FROM value WHERE id = (SELECT min(id) FROM value)" },
	{ "a removed secret is undeleted", "UPDATE head SET removed = 0" },
	{ "a secret is removed", "UPDATE head SET removed = 1 WHERE id = 1" },
	{ "a secret is moved to another set", "UPDATE head SET set_name = 'dev' WHERE id = 1" },
	{ "a secret is there twice",
		"INSERT INTO head SELECT 99, set_name, token, removed, sequence, record FROM head "
		"WHERE id = 1" },
	{ "a value is there twice",
		"INSERT INTO value SELECT 99, sealed FROM value WHERE id = (SELECT min(id) FROM "
		"value)" },
	{ "values of one secret change places",
		"UPDATE value SET id = id + 1000 WHERE id >> 32 = 1; "
		"UPDATE value SET id = (1 << 32) + 1 WHERE id = (1 << 32) + 1003; "
		"UPDATE value SET id = (1 << 32) + 3 WHERE id = (1 << 32) + 1001; "
		"UPDATE value SET id = (1 << 32) + 2 WHERE id = (1 << 32) + 1002" },
	{ "a secret gets another one's values",
		"UPDATE head SET id = 77 WHERE id = 1; UPDATE head SET id = 1 WHERE id = 2" },
	{ "a record is empty", "UPDATE head SET record = x'' WHERE id = 1" },
	{ "a token is too short", "UPDATE head SET token = x'00' WHERE id = 1" },
	{ "a value is empty", "UPDATE value SET sealed = x''" },
	{ "a value is cut", "UPDATE value SET sealed = substr(sealed, 1, length(sealed) - 1)" },
	{ "the ledger is empty", "UPDATE store SET ledger = x''" },
	{ "the ledger is damaged", "UPDATE store SET ledger = zeroblob(length(ledger))" },
	{ "the audit key is damaged", "UPDATE store SET audit_key = zeroblob(72)" },
	{ "the audit key is empty", "UPDATE store SET audit_key = x''" },
	{ "the store is another", "UPDATE store SET uuid = zeroblob(16)" },
	{ "the store says nothing", "UPDATE store SET uuid = x''" },
	{ "the root key's number is another", "UPDATE store SET generation = generation + 1" },
	{ "there is no store row", "DELETE FROM store" },
	{ "there is no slot", "DELETE FROM slot" },
	{ "a slot is taken out", "DELETE FROM slot WHERE kind = 3" },
	{ "there are more slots than a store may have",
		"INSERT INTO slot WITH RECURSIVE n (i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM "
		"n "
		"LIMIT 20) SELECT i, kind, created, passes, memory_kib, salt, commitment, root_key "
		"FROM n, slot WHERE kind = 1" },
	{ "a table is added", "CREATE TABLE more (x)" },
	{ "a trigger is added",
		"CREATE TRIGGER t AFTER UPDATE ON head BEGIN DELETE FROM value; END" },
	{ "a table is missing", "DROP TABLE value" },
	{ "the index is missing", "DROP INDEX head_by_name" },
	{ "a column is added", "ALTER TABLE head ADD COLUMN more ANY" },
};

START_TEST(a_change_is_found)
{
	struct bytes original;
	struct fixture f;
	sqlite3 *file;

	held_begin(&f, &original);
	file = file_open(&f);
	file_run(file, "%s", changes[_i].sql);
	sqlite3_close(file);
	held_assert_found(&f, changes[_i].name);
	held_end(&f, &original);
}
END_TEST

/* Puts row NUMBER of TABLE back as it is in old.db. False when it is the same there, or not at all.
 */
static bool replay(struct fixture *f, const char *table, long long number)
{
	sqlite3 *file = file_open(f);
	char sql[256];
	bool differs;

	file_run(file, "ATTACH '%s' AS old", fixture_path(f, "old.db"));
	snprintf(sql, sizeof sql,
		"SELECT count(*) FROM (SELECT * FROM old.%s WHERE id = %lld EXCEPT "
		"SELECT * FROM main.%s)",
		table, number, table);
	differs = file_number(file, sql) == 1;
	file_run(file, "REPLACE INTO main.%s SELECT * FROM old.%s WHERE id = %lld", table, table,
		number);
	sqlite3_close(file);
	return differs;
}

static const struct {
	const char *table;
	unsigned differ; /* rows that do, after what the test does */
} replays[] = { { "head", 2 }, { "value", 0 }, { "slot", 2 }, { "store", 1 } };

START_TEST(an_older_copy_of_any_row_is_found)
{
	const struct secret_reference removed = reference_of("prod/removed");
	AUTO_SECRET text = { 0 };
	struct bytes before, after;
	long long numbers[32];
	unsigned differ = 0;
	struct fixture f;
	uint32_t number;
	size_t rows;

	held_begin(&f, &before);
	bytes_write(fixture_path(&f, "old.db"), &before);
	rows = row_numbers(&f, replays[_i].table, numbers);
	fixture_open(&f);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	ck_assert_int_eq(put_text(&f, "prod/a", "another", true), 0);
	MUST(store_undelete(f.store, &removed, &number, err));
	MUST(store_slot_add(f.store, SLOT_HOST_KEY, &f.host_key, NULL, NULL, err));
	MUST(store_slot_add(f.store, SLOT_RECOVERY, NULL, &text, NULL, err));
	MUST(store_slot_remove(f.store, 1, err));
	secret_done(&text);
	fixture_close(&f);
	after = bytes_read(fixture_path(&f, "store.db"));
	for (size_t i = 0; i < rows; i++) {
		char what[64];

		bytes_write(fixture_path(&f, "store.db"), &after);
		if (!replay(&f, replays[_i].table, numbers[i]))
			continue;
		snprintf(what, sizeof what, "older row %lld of %s", numbers[i], replays[_i].table);
		held_assert_found(&f, what);
		differ++;
	}
	ck_assert_uint_eq(differ, replays[_i].differ);
	free(after.bytes);
	held_end(&f, &before);
}
END_TEST

static const struct {
	const char *name;
	const char *sql;
} older_columns[] = {
	{ "the record", "UPDATE head SET record = (SELECT record FROM old.head WHERE id = 1) "
			"WHERE id = 1" },
	{ "the sequence", "UPDATE head SET sequence = (SELECT sequence FROM old.head WHERE id = 1) "
			  "WHERE id = 1" },
	{ "the ledger", "UPDATE store SET ledger = (SELECT ledger FROM old.store)" },
};

/* With the rest of its row as it is now, an older part must not even open. */
START_TEST(an_older_copy_of_a_column_is_found)
{
	struct bytes before;
	struct fixture f;
	sqlite3 *file;

	held_begin(&f, &before);
	bytes_write(fixture_path(&f, "old.db"), &before);
	fixture_open(&f);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	ck_assert_int_eq(put_text(&f, "prod/a", "another", true), 0);
	fixture_close(&f);
	file = file_open(&f);
	file_run(file, "ATTACH '%s' AS old", fixture_path(&f, "old.db"));
	file_run(file, "%s", older_columns[_i].sql);
	sqlite3_close(file);
	held_assert_found(&f, older_columns[_i].name);
	held_end(&f, &before);
}
END_TEST

START_TEST(a_purged_secret_that_is_put_back_is_found)
{
	const struct secret_reference reference = reference_of("prod/a");
	struct bytes before;
	struct fixture f;
	uint32_t number;
	sqlite3 *file;

	held_begin(&f, &before);
	bytes_write(fixture_path(&f, "old.db"), &before);
	fixture_open(&f);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	MUST(store_remove(f.store, &reference, true, &number, err));
	fixture_close(&f);
	file = file_open(&f);
	file_run(file, "ATTACH '%s' AS old", fixture_path(&f, "old.db"));
	file_run(file, "INSERT INTO main.head SELECT * FROM old.head WHERE id = 1");
	file_run(file, "INSERT INTO main.value SELECT * FROM old.value WHERE id >> 32 = 1");
	sqlite3_close(file);
	held_assert_found(&f, "a purged secret");
	held_end(&f, &before);
}
END_TEST

START_TEST(a_destroyed_version_that_is_put_back_does_not_open)
{
	const struct secret_reference reference = reference_of("prod/a");
	struct bytes before;
	struct fixture f;
	uint32_t number;
	sqlite3 *file;

	held_begin(&f, &before);
	bytes_write(fixture_path(&f, "old.db"), &before);
	fixture_open(&f);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	MUST(store_keep(f.store, &reference, 1, &number, err));
	fixture_close(&f);
	file = file_open(&f);
	file_run(file, "ATTACH '%s' AS old", fixture_path(&f, "old.db"));
	file_run(file, "INSERT INTO main.value SELECT * FROM old.value WHERE id = (1 << 32) + 1");
	sqlite3_close(file);
	fixture_open(&f);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	ck_assert_int_eq(get_text(&f, "prod/a", 1, ""), -ENOENT);
	ck_assert_int_eq(store_verify(f.store, &(uint64_t){ 0 }, NULL), -EUCLEAN);
	held_end(&f, &before);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, an_untouched_store_is_whole);
	tcase_add_loop_test(
		cases, no_two_rows_may_exchange_anything, 0, sizeof columns / sizeof columns[0]);
	tcase_add_loop_test(cases, a_change_is_found, 0, sizeof changes / sizeof changes[0]);
	tcase_add_loop_test(
		cases, an_older_copy_of_any_row_is_found, 0, sizeof replays / sizeof replays[0]);
	tcase_add_loop_test(cases, an_older_copy_of_a_column_is_found, 0,
		sizeof older_columns / sizeof older_columns[0]);
	tcase_add_test(cases, a_purged_secret_that_is_put_back_is_found);
	tcase_add_test(cases, a_destroyed_version_that_is_put_back_does_not_open);
}

int main(void)
{
	return unit_test_run("store_tamper", add);
}
