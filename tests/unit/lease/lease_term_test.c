#include "daemon/broker/lease/term/lease_term.h"

#include "unit_test.h"

#define NOW 5000000 /* ms */
#define S   1000

/* --- several grants in one delivery --- */

static const struct {
	const char *reads_as;
	struct grant_lease grants[3];
	size_t count;
	struct lease_term expected;
} plans[] = {
	{ "one grant's own", { { 90, 0, false } }, 1, { .ttl_s = 90 } },
	{ "the shorter period counts", { { 3600, 0, false }, { 60, 0, false } }, 2,
		{ .ttl_s = 60 } },
	{ "a hard end counts beside none", { { 60, 0, false }, { 60, 500, false } }, 2,
		{ .ttl_s = 60, .max_ttl_s = 500 } },
	{ "the shorter hard end counts",
		{ { 60, 900, false }, { 60, 500, false }, { 60, 0, false } }, 3,
		{ .ttl_s = 60, .max_ttl_s = 500 } },
	{ "one that empties is enough", { { 60, 0, false }, { 70, 0, true } }, 2,
		{ .ttl_s = 60, .empties_unrenewed = true } },
};

START_TEST(the_shortest_counts)
{
	struct policy_grant grants[3] = { 0 };
	struct plan_file files[3] = { 0 };
	const struct plan plan = { .files = files, .files_count = plans[_i].count };
	struct lease_term term;

	for (size_t i = 0; i < plans[_i].count; i++) {
		grants[i].lease = plans[_i].grants[i];
		files[i].grant = &grants[i];
	}
	term = lease_term_of_plan(&plan);
	ck_assert_msg(term.ttl_s == plans[_i].expected.ttl_s &&
			      term.max_ttl_s == plans[_i].expected.max_ttl_s &&
			      term.empties_unrenewed == plans[_i].expected.empties_unrenewed &&
			      term.began_ms == 0,
		"%s", plans[_i].reads_as);
}
END_TEST

/* --- what is due --- */

static const struct {
	const char *reads_as;
	uint32_t ttl_s, max_ttl_s;
	bool empties;
	int64_t later_ms;
	enum lease_term_step step;
} steps[] = {
	{ "nothing at the beginning", 3600, 0, false, 0, TERM_NOTHING },
	{ "nothing in the middle of a period", 3600, 0, false, 1800 * S, TERM_NOTHING },
	{ "an hour's renewal not more than five minutes early", 3600, 0, false, 3299 * S,
		TERM_NOTHING },
	{ "an hour's renewal half of that early at the latest", 3600, 0, false, 3450 * S,
		TERM_RENEWAL },
	{ "a short period's renewal in its last tenth", 10, 0, false, 8999, TERM_NOTHING },
	{ "... and in time", 10, 0, false, 9500, TERM_RENEWAL },
	{ "an unrenewed one is kept", 10, 0, false, 86400 * S, TERM_RENEWAL },
	{ "an unrenewed one is emptied where that is wanted", 10, 0, true, 10 * S, TERM_UNRENEWED },
	{ "... not a moment before", 10, 0, true, 10 * S - 1, TERM_RENEWAL },
	{ "the notice a tenth before the hard end", 3600, 100, false, 90 * S, TERM_NOTICE },
	{ "... not a moment before", 3600, 100, false, 90 * S - 1, TERM_NOTHING },
	{ "the notice five minutes before a far hard end", 86400, 36000, false, 35700 * S,
		TERM_NOTICE },
	{ "the hard end", 3600, 100, false, 100 * S, TERM_PASSED },
	{ "... not a moment before", 3600, 100, false, 100 * S - 1, TERM_NOTICE },
	{ "the hard end before everything else", 10, 10, true, 10 * S, TERM_PASSED },
	{ "the hard end long after, when nobody was there", 10, 100, false, 400000 * S,
		TERM_PASSED },
};

START_TEST(a_step_is_due)
{
	/* Whatever the chance. */
	for (uint32_t chance = 0; chance < 1000000; chance += 33333) {
		struct lease_term term = { .ttl_s = steps[_i].ttl_s,
			.max_ttl_s = steps[_i].max_ttl_s,
			.empties_unrenewed = steps[_i].empties };

		lease_term_begin(&term, NOW, chance);
		ck_assert_msg(lease_term_step(&term, NOW + steps[_i].later_ms) == steps[_i].step,
			"%s (%u)", steps[_i].reads_as, chance);
		/* The alarm rings for it, and not before there is something. */
		if (steps[_i].step != TERM_NOTHING)
			ck_assert_int_le(lease_term_due_ms(&term), NOW + steps[_i].later_ms);
		ck_assert_int_ne(lease_term_step(&term, lease_term_due_ms(&term)), TERM_NOTHING);
		ck_assert_int_eq(
			lease_term_step(&term, lease_term_due_ms(&term) - 1), TERM_NOTHING);
	}
}
END_TEST

START_TEST(nothing_is_due_of_one_that_has_not_begun)
{
	const struct lease_term term = { .ttl_s = 1, .max_ttl_s = 1, .empties_unrenewed = true };

	ck_assert_int_eq(lease_term_step(&term, NOW), TERM_NOTHING);
	ck_assert_int_eq(lease_term_due_ms(&term), 0);
	ck_assert_int_eq(lease_term_deadline_ms(&term), 0);
	ck_assert_int_eq(lease_term_end_ms(&term), 0);
}
END_TEST

START_TEST(renewals_do_not_move_the_hard_end)
{
	struct lease_term term = { .ttl_s = 10, .max_ttl_s = 100 };
	const struct lease_term same = term;

	lease_term_begin(&term, NOW, 0);
	for (int i = 1; i < 10; i++)
		lease_term_renew(&term, &same, NOW + i * 9 * S, 0);
	ck_assert_int_eq(term.period_end_ms, NOW + 91 * S);
	ck_assert_int_eq(lease_term_end_ms(&term), NOW + 100 * S);
	ck_assert_int_eq(lease_term_step(&term, NOW + 100 * S), TERM_PASSED);
}
END_TEST

START_TEST(a_renewal_takes_what_the_policy_says_by_then)
{
	struct lease_term term = { .ttl_s = 10 };
	const struct lease_term wanted = {
		.ttl_s = 60, .max_ttl_s = 30, .empties_unrenewed = true
	};

	lease_term_begin(&term, NOW, 0);
	lease_term_renew(&term, &wanted, NOW + 9 * S, 0);
	ck_assert_int_eq(term.period_end_ms, NOW + 69 * S);
	ck_assert_int_eq(lease_term_end_ms(&term), NOW + 30 * S);
	ck_assert_int_eq(lease_term_step(&term, NOW + 27 * S), TERM_NOTICE);
}
END_TEST

START_TEST(a_notice_is_given_once_and_again_when_the_end_has_moved)
{
	struct lease_term term = { .ttl_s = 3600, .max_ttl_s = 100 };
	struct lease_term wanted = term;

	lease_term_begin(&term, NOW, 0);
	term.was_announced = true;
	ck_assert_int_eq(lease_term_step(&term, NOW + 95 * S), TERM_NOTHING);
	lease_term_renew(&term, &wanted, NOW + 95 * S, 0);
	ck_assert(term.was_announced);
	wanted.max_ttl_s = 1000;
	lease_term_renew(&term, &wanted, NOW + 96 * S, 0);
	ck_assert_int_eq(lease_term_step(&term, NOW + 900 * S), TERM_NOTICE);
}
END_TEST

START_TEST(what_nobody_answered_is_asked_again_before_the_period_is_over)
{
	static const uint32_t lengths[] = { 10, 60, 3600, 86400 };

	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		struct lease_term term = { .ttl_s = lengths[i] };
		unsigned questions = 0;

		lease_term_begin(&term, NOW, UINT32_MAX);
		for (int64_t now = term.renew_ms; now < term.period_end_ms; now = term.renew_ms) {
			questions++;
			lease_term_postpone(&term, now, UINT32_MAX);
			ck_assert_int_ge(term.renew_ms - now, 100);
			ck_assert_int_le(term.renew_ms - now, 20 * S);
		}
		ck_assert_uint_ge(questions, 2);
	}
}
END_TEST

START_TEST(the_mounters_deadline_is_the_earliest_end_at_which_it_is_emptied)
{
	struct lease_term term = { .ttl_s = 10 };

	lease_term_begin(&term, NOW, 0);
	ck_assert_int_eq(lease_term_deadline_ms(&term), 0);
	term.max_ttl_s = 100;
	ck_assert_int_eq(lease_term_deadline_ms(&term), NOW + 100 * S);
	term.empties_unrenewed = true;
	ck_assert_int_eq(lease_term_deadline_ms(&term), NOW + 10 * S);
	term.max_ttl_s = 0;
	ck_assert_int_eq(lease_term_deadline_ms(&term), NOW + 10 * S);
}
END_TEST

START_TEST(it_survives_being_written_down)
{
	struct lease_term term = {
		.ttl_s = 10, .max_ttl_s = 4000000000, .empties_unrenewed = true
	};
	struct lease_term read;
	json_t *object;

	lease_term_begin(&term, NOW, 77);
	term.was_announced = true;
	object = lease_term_to_json(&term);
	read = lease_term_from_json(object);
	json_decref(object);
	ck_assert_uint_eq(read.ttl_s, term.ttl_s);
	ck_assert_uint_eq(read.max_ttl_s, term.max_ttl_s);
	ck_assert_int_eq(read.began_ms, term.began_ms);
	ck_assert_int_eq(read.period_end_ms, term.period_end_ms);
	ck_assert_int_eq(read.renew_ms, term.renew_ms);
	ck_assert(read.empties_unrenewed && read.was_announced);
	/* A row of before there were terms. */
	read = lease_term_from_json(NULL);
	ck_assert_uint_eq(read.ttl_s, 3600);
	ck_assert_int_eq(read.began_ms, 0);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, the_shortest_counts, 0, sizeof plans / sizeof plans[0]);
	tcase_add_loop_test(cases, a_step_is_due, 0, sizeof steps / sizeof steps[0]);
	tcase_add_test(cases, nothing_is_due_of_one_that_has_not_begun);
	tcase_add_test(cases, renewals_do_not_move_the_hard_end);
	tcase_add_test(cases, a_renewal_takes_what_the_policy_says_by_then);
	tcase_add_test(cases, a_notice_is_given_once_and_again_when_the_end_has_moved);
	tcase_add_test(cases, what_nobody_answered_is_asked_again_before_the_period_is_over);
	tcase_add_test(cases, the_mounters_deadline_is_the_earliest_end_at_which_it_is_emptied);
	tcase_add_test(cases, it_survives_being_written_down);
}

int main(void)
{
	return unit_test_run("lease_term", add);
}
