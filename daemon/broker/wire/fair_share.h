/* What each of many callers may take, so that one that floods slows down itself and nobody else:
 * open connections, requests a second (a bucket of twice as many), requests that wait, records of what
 * it was refused, and one request at a time while others ask too. A caller is a number, such as its
 * container's cgroup id. Loop thread only; does no I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fair_limits {
	unsigned connections;
	unsigned requests_per_second;
	unsigned waits;
};

struct fair_shares;
struct fair_share; /* of one caller, while it has a connection */

/* NULL when out of memory. */
struct fair_shares *fair_shares_new(void);
void fair_shares_free(struct fair_shares *shares); /* NULL is fine; every connection is closed */

/* A connection of caller KEY: its share, until fair_share_leave(). NULL: it has as many as LIMITS say,
 * or there is no memory. */
struct fair_share *fair_share_join(struct fair_shares *shares, uint64_t key,
	const struct fair_limits *limits, uint64_t now_ms);
void fair_share_leave(struct fair_shares *shares, struct fair_share *share, uint64_t now_ms);

/* Takes one request out of the bucket. Returns 0, or in how many milliseconds its turn comes: behind
 * every one that was taken before, on whichever connection. */
uint64_t fair_share_take(
	struct fair_share *share, const struct fair_limits *limits, uint64_t now_ms);

/* What was taken has cost as much as REQUESTS more: they are taken too, if need be in advance. */
void fair_share_owe(struct fair_share *share, unsigned requests);

/* True once for each number TURN: whoever has had its turn is to wait for the next one, so that all
 * who ask at the same time are answered one by one, each in its turn. */
bool fair_share_turn(struct fair_share *share, uint64_t turn);

/* May a refusal be written down? 16 at once, then one in 10 s: a flood of them does not fill the audit
 * file, and hides nobody else's. True with how many were not since the last one that was. */
bool fair_share_record(struct fair_share *share, uint64_t now_ms, unsigned *ret_unrecorded);

/* A request begins to wait; false: as many wait as LIMITS say. */
bool fair_share_wait(struct fair_share *share, const struct fair_limits *limits);
void fair_share_wait_over(struct fair_share *share);

/* Callers that are kept account of. */
size_t fair_shares_count(const struct fair_shares *shares);
