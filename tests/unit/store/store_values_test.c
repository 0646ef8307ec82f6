#include "store_fixture.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define ARENA_PAGES 4096

static const struct {
	const char *name;
	size_t bytes;
	int fill; /* -1: random */
	int expected;
} lengths[] = {
	{ "no byte is refused", 0, 'x', -EINVAL },
	{ "one byte", 1, 'x', 0 },
	{ "one zero byte", 1, 0, 0 },
	{ "the whole of the smallest class", 64, -1, 0 },
	{ "one more than the smallest class", 65, -1, 0 },
	{ "256 zero bytes", 256, 0, 0 },
	{ "1025 random bytes", 1025, -1, 0 },
	{ "4096 random bytes", 4096, -1, 0 },
	{ "4097 random bytes", 4097, -1, 0 },
	{ "one less than the limit", MAYFLY_VALUE_MAX_BYTES - 1, -1, 0 },
	{ "the limit", MAYFLY_VALUE_MAX_BYTES, -1, 0 },
	{ "one more than the limit is refused", MAYFLY_VALUE_MAX_BYTES + 1, -1, -EFBIG },
};

START_TEST(a_value_comes_back_as_it_went_in)
{
	const struct secret_reference reference = reference_of("prod/db");
	AUTO_SECRET value = { 0 }, back = { 0 };
	enum put_outcome outcome;
	struct fixture f;
	uint32_t version;
	int r;

	fixture_begin_store(&f);
	ck_assert_int_eq(secret_new(f.arena, lengths[_i].bytes, &value, NULL), 0);
	if (lengths[_i].fill < 0)
		randombytes_buf(value.bytes, value.length);
	else if (value.length > 0)
		memset(value.bytes, lengths[_i].fill, value.length);
	r = store_put(f.store, &reference, &value, false, &outcome, &version, NULL);
	ck_assert_msg(r == lengths[_i].expected, "%s: %d", lengths[_i].name, r);
	if (r == 0) {
		ck_assert_int_eq(outcome, PUT_CREATED);
		ck_assert_uint_eq(version, 1);
		fixture_reopen_unlocked(&f);
		MUST(store_get(f.store, &reference, VERSION_CURRENT, &back, &version, err));
		ck_assert_uint_eq(version, 1);
		ck_assert_msg(secret_equal(&value, &back), "%s", lengths[_i].name);
	}
	secret_done(&value);
	secret_done(&back);
	fixture_end(&f);
}
END_TEST

START_TEST(the_same_bytes_are_unchanged_and_others_need_stage)
{
	const struct secret_reference reference = reference_of("prod/db");
	AUTO_SECRET value = { 0 };
	enum put_outcome outcome;
	struct fixture f;
	uint32_t version;

	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/db", "one", false), 0);
	value = secret_of_text(&f, "one");
	MUST(store_put(f.store, &reference, &value, false, &outcome, &version, err));
	ck_assert_int_eq(outcome, PUT_UNCHANGED);
	MUST(store_put(f.store, &reference, &value, true, &outcome, &version, err));
	ck_assert_int_eq(outcome, PUT_UNCHANGED);
	ck_assert_uint_eq(version, 1);
	secret_done(&value);
	ck_assert_int_eq(put_text(&f, "prod/db", "two", false), -EEXIST);
	ck_assert_int_eq(get_text(&f, "prod/db", VERSION_CURRENT, "one"), 0);
	value = secret_of_text(&f, "two");
	MUST(store_put(f.store, &reference, &value, true, &outcome, &version, err));
	ck_assert_int_eq(outcome, PUT_STAGED);
	ck_assert_uint_eq(version, 2);
	secret_done(&value);
	ck_assert_int_eq(get_text(&f, "prod/db", VERSION_CURRENT, "two"), 0);
	ck_assert_int_eq(get_text(&f, "prod/db", VERSION_PREVIOUS, "one"), 0);
	/* An older value is other bytes, not the same. */
	ck_assert_int_eq(put_text(&f, "prod/db", "one", false), -EEXIST);
	ck_assert_int_eq(get_text(&f, "prod/db", 1, "one"), 0);
	ck_assert_int_eq(get_text(&f, "prod/db", 3, ""), -ENOENT);
	ck_assert_int_eq(get_text(&f, "prod/db", 0, ""), -ENOENT);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	fixture_end(&f);
}
END_TEST

START_TEST(names_and_sets_do_not_meet)
{
	struct fixture f;

	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/a/b", "1", false), 0);
	ck_assert_int_eq(put_text(&f, "dev/a/b", "2", false), 0);
	ck_assert_int_eq(put_text(&f, "prod/a", "3", false), 0);
	ck_assert_int_eq(get_text(&f, "prod/a/b", VERSION_CURRENT, "1"), 0);
	ck_assert_int_eq(get_text(&f, "dev/a/b", VERSION_CURRENT, "2"), 0);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "3"), 0);
	ck_assert_int_eq(get_text(&f, "dev/a", VERSION_CURRENT, ""), -ENOENT);
	ck_assert_int_eq(get_text(&f, "prod/a/b", VERSION_PREVIOUS, ""), -ENOENT);
	fixture_end(&f);
}
END_TEST

START_TEST(the_longest_names_and_most_versions_fit)
{
	char text[MAYFLY_REFERENCE_MAX + 1], value[16];
	struct secret_reference reference;
	struct version_info versions[MAYFLY_VERSIONS_KEPT_MAX];
	struct secret_info info;
	uint32_t destroyed;
	struct fixture f;
	size_t count;

	memset(text, 'a', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	text[MAYFLY_SET_NAME_MAX] = '/';
	reference = reference_of(text);
	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, text, "0", false), 0);
	MUST(store_keep(f.store, &reference, MAYFLY_VERSIONS_KEPT_MAX, &destroyed, err));
	for (int i = 1; i <= 105; i++) {
		snprintf(value, sizeof value, "%d", i);
		ck_assert_int_eq(put_text(&f, text, value, true), 0);
	}
	MUST(store_info(f.store, &reference, &info, err));
	ck_assert_str_eq(info.name, reference.name);
	ck_assert_uint_eq(info.versions, MAYFLY_VERSIONS_KEPT_MAX);
	ck_assert_uint_eq(info.current, 106);
	MUST(store_history(f.store, &reference, versions, 100, &count, err));
	ck_assert_uint_eq(count, 100);
	ck_assert_uint_eq(versions[0].number, 106);
	ck_assert_uint_eq(versions[99].number, 7);
	ck_assert_int_eq(get_text(&f, text, 7, "6"), 0);
	ck_assert_int_eq(get_text(&f, text, 6, ""), -ENOENT);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	fixture_end(&f);
}
END_TEST

START_TEST(what_is_above_the_limit_is_destroyed_oldest_first)
{
	const struct secret_reference reference = reference_of("prod/db");
	struct secret_info info;
	uint32_t destroyed;
	struct fixture f;
	char value[16];

	fixture_begin_store(&f);
	for (int i = 1; i <= 12; i++) {
		snprintf(value, sizeof value, "value-%d", i);
		ck_assert_int_eq(put_text(&f, "prod/db", value, i > 1), 0);
	}
	MUST(store_info(f.store, &reference, &info, err));
	ck_assert_uint_eq(info.versions, MAYFLY_VERSIONS_KEPT_DEFAULT);
	ck_assert_uint_eq(info.keep, MAYFLY_VERSIONS_KEPT_DEFAULT);
	ck_assert_int_eq(get_text(&f, "prod/db", 2, ""), -ENOENT);
	ck_assert_int_eq(get_text(&f, "prod/db", 3, "value-3"), 0);
	MUST(store_keep(f.store, &reference, 2, &destroyed, err));
	ck_assert_uint_eq(destroyed, 8);
	ck_assert_int_eq(get_text(&f, "prod/db", 10, ""), -ENOENT);
	ck_assert_int_eq(get_text(&f, "prod/db", VERSION_PREVIOUS, "value-11"), 0);
	MUST(store_keep(f.store, &reference, 1, &destroyed, err));
	ck_assert_uint_eq(destroyed, 1);
	ck_assert_int_eq(put_text(&f, "prod/db", "last", true), 0);
	ck_assert_int_eq(get_text(&f, "prod/db", 13, "last"), 0);
	ck_assert_int_eq(get_text(&f, "prod/db", VERSION_PREVIOUS, ""), -ENOENT);
	ck_assert_int_eq(store_keep(f.store, &reference, 0, &destroyed, NULL), -EINVAL);
	ck_assert_int_eq(store_keep(f.store, &reference, 101, &destroyed, NULL), -EINVAL);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	fixture_end(&f);
}
END_TEST

START_TEST(a_removed_secret_is_hidden_until_undelete)
{
	const struct secret_reference reference = reference_of("prod/db");
	struct secret_info info;
	struct fixture f;
	uint32_t number;
	uint64_t count;

	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/db", "one", false), 0);
	ck_assert_int_eq(put_text(&f, "prod/db", "two", true), 0);
	ck_assert_int_eq(store_undelete(f.store, &reference, &number, NULL), -EEXIST);
	MUST(store_remove(f.store, &reference, false, &number, err));
	ck_assert_uint_eq(number, 2);
	fixture_reopen_unlocked(&f);
	ck_assert_int_eq(get_text(&f, "prod/db", VERSION_CURRENT, ""), -ENOENT);
	ck_assert_int_eq(get_text(&f, "prod/db", 1, ""), -ENOENT);
	ck_assert_int_eq(put_text(&f, "prod/db", "two", false), -EEXIST);
	ck_assert_int_eq(put_text(&f, "prod/db", "three", true), -EEXIST);
	ck_assert_int_eq(store_remove(f.store, &reference, false, &number, NULL), -ENOENT);
	ck_assert_int_eq(store_keep(f.store, &reference, 1, &number, NULL), -ENOENT);
	MUST(store_count(f.store, "prod", &count, err));
	ck_assert_uint_eq(count, 0);
	MUST(store_info(f.store, &reference, &info, err));
	ck_assert_int_gt(info.removed_unix_s, 0);
	MUST(store_undelete(f.store, &reference, &number, err));
	ck_assert_uint_eq(number, 2);
	ck_assert_int_eq(get_text(&f, "prod/db", VERSION_CURRENT, "two"), 0);
	ck_assert_int_eq(get_text(&f, "prod/db", 1, "one"), 0);
	MUST(store_info(f.store, &reference, &info, err));
	ck_assert_int_eq(info.removed_unix_s, 0);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	fixture_end(&f);
}
END_TEST

START_TEST(a_purged_secret_is_gone_and_its_name_is_free)
{
	const struct secret_reference reference = reference_of("prod/db");
	struct fixture f;
	uint32_t number;
	uint64_t records;

	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/db", "one", false), 0);
	ck_assert_int_eq(put_text(&f, "prod/db", "two", true), 0);
	ck_assert_int_eq(put_text(&f, "prod/other", "stays", false), 0);
	MUST(store_remove(f.store, &reference, false, &number, err));
	MUST(store_remove(f.store, &reference, true, &number, err));
	ck_assert_uint_eq(number, 2);
	ck_assert_int_eq(store_remove(f.store, &reference, true, &number, NULL), -ENOENT);
	ck_assert_int_eq(store_undelete(f.store, &reference, &number, NULL), -ENOENT);
	ck_assert_int_eq(put_text(&f, "prod/db", "anew", false), 0);
	ck_assert_int_eq(get_text(&f, "prod/db", 1, "anew"), 0);
	ck_assert_int_eq(get_text(&f, "prod/other", VERSION_CURRENT, "stays"), 0);
	MUST(store_verify(f.store, &records, err));
	ck_assert_uint_eq(records, 4);
	fixture_end(&f);
}
END_TEST

START_TEST(a_list_is_sorted_and_counts_tell_live_from_removed)
{
	static const char *const names[] = { "prod/b", "prod/a/z", "prod/c", "prod/a", "dev/x" };
	AUTO_FREE struct secret_info *list = NULL;
	const struct secret_reference removed = reference_of("prod/c");
	struct fixture f;
	uint64_t count;
	uint32_t number;
	size_t listed;

	fixture_begin_store(&f);
	MUST(store_list(f.store, "prod", &list, &listed, err));
	ck_assert_uint_eq(listed, 0);
	free_p(&list);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		ck_assert_int_eq(put_text(&f, names[i], names[i], false), 0);
	MUST(store_remove(f.store, &removed, false, &number, err));
	MUST(store_list(f.store, "prod", &list, &listed, err));
	ck_assert_uint_eq(listed, 4);
	ck_assert_str_eq(list[0].name, "a");
	ck_assert_str_eq(list[1].name, "a/z");
	ck_assert_str_eq(list[2].name, "b");
	ck_assert_str_eq(list[3].name, "c");
	ck_assert_int_eq(list[0].removed_unix_s, 0);
	ck_assert_int_gt(list[3].removed_unix_s, 0);
	store_lock(f.store);
	MUST(store_count(f.store, "prod", &count, err));
	ck_assert_uint_eq(count, 3);
	MUST(store_count(f.store, NULL, &count, err));
	ck_assert_uint_eq(count, 4);
	MUST(store_count(f.store, "staging", &count, err));
	ck_assert_uint_eq(count, 0);
	fixture_end(&f);
}
END_TEST

START_TEST(nothing_works_without_a_store)
{
	const struct secret_reference reference = reference_of("prod/db");
	AUTO_FREE struct secret_info *list = NULL;
	AUTO_SECRET value = { 0 };
	struct fixture f;
	uint64_t count;
	size_t listed;

	fixture_begin(&f, NULL);
	fixture_open(&f);
	ck_assert_int_eq(store_state(f.store, NULL), STORE_UNINITIALISED);
	ck_assert_int_eq(put_text(&f, "prod/db", "x", false), -ENODATA);
	ck_assert_int_eq(get_text(&f, "prod/db", VERSION_CURRENT, ""), -ENODATA);
	ck_assert_int_eq(store_list(f.store, "prod", &list, &listed, NULL), -ENODATA);
	ck_assert_int_eq(store_count(f.store, NULL, &count, NULL), -ENODATA);
	ck_assert_int_eq(store_verify(f.store, &count, NULL), -ENODATA);
	ck_assert_int_eq(store_audit_key(f.store, &value, NULL), -ENODATA);
	ck_assert_int_eq(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, NULL), -ENODATA);
	ck_assert_int_eq(
		store_info(f.store, &reference, &(struct secret_info){ 0 }, NULL), -ENODATA);
	fixture_end(&f);
}
END_TEST

START_TEST(nothing_secret_works_while_locked)
{
	const struct secret_reference reference = reference_of("prod/db");
	AUTO_FREE struct secret_info *list = NULL;
	struct version_info versions[1];
	AUTO_SECRET value = { 0 };
	struct fixture f;
	uint32_t number;
	uint64_t records;
	size_t listed;

	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/db", "x", false), 0);
	store_lock(f.store);
	ck_assert_int_eq(store_state(f.store, NULL), STORE_LOCKED);
	ck_assert_int_eq(put_text(&f, "prod/db", "x", false), -ENOKEY);
	ck_assert_int_eq(get_text(&f, "prod/db", VERSION_CURRENT, ""), -ENOKEY);
	ck_assert_int_eq(store_remove(f.store, &reference, true, &number, NULL), -ENOKEY);
	ck_assert_int_eq(store_undelete(f.store, &reference, &number, NULL), -ENOKEY);
	ck_assert_int_eq(store_keep(f.store, &reference, 1, &number, NULL), -ENOKEY);
	ck_assert_int_eq(store_history(f.store, &reference, versions, 1, &listed, NULL), -ENOKEY);
	ck_assert_int_eq(store_list(f.store, "prod", &list, &listed, NULL), -ENOKEY);
	ck_assert_int_eq(store_audit_key(f.store, &value, NULL), -ENOKEY);
	ck_assert_int_eq(store_verify(f.store, &records, NULL), -ENOKEY);
	ck_assert_int_eq(store_slot_remove(f.store, 1, NULL), -ENOKEY);
	ck_assert_int_eq(store_slot_add(f.store, SLOT_RECOVERY, NULL, &value, NULL, NULL), -ENOKEY);
	ck_assert_int_eq(
		store_rotate_root_key(f.store, NULL, NULL, &value, &records, NULL), -ENOKEY);
	fixture_end(&f);
}
END_TEST

#define THREADS 4
#define ROUNDS	50

struct worker {
	struct fixture *fixture;
	unsigned number;
	pthread_t thread;
	int wrong;
};

static void *work(void *argument)
{
	struct worker *worker = argument;
	char name[32], value[32];

	for (unsigned i = 0; i < ROUNDS; i++) {
		snprintf(name, sizeof name, "prod/t%u-%u", worker->number, i);
		snprintf(value, sizeof value, "value %u %u", worker->number, i);
		worker->wrong += put_text(worker->fixture, name, value, false) != 0;
		worker->wrong += get_text(worker->fixture, name, VERSION_CURRENT, value) != 0;
		worker->wrong += put_text(worker->fixture, "prod/shared", value, true) != 0;
	}
	return NULL;
}

START_TEST(threads_work_side_by_side)
{
	struct worker workers[THREADS];
	uint64_t records = 0;
	struct fixture f;
	int r;

	fixture_begin_store(&f);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .fixture = &f, .number = i };
		ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	/* Verifying while others write must not find anything. */
	r = store_verify(f.store, &records, NULL);
	ck_assert_int_eq(r, 0);
	for (unsigned i = 0; i < THREADS; i++) {
		ck_assert_int_eq(pthread_join(workers[i].thread, NULL), 0);
		ck_assert_int_eq(workers[i].wrong, 0);
	}
	MUST(store_verify(f.store, &records, err));
	ck_assert_uint_eq(records, THREADS * ROUNDS * 2 + 1 + MAYFLY_VERSIONS_KEPT_DEFAULT);
	fixture_end(&f);
}
END_TEST

START_TEST(a_full_arena_refuses_and_changes_nothing)
{
	const struct secret_reference reference = reference_of("prod/db");
	AUTO_SECRET value = { 0 }, back = { 0 };
	struct secret hogs[ARENA_PAGES];
	enum put_outcome outcome;
	size_t taken = 0;
	struct fixture f;
	uint32_t version;

	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/db", "one", false), 0);
	value = secret_of_text(&f, "two");
	while (secret_new(f.arena, 1, &hogs[taken], NULL) == 0)
		taken++;
	ck_assert_int_eq(
		store_put(f.store, &reference, &value, true, &outcome, &version, NULL), -ENOMEM);
	ck_assert_int_eq(
		store_get(f.store, &reference, VERSION_CURRENT, &back, NULL, NULL), -ENOMEM);
	while (taken > 0)
		secret_done(&hogs[--taken]);
	secret_done(&value);
	ck_assert_int_eq(get_text(&f, "prod/db", VERSION_CURRENT, "one"), 0);
	ck_assert_int_eq(put_text(&f, "prod/db", "two", true), 0);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	fixture_end(&f);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(
		cases, a_value_comes_back_as_it_went_in, 0, sizeof lengths / sizeof lengths[0]);
	tcase_add_test(cases, the_same_bytes_are_unchanged_and_others_need_stage);
	tcase_add_test(cases, names_and_sets_do_not_meet);
	tcase_add_test(cases, the_longest_names_and_most_versions_fit);
	tcase_add_test(cases, what_is_above_the_limit_is_destroyed_oldest_first);
	tcase_add_test(cases, a_removed_secret_is_hidden_until_undelete);
	tcase_add_test(cases, a_purged_secret_is_gone_and_its_name_is_free);
	tcase_add_test(cases, a_list_is_sorted_and_counts_tell_live_from_removed);
	tcase_add_test(cases, nothing_works_without_a_store);
	tcase_add_test(cases, nothing_secret_works_while_locked);
	tcase_add_test(cases, threads_work_side_by_side);
	tcase_add_test(cases, a_full_arena_refuses_and_changes_nothing);
}

int main(void)
{
	return unit_test_run("store_values", add);
}
