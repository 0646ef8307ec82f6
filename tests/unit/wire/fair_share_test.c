#include "daemon/broker/wire/fair_share.h"

#include "unit_test.h"

static const struct fair_limits limits = {
	.connections = 3, .requests_per_second = 10, .waits = 2
};

static unsigned take_all(struct fair_share *share, const struct fair_limits *of, uint64_t now_ms)
{
	unsigned taken = 0;

	while (fair_share_take(share, of, now_ms) == 0)
		taken++;
	return taken;
}

START_TEST(as_many_connections_as_the_limits_say)
{
	struct fair_shares *shares = fair_shares_new();
	struct fair_share *share = fair_share_join(shares, 7, &limits, 0);

	ck_assert_ptr_eq(fair_share_join(shares, 7, &limits, 0), share);
	ck_assert_ptr_eq(fair_share_join(shares, 7, &limits, 0), share);
	ck_assert_ptr_null(fair_share_join(shares, 7, &limits, 0));
	/* Somebody else's connections are not its. */
	ck_assert_ptr_nonnull(fair_share_join(shares, 8, &limits, 0));
	fair_share_leave(shares, share, 0);
	ck_assert_ptr_eq(fair_share_join(shares, 7, &limits, 0), share);
	fair_shares_free(shares);
}
END_TEST

START_TEST(a_burst_and_then_a_steady_rate)
{
	struct fair_shares *shares = fair_shares_new();
	struct fair_share *share = fair_share_join(shares, 7, &limits, 1000);

	ck_assert_uint_eq(take_all(share, &limits, 1000), 20);
	/* What it says of the next one is true. */
	ck_assert_uint_eq(fair_share_take(share, &limits, 1000), 101);
	ck_assert_uint_eq(take_all(share, &limits, 1099), 0);
	ck_assert_uint_eq(take_all(share, &limits, 1101), 1);
	ck_assert_uint_eq(take_all(share, &limits, 2105), 10);
	/* However long it was quiet, it never has more than the burst. */
	ck_assert_uint_eq(take_all(share, &limits, 10000000), 20);
	fair_shares_free(shares);
}
END_TEST

START_TEST(one_that_floods_leaves_the_others_what_is_theirs)
{
	struct fair_shares *shares = fair_shares_new();
	struct fair_share *loud = fair_share_join(shares, 7, &limits, 0);
	struct fair_share *quiet = fair_share_join(shares, 8, &limits, 0);

	(void)take_all(loud, &limits, 0);
	ck_assert_uint_eq(take_all(quiet, &limits, 0), 20);
	ck_assert(fair_share_wait(loud, &limits) && fair_share_wait(loud, &limits));
	ck_assert(!fair_share_wait(loud, &limits));
	ck_assert(fair_share_wait(quiet, &limits));
	fair_shares_free(shares);
}
END_TEST

START_TEST(reconnecting_fills_no_bucket)
{
	struct fair_shares *shares = fair_shares_new();
	struct fair_share *share = fair_share_join(shares, 7, &limits, 0);

	(void)take_all(share, &limits, 0);
	for (unsigned i = 1; i <= 20; i++) {
		fair_share_leave(shares, share, i);
		share = fair_share_join(shares, 7, &limits, i);
		ck_assert_uint_eq(take_all(share, &limits, i), 0);
	}
	fair_shares_free(shares);
}
END_TEST

START_TEST(what_was_dear_is_paid_for_afterwards)
{
	struct fair_shares *shares = fair_shares_new();
	struct fair_share *share = fair_share_join(shares, 7, &limits, 0);

	ck_assert_uint_eq(fair_share_take(share, &limits, 0), 0);
	fair_share_owe(share, 29);
	/* It had 20, and has taken 30. */
	ck_assert_uint_eq(fair_share_take(share, &limits, 0), 1101);
	ck_assert_uint_eq(fair_share_take(share, &limits, 1050), 51);
	ck_assert_uint_eq(take_all(share, &limits, 1105), 1);
	fair_shares_free(shares);
}
END_TEST

START_TEST(one_turn_each)
{
	struct fair_shares *shares = fair_shares_new();
	struct fair_share *loud = fair_share_join(shares, 7, &limits, 0);
	struct fair_share *quiet = fair_share_join(shares, 8, &limits, 0);

	ck_assert(fair_share_turn(loud, 1));
	ck_assert(!fair_share_turn(loud, 1));
	ck_assert(fair_share_turn(quiet, 1));
	ck_assert(fair_share_turn(loud, 2));
	ck_assert(!fair_share_turn(loud, 2));
	fair_shares_free(shares);
}
END_TEST

START_TEST(a_wait_that_is_over_makes_room_for_another)
{
	struct fair_shares *shares = fair_shares_new();
	struct fair_share *share = fair_share_join(shares, 7, &limits, 0);

	ck_assert(fair_share_wait(share, &limits) && fair_share_wait(share, &limits));
	ck_assert(!fair_share_wait(share, &limits));
	fair_share_wait_over(share);
	ck_assert(fair_share_wait(share, &limits));
	ck_assert(!fair_share_wait(share, &limits));
	fair_shares_free(shares);
}
END_TEST

START_TEST(other_limits_count_at_once)
{
	const struct fair_limits narrower = {
		.connections = 1, .requests_per_second = 1, .waits = 0
	};
	struct fair_shares *shares = fair_shares_new();
	struct fair_share *share = fair_share_join(shares, 7, &limits, 0);

	ck_assert_ptr_null(fair_share_join(shares, 7, &narrower, 0));
	ck_assert(!fair_share_wait(share, &narrower));
	ck_assert_uint_eq(take_all(share, &narrower, 0), 2);
	fair_shares_free(shares);
}
END_TEST

START_TEST(who_is_gone_is_forgotten)
{
	struct fair_shares *shares = fair_shares_new();

	/* Containers that come, ask and go, ten a second. */
	for (uint64_t key = 0; key < 1000; key++) {
		struct fair_share *share = fair_share_join(shares, key, &limits, key * 100);

		ck_assert_uint_eq(fair_share_take(share, &limits, key * 100), 0);
		fair_share_leave(shares, share, key * 100 + 50);
		ck_assert_uint_le(fair_shares_count(shares), 22);
	}
	fair_shares_free(shares);
}
END_TEST

START_TEST(nothing_is_freed_like_something)
{
	fair_shares_free(NULL);
	fair_shares_free(fair_shares_new());
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, as_many_connections_as_the_limits_say);
	tcase_add_test(cases, a_burst_and_then_a_steady_rate);
	tcase_add_test(cases, one_that_floods_leaves_the_others_what_is_theirs);
	tcase_add_test(cases, reconnecting_fills_no_bucket);
	tcase_add_test(cases, what_was_dear_is_paid_for_afterwards);
	tcase_add_test(cases, one_turn_each);
	tcase_add_test(cases, a_wait_that_is_over_makes_room_for_another);
	tcase_add_test(cases, other_limits_count_at_once);
	tcase_add_test(cases, who_is_gone_is_forgotten);
	tcase_add_test(cases, nothing_is_freed_like_something);
}

int main(void)
{
	return unit_test_run("fair_share", add);
}
