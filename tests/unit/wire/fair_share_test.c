#include "daemon/broker/wire/fair_share.h"
#include "unit_test.h"

#define CALLER 7

static const struct fair_limits limits = {
	.connections = 64, .requests_per_second = 100, .waits = 2
};

static struct fair_shares *shares;

static void set_up(void)
{
	shares = fair_shares_new();
	ck_assert_ptr_nonnull(shares);
}

static void tear_down(void)
{
	fair_shares_free(shares);
}

static struct fair_share *join(uint64_t key, uint64_t now_ms)
{
	return fair_share_join(shares, key, &limits, now_ms);
}

START_TEST(a_caller_has_as_many_connections_as_it_may)
{
	struct fair_share *share = NULL;

	for (int i = 0; i < 64; i++) {
		share = join(CALLER, 0);
		ck_assert_ptr_nonnull(share);
	}
	ck_assert_ptr_null(join(CALLER, 0));
	ck_assert_ptr_nonnull(join(CALLER + 1, 0));
	fair_share_leave(shares, share, 0);
	ck_assert_ptr_nonnull(join(CALLER, 0));
}
END_TEST

START_TEST(twice_the_rate_is_there_at_once)
{
	struct fair_share *share = join(CALLER, 0);

	for (int i = 0; i < 200; i++)
		ck_assert_uint_eq(fair_share_take(share, &limits, 0), 0);
	ck_assert_uint_gt(fair_share_take(share, &limits, 0), 0);
}
END_TEST

/* They waited for the same turn, and all took it. */
START_TEST(many_connections_have_together_what_one_has)
{
	struct fair_share *share = join(CALLER, 0);
	uint64_t turn_ms[64] = { 0 };
	unsigned answered = 0;

	for (uint64_t now_ms = 0; now_ms < 2000; now_ms++)
		for (int i = 0; i < 64; i++)
			if (turn_ms[i] <= now_ms) {
				answered += turn_ms[i] > 0 || now_ms > 0;
				turn_ms[i] = now_ms + fair_share_take(share, &limits, now_ms);
			}
	/* The bucket of 200, and 100 in each of two seconds. */
	ck_assert_uint_ge(answered, 300);
	ck_assert_uint_le(answered, 410);
}
END_TEST

START_TEST(what_is_owed_has_an_end)
{
	struct fair_share *share = join(CALLER, 0);

	for (int i = 0; i < 10000; i++)
		(void)fair_share_take(share, &limits, 0);
	ck_assert_uint_le(fair_share_take(share, &limits, 0), 641);
	ck_assert_uint_eq(fair_share_take(share, &limits, 1000), 0);
}
END_TEST

START_TEST(coming_again_fills_no_bucket)
{
	struct fair_share *share = join(CALLER, 0);

	for (int i = 0; i < 200; i++)
		(void)fair_share_take(share, &limits, 0);
	fair_share_leave(shares, share, 0);
	share = join(CALLER, 1);
	ck_assert_uint_gt(fair_share_take(share, &limits, 1), 0);
	fair_share_leave(shares, share, 1);
	fair_share_leave(shares, join(CALLER + 1, 3000), 6000);
	ck_assert_uint_le(fair_shares_count(shares), 1);
}
END_TEST

START_TEST(as_many_wait_as_may)
{
	struct fair_share *share = join(CALLER, 0);

	ck_assert(fair_share_wait(share, &limits));
	ck_assert(fair_share_wait(share, &limits));
	ck_assert(!fair_share_wait(share, &limits));
	fair_share_wait_over(share);
	ck_assert(fair_share_wait(share, &limits));
}
END_TEST

START_TEST(of_many_refusals_a_few_are_recorded)
{
	struct fair_share *share = join(CALLER, 0);
	unsigned recorded = 0, unrecorded = 0;

	for (uint64_t now_ms = 0; now_ms < 100000; now_ms += 10)
		recorded += fair_share_record(share, now_ms, &unrecorded);
	ck_assert_uint_eq(recorded, 16 + 9);
	ck_assert(fair_share_record(share, 100000, &unrecorded));
	ck_assert_uint_eq(unrecorded, 999);
	ck_assert(fair_share_record(join(CALLER + 1, 100000), 100000, &unrecorded));
	ck_assert_uint_eq(unrecorded, 0);
}
END_TEST

START_TEST(coming_again_records_no_more)
{
	struct fair_share *share = join(CALLER, 0);
	unsigned unrecorded;

	while (fair_share_record(share, 0, &unrecorded))
		continue;
	fair_share_leave(shares, share, 5000);
	fair_share_leave(shares, join(CALLER + 1, 5000), 9000);
	share = join(CALLER, 9000);
	ck_assert(!fair_share_record(share, 9000, &unrecorded));
	fair_share_leave(shares, share, 9000);
	/* It is forgotten when it has nothing left to wait for. */
	fair_share_leave(shares, join(CALLER + 2, 9000), 170000);
	ck_assert_uint_eq(fair_shares_count(shares), 0);
}
END_TEST

START_TEST(one_turn_each)
{
	struct fair_share *loud = join(CALLER, 0), *quiet = join(CALLER + 1, 0);

	ck_assert(fair_share_turn(loud, 1));
	ck_assert(!fair_share_turn(loud, 1));
	ck_assert(fair_share_turn(quiet, 1));
	ck_assert(fair_share_turn(loud, 2));
	ck_assert(!fair_share_turn(loud, 2));
}
END_TEST

START_TEST(what_was_dear_is_paid_for_afterwards)
{
	struct fair_share *share = join(CALLER, 0);

	ck_assert_uint_eq(fair_share_take(share, &limits, 0), 0);
	fair_share_owe(share, 219);
	/* It had 200, and has taken 221 with this one. */
	ck_assert_uint_eq(fair_share_take(share, &limits, 0), 211);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_checked_fixture(cases, set_up, tear_down);
	tcase_add_test(cases, a_caller_has_as_many_connections_as_it_may);
	tcase_add_test(cases, twice_the_rate_is_there_at_once);
	tcase_add_test(cases, many_connections_have_together_what_one_has);
	tcase_add_test(cases, what_is_owed_has_an_end);
	tcase_add_test(cases, coming_again_fills_no_bucket);
	tcase_add_test(cases, as_many_wait_as_may);
	tcase_add_test(cases, one_turn_each);
	tcase_add_test(cases, what_was_dear_is_paid_for_afterwards);
	tcase_add_test(cases, of_many_refusals_a_few_are_recorded);
	tcase_add_test(cases, coming_again_records_no_more);
}

int main(void)
{
	return unit_test_run("fair_share", add);
}
