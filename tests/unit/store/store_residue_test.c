/* What stands in the files: nothing in clear, and nothing at all of what was destroyed. */
#include "store_fixture.h"

#include "unit_test.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void assert_nowhere(const struct fixture *f, const char *what, const char *when)
{
	static const char *const names[] = { "store.db", "store.db-wal", "store.db-shm" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const char *path = fixture_path(f, names[i]);
		struct bytes bytes;

		if (access(path, F_OK) != 0)
			continue;
		bytes = bytes_read(path);
		ck_assert_msg(!bytes_contain(&bytes, what, strlen(what)), "%s: '%s' stands in %s",
			when, what, names[i]);
		free(bytes.bytes);
	}
}

START_TEST(neither_a_value_nor_a_name_stands_in_a_file)
{
	static const char value[] = "canary-of-a-value-Zq7", name[] = "canary-of-a-name-Kw3";
	const struct secret_reference reference = reference_of("prod/canary-of-a-name-Kw3");
	struct fixture f;
	uint32_t number;

	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/canary-of-a-name-Kw3", value, false), 0);
	assert_nowhere(&f, value, "after put");
	assert_nowhere(&f, name, "after put");
	ck_assert_int_eq(put_text(&f, "prod/canary-of-a-name-Kw3", "other", true), 0);
	MUST(store_remove(f.store, &reference, false, &number, err));
	assert_nowhere(&f, value, "after remove");
	MUST(store_remove(f.store, &reference, true, &number, err));
	assert_nowhere(&f, value, "after purge");
	assert_nowhere(&f, name, "after purge");
	fixture_end(&f);
}
END_TEST

START_TEST(the_search_for_canaries_finds_clear_text)
{
	static const char planted[] = "canary-in-clear-Xv9";
	struct bytes db, wal;
	struct fixture f;
	sqlite3 *file;

	fixture_begin_store(&f);
	fixture_close(&f);
	file = file_open(&f);
	file_run(file, "PRAGMA journal_mode = WAL");
	file_run(file, "UPDATE head SET record = x'00'");
	file_run(file, "CREATE TABLE planted (x)");
	file_run(file, "INSERT INTO planted VALUES ('%s')", planted);
	wal = bytes_read(fixture_path(&f, "store.db-wal"));
	ck_assert(bytes_contain(&wal, planted, strlen(planted)));
	sqlite3_close(file);
	db = bytes_read(fixture_path(&f, "store.db"));
	ck_assert(bytes_contain(&db, planted, strlen(planted)));
	free(wal.bytes);
	free(db.bytes);
	fixture_end(&f);
}
END_TEST

/* Whether the sealed bytes of FIRST's value stand in a file or its log. */
static bool stands_there(const struct fixture *f, const char *file, const struct bytes *what)
{
	const char *path = fixture_path(f, file);
	struct bytes bytes;
	bool found;

	if (access(path, F_OK) != 0)
		return false;
	bytes = bytes_read(path);
	found = bytes_contain(&bytes, what->bytes, what->length);
	free(bytes.bytes);
	return found;
}

/* The ciphertext of the value with the smallest number, read from a copy. */
static struct bytes first_ciphertext(struct fixture *f)
{
	struct bytes copy = { 0 };
	sqlite3_stmt *query;
	sqlite3 *file;

	fixture_close(f);
	file = file_open(f);
	ck_assert_int_eq(sqlite3_prepare_v2(file, "SELECT sealed FROM value ORDER BY id LIMIT 1",
				 -1, &query, NULL),
		SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(query), SQLITE_ROW);
	copy.length = (size_t)sqlite3_column_bytes(query, 0);
	copy.bytes = malloc(copy.length);
	ck_assert_ptr_nonnull(copy.bytes);
	memcpy(copy.bytes, sqlite3_column_blob(query, 0), copy.length);
	sqlite3_finalize(query);
	sqlite3_close(file);
	fixture_open(f);
	MUST(store_unlock(f->store, SLOT_HOST_KEY, &f->host_key, err));
	return copy;
}

static const struct {
	const char *name;
	enum { BY_PURGE, BY_KEEP, BY_LIMIT } how;
} destructions[] = {
	{ "purge", BY_PURGE },
	{ "a lower limit", BY_KEEP },
	{ "a version above the limit", BY_LIMIT },
};

START_TEST(not_even_ciphertext_is_left_of_what_was_destroyed)
{
	const struct secret_reference reference = reference_of("prod/db");
	struct bytes sealed;
	struct fixture f;
	uint32_t number;

	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/db", "one", false), 0);
	ck_assert_int_eq(put_text(&f, "prod/db", "two", true), 0);
	MUST(store_keep(f.store, &reference, 2, &number, err));
	sealed = first_ciphertext(&f);
	/* Brings it into the log too. */
	ck_assert_int_eq(put_text(&f, "prod/db2", "x", false), 0);
	ck_assert(stands_there(&f, "store.db", &sealed));
	if (destructions[_i].how == BY_PURGE)
		MUST(store_remove(f.store, &reference, true, &number, err));
	else if (destructions[_i].how == BY_KEEP)
		MUST(store_keep(f.store, &reference, 1, &number, err));
	else
		ck_assert_int_eq(put_text(&f, "prod/db", "three", true), 0);
	ck_assert_msg(!stands_there(&f, "store.db", &sealed) &&
			      !stands_there(&f, "store.db-wal", &sealed),
		"%s leaves it", destructions[_i].name);
	free(sealed.bytes);
	fixture_end(&f);
}
END_TEST

START_TEST(the_files_are_private_and_there_is_no_shared_memory)
{
	struct stat status;
	struct fixture f;

	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/db", "x", false), 0);
	ck_assert_int_eq(stat(fixture_path(&f, "store.db"), &status), 0);
	ck_assert_uint_eq(status.st_mode & 07777, 0600);
	ck_assert_int_eq(stat(fixture_path(&f, "store.db-wal"), &status), 0);
	ck_assert_uint_eq(status.st_mode & 07777, 0600);
	ck_assert_int_ne(access(fixture_path(&f, "store.db-shm"), F_OK), 0);
	ck_assert_int_ne(access(fixture_path(&f, "store.db.new"), F_OK), 0);
	fixture_end(&f);
}
END_TEST

START_TEST(equal_names_and_values_look_different)
{
	struct fixture f;
	sqlite3 *file;

	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/db", "the same", false), 0);
	ck_assert_int_eq(put_text(&f, "dev/db", "the same", false), 0);
	ck_assert_int_eq(put_text(&f, "dev/d", "the same but longer", false), 0);
	fixture_close(&f);
	file = file_open(&f);
	ck_assert_int_eq(file_number(file, "SELECT count(DISTINCT token) FROM head"), 3);
	ck_assert_int_eq(file_number(file, "SELECT count(DISTINCT sealed) FROM value"), 3);
	/* Only the class of a length shows. */
	ck_assert_int_eq(file_number(file, "SELECT count(DISTINCT length(sealed)) FROM value"), 1);
	ck_assert_int_eq(file_number(file, "SELECT count(DISTINCT length(record)) FROM head"), 1);
	sqlite3_close(file);
	fixture_end(&f);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, neither_a_value_nor_a_name_stands_in_a_file);
	tcase_add_test(cases, the_search_for_canaries_finds_clear_text);
	tcase_add_test(cases, equal_names_and_values_look_different);
	tcase_add_test(cases, the_files_are_private_and_there_is_no_shared_memory);
	tcase_add_loop_test(cases, not_even_ciphertext_is_left_of_what_was_destroyed, 0,
		sizeof destructions / sizeof destructions[0]);
}

int main(void)
{
	return unit_test_run("store_residue", add);
}
