#include "store_fixture.h"

#include "daemon/broker/store/store_prepared.h"
#include "unit_test.h"

#include <errno.h>
#include <stdio.h>

static int prepare_text(
	struct fixture *f, const char *name, const char *text, uint32_t *ret_version)
{
	const struct secret_reference reference = reference_of(name);
	AUTO_SECRET value = { 0 };
	enum put_outcome outcome = PUT_INVALID;
	int r;

	if (text)
		value = secret_of_text(f, text);
	r = store_prepare(f->store, &reference, text ? &value : NULL, &outcome, ret_version, NULL);
	return r == 0 && outcome == PUT_UNCHANGED ? 1 : r;
}

static void put_two(struct fixture *f)
{
	fixture_begin_store(f);
	ck_assert_int_eq(put_text(f, "prod/a", "a1", false), 0);
	ck_assert_int_eq(put_text(f, "prod/b", "b1", false), 0);
}

START_TEST(a_prepared_version_is_durable_and_nobody_gets_it)
{
	struct secret_info info;
	struct fixture f;
	uint32_t version;

	put_two(&f);
	ck_assert_int_eq(prepare_text(&f, "prod/a", "a2", &version), 0);
	ck_assert_uint_eq(version, 2);
	fixture_reopen_unlocked(&f);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "a1"), 0);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_PREPARED, "a2"), 0);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_PREVIOUS, ""), -ENOENT);
	MUST(store_info(f.store, &(struct secret_reference){ "prod", "a" }, &info, err));
	ck_assert_uint_eq(info.prepared, 2);
	ck_assert_uint_eq(info.current, 1);
	ck_assert_int_eq(prepare_text(&f, "prod/a", "a3", &version), -EALREADY);
	ck_assert_int_eq(prepare_text(&f, "prod/b", "b1", &version), 1);
	ck_assert_int_eq(prepare_text(&f, "prod/c", "c1", &version), -ENOENT);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	fixture_end(&f);
}
END_TEST

START_TEST(a_discarded_version_is_gone_and_its_number_is_not_used_again)
{
	struct fixture f;
	uint32_t version;

	put_two(&f);
	ck_assert_int_eq(prepare_text(&f, "prod/a", "a2", &version), 0);
	MUST(store_discard(f.store, &(struct secret_reference){ "prod", "a" }, &version, err));
	ck_assert_uint_eq(version, 2);
	ck_assert_int_eq(
		store_discard(f.store, &(struct secret_reference){ "prod", "a" }, &version, NULL),
		-ENOENT);
	ck_assert_int_eq(get_text(&f, "prod/a", 2, "a2"), -ENOENT);
	ck_assert_int_eq(prepare_text(&f, "prod/a", "a3", &version), 0);
	ck_assert_uint_eq(version, 3);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	fixture_end(&f);
}
END_TEST

START_TEST(several_are_put_into_force_together_or_not_at_all)
{
	struct store_change changes[] = { { .reference = { "prod", "a" } },
		{ .reference = { "prod", "b" } } };
	struct fixture f;
	uint32_t version;

	put_two(&f);
	ck_assert_int_eq(prepare_text(&f, "prod/a", "a2", &version), 0);
	ck_assert_int_eq(store_activate(f.store, changes, 2, NULL), -ENOENT);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "a1"), 0);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_PREPARED, "a2"), 0);
	ck_assert_int_eq(prepare_text(&f, "prod/b", "b2", &version), 0);
	MUST(store_activate(f.store, changes, 2, err));
	ck_assert_uint_eq(changes[0].before, 1);
	ck_assert_uint_eq(changes[1].after, 2);
	fixture_reopen_unlocked(&f);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "a2"), 0);
	ck_assert_int_eq(get_text(&f, "prod/b", VERSION_CURRENT, "b2"), 0);
	ck_assert_int_eq(get_text(&f, "prod/b", VERSION_PREVIOUS, "b1"), 0);
	ck_assert_int_eq(get_text(&f, "prod/b", VERSION_PREPARED, ""), -ENOENT);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	fixture_end(&f);
}
END_TEST

START_TEST(a_restored_value_is_a_further_version)
{
	struct store_change changes[] = { { .reference = { "prod", "a" } },
		{ .reference = { "prod", "b" } } };
	struct fixture f;
	uint32_t version;

	put_two(&f);
	ck_assert_int_eq(prepare_text(&f, "prod/a", "a2", &version), 0);
	ck_assert_int_eq(prepare_text(&f, "prod/b", "b2", &version), 0);
	MUST(store_activate(f.store, changes, 2, err));
	MUST(store_restore(f.store, changes, 2, err));
	ck_assert_uint_eq(changes[0].before, 2);
	ck_assert_uint_eq(changes[0].after, 3);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "a1"), 0);
	ck_assert_int_eq(get_text(&f, "prod/b", VERSION_CURRENT, "b1"), 0);
	ck_assert_int_eq(get_text(&f, "prod/b", VERSION_PREVIOUS, "b2"), 0);
	/* One of them has moved on: neither changes. */
	ck_assert_int_eq(put_text(&f, "prod/b", "b9", true), 0);
	ck_assert_int_eq(store_restore(f.store, changes, 2, NULL), -EALREADY);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "a1"), 0);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	fixture_end(&f);
}
END_TEST

START_TEST(the_previous_value_can_be_prepared_again)
{
	struct store_change change = { .reference = { "prod", "a" } };
	struct fixture f;
	uint32_t version;

	put_two(&f);
	ck_assert_int_eq(prepare_text(&f, "prod/a", NULL, &version), -ENOENT);
	ck_assert_int_eq(put_text(&f, "prod/a", "a2", true), 0);
	ck_assert_int_eq(prepare_text(&f, "prod/a", NULL, &version), 0);
	MUST(store_activate(f.store, &change, 1, err));
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "a1"), 0);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_PREVIOUS, "a2"), 0);
	fixture_end(&f);
}
END_TEST

START_TEST(what_was_staged_meanwhile_comes_before_what_was_prepared)
{
	struct store_change change = { .reference = { "prod", "a" } };
	struct fixture f;
	uint32_t version;

	put_two(&f);
	ck_assert_int_eq(prepare_text(&f, "prod/a", "prepared", &version), 0);
	ck_assert_int_eq(put_text(&f, "prod/a", "staged", true), 0);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_PREVIOUS, "a1"), 0);
	MUST(store_activate(f.store, &change, 1, err));
	ck_assert_uint_eq(change.before, 3);
	ck_assert_uint_eq(change.after, 4);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "prepared"), 0);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_PREVIOUS, "staged"), 0);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	fixture_end(&f);
}
END_TEST

START_TEST(the_limit_on_versions_spares_what_is_prepared_and_what_is_current)
{
	const struct secret_reference reference = { "prod", "a" };
	struct store_change change = { .reference = reference };
	struct fixture f;
	uint32_t version, destroyed;
	char text[8];

	put_two(&f);
	MUST(store_keep(f.store, &reference, 1, &destroyed, err));
	ck_assert_int_eq(prepare_text(&f, "prod/a", "a2", &version), 0);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "a1"), 0);
	MUST(store_keep(f.store, &reference, 1, &destroyed, err));
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "a1"), 0);
	for (int i = 0; i < 5; i++) {
		(void)snprintf(text, sizeof text, "s%d", i);
		ck_assert_int_eq(put_text(&f, "prod/a", text, true), 0);
		ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, text), 0);
		ck_assert_int_eq(get_text(&f, "prod/a", VERSION_PREPARED, "a2"), 0);
	}
	MUST(store_activate(f.store, &change, 1, err));
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "a2"), 0);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_PREVIOUS, "s4"), 0);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	fixture_end(&f);
}
END_TEST

START_TEST(a_prepared_version_survives_another_root_key)
{
	AUTO_SECRET recovery = { 0 };
	struct fixture f;
	uint32_t version;

	put_two(&f);
	ck_assert_int_eq(prepare_text(&f, "prod/a", "a2", &version), 0);
	MUST(store_rotate_root_key(f.store, &f.host_key, NULL, &recovery, &(uint64_t){ 0 }, err));
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_PREPARED, "a2"), 0);
	secret_done(&recovery);
	fixture_end(&f);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, a_prepared_version_is_durable_and_nobody_gets_it);
	tcase_add_test(cases, a_discarded_version_is_gone_and_its_number_is_not_used_again);
	tcase_add_test(cases, several_are_put_into_force_together_or_not_at_all);
	tcase_add_test(cases, a_restored_value_is_a_further_version);
	tcase_add_test(cases, the_previous_value_can_be_prepared_again);
	tcase_add_test(cases, what_was_staged_meanwhile_comes_before_what_was_prepared);
	tcase_add_test(cases, the_limit_on_versions_spares_what_is_prepared_and_what_is_current);
	tcase_add_test(cases, a_prepared_version_survives_another_root_key);
}

int main(void)
{
	return unit_test_run("store_prepared", add);
}
