/* How long a lease lasts. Pure: no clock, no chance, no I/O; times are boot_clock_ms() as the caller read it.
 *
 * Glossary
 *   period    for so long it is good without being asked about again (`ttl`)
 *   renewal   the policy is asked again, somewhat before the period's end, so that an engine that does not
 *             answer at once costs nothing; a new period begins
 *   hard end  the files are emptied then, whatever the policy says (`max_ttl`)
 *   notice    a while before the hard end, for whoever watches
 *
 * Several grants in one delivery: the shortest of each counts for all of it. What the mounter does at the
 * end when everything else is dead can only be done to a whole delivery, and it must be the same. */
#pragma once

#include "daemon/broker/policy/plan.h"

#include <stdbool.h>
#include <stdint.h>

struct lease_term {
	uint32_t ttl_s, max_ttl_s; /* 0: no hard end */
	bool empties_unrenewed;
	int64_t began_ms; /* 0: it has not */
	int64_t period_end_ms;
	int64_t renew_ms;   /* when to ask (again) */
	bool was_announced; /* the notice was given */
};

/* What is to be done, the most pressing first. */
enum lease_term_step {
	TERM_PASSED = 1, /* the hard end */
	TERM_UNRENEWED,	 /* the period has ended, and `unrenewed` says `empty` */
	TERM_NOTICE,
	TERM_RENEWAL,
	TERM_NOTHING,
};

/* The shortest of the grants of PLAN's files; `empty` if one says so. Not begun. */
struct lease_term lease_term_of_plan(const struct plan *plan);

/* From now on. CHANCE is any number: renewals of leases that began together are not asked for together. */
void lease_term_begin(struct lease_term *term, int64_t now_ms, uint32_t chance);

/* A further period, with what the policy says of it by now. The hard end is counted from the beginning. */
void lease_term_renew(
	struct lease_term *term, const struct lease_term *wanted, int64_t now_ms, uint32_t chance);

/* Nobody answered: once more, soon. */
void lease_term_postpone(struct lease_term *term, int64_t now_ms, uint32_t chance);

/* 0: there is none. */
int64_t lease_term_end_ms(const struct lease_term *term);

/* What is due at NOW_MS. Of one that has not begun: nothing. */
enum lease_term_step lease_term_step(const struct lease_term *term, int64_t now_ms);

/* When there is something to do next; 0: never. */
int64_t lease_term_due_ms(const struct lease_term *term);

/* When whoever is left must empty it if nobody else does; 0: never. */
int64_t lease_term_deadline_ms(const struct lease_term *term);

/* For the row in state.db. A row without a term (NULL too) gives one that has not begun. */
json_t *lease_term_to_json(const struct lease_term *term);
struct lease_term lease_term_from_json(json_t *object);
