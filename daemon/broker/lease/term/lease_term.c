#include "daemon/broker/lease/term/lease_term.h"

#include "proto/json_member.h"

/* The last tenth of a period is for the renewal, five minutes at most. */
#define RENEWAL_SHARE  10
#define RENEWAL_MAX_MS (5 * 60 * 1000)
#define RETRY_MIN_MS   200
#define RETRY_MAX_MS   10000
#define NOTICE_SHARE   10
#define NOTICE_MAX_MS  (5 * 60 * 1000)

static int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t milliseconds(uint32_t seconds)
{
	return (int64_t)seconds * 1000;
}

struct lease_term lease_term_of_plan(const struct plan *plan)
{
	struct lease_term term = { .ttl_s = GRANT_TTL_DEFAULT_S };

	for (size_t i = 0; i < plan->files_count; i++) {
		const struct grant_lease *lease = &plan->files[i].grant->lease;

		if (i == 0 || lease->ttl_s < term.ttl_s)
			term.ttl_s = lease->ttl_s;
		if (lease->max_ttl_s && (!term.max_ttl_s || lease->max_ttl_s < term.max_ttl_s))
			term.max_ttl_s = lease->max_ttl_s;
		term.empties_unrenewed |= lease->empties_unrenewed;
	}
	return term;
}

int64_t lease_term_end_ms(const struct lease_term *term)
{
	return term->began_ms && term->max_ttl_s ? term->began_ms + milliseconds(term->max_ttl_s)
						 : 0;
}

static void begin_period(struct lease_term *term, int64_t now_ms, uint32_t chance)
{
	const int64_t ttl_ms = milliseconds(term->ttl_s);
	const int64_t early_ms = smaller(ttl_ms / RENEWAL_SHARE, RENEWAL_MAX_MS);

	term->period_end_ms = now_ms + ttl_ms;
	/* At least half of it is left for a second question. */
	term->renew_ms =
		term->period_end_ms - early_ms + (int64_t)(chance % (uint32_t)(early_ms / 2));
}

void lease_term_begin(struct lease_term *term, int64_t now_ms, uint32_t chance)
{
	term->began_ms = now_ms;
	term->was_announced = false;
	begin_period(term, now_ms, chance);
}

void lease_term_renew(
	struct lease_term *term, const struct lease_term *wanted, int64_t now_ms, uint32_t chance)
{
	/* A hard end that was moved is announced again. */
	term->was_announced = term->was_announced && wanted->max_ttl_s == term->max_ttl_s;
	term->ttl_s = wanted->ttl_s;
	term->max_ttl_s = wanted->max_ttl_s;
	term->empties_unrenewed = wanted->empties_unrenewed;
	begin_period(term, now_ms, chance);
}

void lease_term_postpone(struct lease_term *term, int64_t now_ms, uint32_t chance)
{
	const int64_t early_ms = smaller(milliseconds(term->ttl_s) / RENEWAL_SHARE, RENEWAL_MAX_MS);
	int64_t retry_ms = smaller(early_ms / 8, RETRY_MAX_MS);

	if (retry_ms < RETRY_MIN_MS)
		retry_ms = RETRY_MIN_MS;
	term->renew_ms = now_ms + retry_ms + (int64_t)(chance % (uint32_t)retry_ms);
}

static int64_t notice_ms(const struct lease_term *term)
{
	const int64_t share_ms = milliseconds(term->max_ttl_s) / NOTICE_SHARE;

	return lease_term_end_ms(term) - smaller(share_ms, NOTICE_MAX_MS);
}

enum lease_term_step lease_term_step(const struct lease_term *term, int64_t now_ms)
{
	const int64_t end_ms = lease_term_end_ms(term);

	if (!term->began_ms)
		return TERM_NOTHING;
	if (end_ms && now_ms >= end_ms)
		return TERM_PASSED;
	if (term->empties_unrenewed && now_ms >= term->period_end_ms)
		return TERM_UNRENEWED;
	if (end_ms && !term->was_announced && now_ms >= notice_ms(term))
		return TERM_NOTICE;
	return now_ms >= term->renew_ms ? TERM_RENEWAL : TERM_NOTHING;
}

int64_t lease_term_deadline_ms(const struct lease_term *term)
{
	const int64_t end_ms = lease_term_end_ms(term);

	if (!term->began_ms || !term->empties_unrenewed)
		return end_ms;
	return end_ms ? smaller(end_ms, term->period_end_ms) : term->period_end_ms;
}

int64_t lease_term_due_ms(const struct lease_term *term)
{
	const int64_t deadline_ms = lease_term_deadline_ms(term);
	int64_t due_ms = term->renew_ms;

	if (!term->began_ms)
		return 0;
	if (deadline_ms)
		due_ms = smaller(due_ms, deadline_ms);
	if (term->max_ttl_s && !term->was_announced)
		due_ms = smaller(due_ms, notice_ms(term));
	return due_ms;
}

json_t *lease_term_to_json(const struct lease_term *term)
{
	return json_pack("{s:I, s:I, s:b, s:I, s:I, s:I, s:b}", "ttl_s", (json_int_t)term->ttl_s,
		"max_ttl_s", (json_int_t)term->max_ttl_s, "empties_unrenewed",
		term->empties_unrenewed, "began_ms", (json_int_t)term->began_ms, "period_end_ms",
		(json_int_t)term->period_end_ms, "renew_ms", (json_int_t)term->renew_ms,
		"was_announced", term->was_announced);
}

struct lease_term lease_term_from_json(json_t *object)
{
	struct lease_term term = {
		.ttl_s = (uint32_t)json_number(object, "ttl_s"),
		.max_ttl_s = (uint32_t)json_number(object, "max_ttl_s"),
		.empties_unrenewed = json_is_true(json_object_get(object, "empties_unrenewed")),
		.began_ms = json_number(object, "began_ms"),
		.period_end_ms = json_number(object, "period_end_ms"),
		.renew_ms = json_number(object, "renew_ms"),
		.was_announced = json_is_true(json_object_get(object, "was_announced")),
	};

	if (term.ttl_s < 1)
		return (struct lease_term){ .ttl_s = GRANT_TTL_DEFAULT_S };
	return term;
}
