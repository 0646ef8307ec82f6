/* What a failing disk may do to the file: one record takes no other along, and no value is ever
 * another. */
#include "held_values.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

START_TEST(one_damaged_record_takes_no_other_away)
{
	const struct secret_reference reference = reference_of("prod/a");
	AUTO_FREE struct secret_info *list = NULL;
	AUTO_SECRET value = { 0 };
	struct mayfly_error err_get = { 0 };
	struct bytes original;
	enum put_outcome outcome;
	struct fixture f;
	uint32_t number;
	sqlite3 *file;
	size_t count;

	held_begin(&f, &original);
	file = file_open(&f);
	file_run(file, "UPDATE head SET record = zeroblob(length(record)) WHERE id = 1");
	sqlite3_close(file);
	fixture_open(&f);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	ck_assert_int_eq(store_get(f.store, &reference, 1, &value, NULL, &err_get), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(err_get.text, "prod/a"));
	ck_assert_int_eq(get_text(&f, "prod/b", 1, "prod-b-1"), 0);
	ck_assert_int_eq(put_text(&f, "prod/a", "anew", true), -EBADMSG);
	ck_assert_int_eq(put_text(&f, "prod/c", "new", false), 0);
	ck_assert_int_eq(store_remove(f.store, &reference, false, &number, NULL), -EBADMSG);
	MUST(store_list(f.store, "prod", &list, &count, err));
	ck_assert_uint_eq(count, 5);
	ck_assert_str_eq(list[0].name, "?damaged-1");
	ck_assert_str_eq(list[1].name, "b");
	ck_assert_int_eq(store_verify(f.store, &(uint64_t){ 0 }, NULL), -EBADMSG);
	/* Purging is the way out. */
	MUST(store_remove(f.store, &reference, true, &number, err));
	ck_assert_uint_eq(number, 3);
	value = secret_of_text(&f, "anew");
	MUST(store_put(f.store, &reference, &value, false, &outcome, &number, err));
	ck_assert_int_eq(outcome, PUT_CREATED);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	secret_done(&value);
	held_end(&f, &original);
}
END_TEST

START_TEST(one_damaged_version_takes_no_other_away)
{
	const struct secret_reference reference = reference_of("prod/a");
	AUTO_SECRET value = { 0 };
	struct mayfly_error err_get = { 0 };
	struct bytes original;
	struct fixture f;
	sqlite3 *file;

	held_begin(&f, &original);
	file = file_open(&f);
	file_run(file,
		"UPDATE value SET sealed = zeroblob(length(sealed)) WHERE id = (1 << 32) + 3");
	sqlite3_close(file);
	fixture_open(&f);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	ck_assert_int_eq(
		store_get(f.store, &reference, VERSION_CURRENT, &value, NULL, &err_get), -EBADMSG);
	ck_assert_ptr_nonnull(strstr(err_get.text, "version 3 of prod/a"));
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_PREVIOUS, "prod-a-2"), 0);
	ck_assert_int_eq(put_text(&f, "prod/a", "heals", false), -EBADMSG);
	ck_assert_int_eq(put_text(&f, "prod/a", "heals", true), 0);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "heals"), 0);
	held_end(&f, &original);
}
END_TEST

START_TEST(a_damaged_ledger_leaves_reading)
{
	struct mayfly_error err_put = { 0 };
	const struct secret_reference reference = reference_of("prod/new");
	AUTO_SECRET value = { 0 };
	enum put_outcome outcome;
	struct bytes original;
	struct fixture f;
	uint32_t number;
	sqlite3 *file;

	held_begin(&f, &original);
	file = file_open(&f);
	file_run(file, "UPDATE store SET ledger = zeroblob(length(ledger))");
	sqlite3_close(file);
	ck_assert_uint_eq(held_examine(&f, "a damaged ledger").right, HELD_READABLE);
	fixture_open(&f);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	value = secret_of_text(&f, "x");
	ck_assert_int_eq(store_put(f.store, &reference, &value, false, &outcome, &number, &err_put),
		-EUCLEAN);
	ck_assert_ptr_nonnull(strstr(err_put.text, "ledger"));
	secret_done(&value);
	held_end(&f, &original);
}
END_TEST

START_TEST(a_flipped_bit_anywhere_gives_no_wrong_value)
{
	unsigned lost = 0, rounds = 0;
	struct bytes original;
	struct fixture f;

	held_begin(&f, &original);
	/* The whole header, then a bit in every 11 bytes. */
	for (size_t at = 0; at < original.length; at += at < 100 ? 1 : 11) {
		const unsigned char bit = (unsigned char)(1 << randombytes_uniform(8));
		char what[64];

		snprintf(what, sizeof what, "bit %#x of byte %zu", bit, at);
		original.bytes[at] ^= bit;
		bytes_write(fixture_path(&f, "store.db"), &original);
		lost += held_examine(&f, what).right < HELD_READABLE;
		original.bytes[at] ^= bit;
		(void)unlink(fixture_path(&f, "store.db-wal"));
		(void)unlink(fixture_path(&f, "store.db-journal"));
		rounds++;
	}
	/* Many bytes are empty space, but not nearly all. */
	ck_assert_uint_gt(lost, rounds / 50);
	held_end(&f, &original);
}
END_TEST

START_TEST(a_cut_file_gives_no_wrong_value)
{
	struct bytes original, cut;
	struct fixture f;

	held_begin(&f, &original);
	for (size_t length = 0; length < original.length; length += length < 200 ? 9 : 509) {
		char what[64];

		snprintf(what, sizeof what, "cut to %zu bytes", length);
		cut = original;
		cut.length = length;
		bytes_write(fixture_path(&f, "store.db"), &cut);
		held_assert_found(&f, what);
		(void)unlink(fixture_path(&f, "store.db-wal"));
	}
	held_end(&f, &original);
}
END_TEST

START_TEST(random_bytes_over_any_page_give_no_wrong_value)
{
	struct bytes original, changed;
	struct fixture f;

	held_begin(&f, &original);
	changed = original;
	changed.bytes = malloc(original.length);
	ck_assert_ptr_nonnull(changed.bytes);
	for (int round = 0; round < 200; round++) {
		const size_t length = 1 + randombytes_uniform(600);
		const size_t at = randombytes_uniform((uint32_t)(original.length - length));
		char what[64];

		memcpy(changed.bytes, original.bytes, original.length);
		randombytes_buf(changed.bytes + at, length);
		bytes_write(fixture_path(&f, "store.db"), &changed);
		snprintf(what, sizeof what, "%zu random bytes at %zu", length, at);
		(void)held_examine(&f, what);
		(void)unlink(fixture_path(&f, "store.db-wal"));
		(void)unlink(fixture_path(&f, "store.db-journal"));
	}
	free(changed.bytes);
	held_end(&f, &original);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, one_damaged_record_takes_no_other_away);
	tcase_add_test(cases, one_damaged_version_takes_no_other_away);
	tcase_add_test(cases, a_damaged_ledger_leaves_reading);
	tcase_add_test(cases, a_flipped_bit_anywhere_gives_no_wrong_value);
	tcase_add_test(cases, a_cut_file_gives_no_wrong_value);
	tcase_add_test(cases, random_bytes_over_any_page_give_no_wrong_value);
}

int main(void)
{
	return unit_test_run("store_damage", add);
}
