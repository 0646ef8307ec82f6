#include "daemon/broker/wire/fair_share.h"

#include <assert.h>
#include <search.h>
#include <stdlib.h>

#define IDLE_MS		2000
#define RECORDS_AT_ONCE 16
#define RECORD_PAUSE_MS 10000

struct fair_share {
	uint64_t key;
	unsigned connections, waits;
	double bucket; /* requests that may be made at once */
	uint64_t filled_ms;
	uint64_t turn;	  /* the last that it has had */
	unsigned records; /* of refusals, that may be written at once */
	unsigned unrecorded;
	uint64_t regained_ms;
};

struct fair_shares {
	void *by_key; /* tsearch(3) */
	size_t count;
};

static int compare(const void *a, const void *b)
{
	const uint64_t left = ((const struct fair_share *)a)->key;
	const uint64_t right = ((const struct fair_share *)b)->key;

	return (left > right) - (left < right);
}

struct fair_shares *fair_shares_new(void)
{
	return calloc(1, sizeof(struct fair_shares));
}

void fair_shares_free(struct fair_shares *shares)
{
	if (!shares)
		return;
	while (shares->by_key) {
		struct fair_share *share = *(struct fair_share **)shares->by_key;

		(void)tdelete(share, &shares->by_key, compare);
		free(share);
	}
	free(shares);
}

static struct fair_share *find_or_make(
	struct fair_shares *shares, uint64_t key, const struct fair_limits *limits, uint64_t now_ms)
{
	const struct fair_share wanted = { .key = key };
	struct fair_share **found = tfind(&wanted, &shares->by_key, compare);
	struct fair_share *share;

	if (found)
		return *found;
	share = malloc(sizeof *share);
	if (!share)
		return NULL;
	*share = (struct fair_share){ .key = key,
		.bucket = 2.0 * limits->requests_per_second,
		.filled_ms = now_ms,
		.records = RECORDS_AT_ONCE,
		.regained_ms = now_ms };
	if (!tsearch(share, &shares->by_key, compare)) {
		free(share);
		return NULL;
	}
	shares->count++;
	return share;
}

static void fill(struct fair_share *share, const struct fair_limits *limits, uint64_t now_ms)
{
	const double most = 2.0 * limits->requests_per_second;

	share->bucket += (double)(now_ms - share->filled_ms) * limits->requests_per_second / 1000.0;
	share->filled_ms = now_ms;
	if (share->bucket > most)
		share->bucket = most;
}

struct fair_share *fair_share_join(
	struct fair_shares *shares, uint64_t key, const struct fair_limits *limits, uint64_t now_ms)
{
	struct fair_share *share = find_or_make(shares, key, limits, now_ms);

	if (!share || share->connections >= limits->connections)
		return NULL;
	share->connections++;
	return share;
}

static void regain(struct fair_share *share, uint64_t now_ms)
{
	const uint64_t gained = (now_ms - share->regained_ms) / RECORD_PAUSE_MS;

	share->regained_ms += gained * RECORD_PAUSE_MS;
	share->records = gained < RECORDS_AT_ONCE - share->records
				 ? share->records + (unsigned)gained
				 : RECORDS_AT_ONCE;
}

/* What is emptied is a debt that reconnecting must not pay: it is kept for the time in which it
 * would fill. Whoever leaves cleans up behind those before. */
static bool is_idle(struct fair_share *share, uint64_t now_ms)
{
	if (share->connections > 0 || now_ms - share->filled_ms < IDLE_MS)
		return false;
	regain(share, now_ms);
	return share->records == RECORDS_AT_ONCE;
}

struct idle {
	uint64_t now_ms;
	struct fair_share *found[16];
	size_t count;
};

static void note_idle(const void *node, VISIT visit, void *data)
{
	struct fair_share *share = *(struct fair_share *const *)node;
	struct idle *idle = data;

	if ((visit == postorder || visit == leaf) && idle->count < 16 &&
		is_idle(share, idle->now_ms))
		idle->found[idle->count++] = share;
}

static void drop(struct fair_shares *shares, struct fair_share *share)
{
	(void)tdelete(share, &shares->by_key, compare);
	free(share);
	shares->count--;
}

void fair_share_leave(struct fair_shares *shares, struct fair_share *share, uint64_t now_ms)
{
	struct idle idle = { .now_ms = now_ms };

	assert(share->connections > 0);
	if (--share->connections > 0)
		return;
	twalk_r(shares->by_key, note_idle, &idle);
	for (size_t i = 0; i < idle.count; i++)
		drop(shares, idle.found[i]);
}

uint64_t fair_share_take(
	struct fair_share *share, const struct fair_limits *limits, uint64_t now_ms)
{
	const double deepest = -(double)limits->connections;

	fill(share, limits, now_ms);
	/* Taken at once, also where it must be waited for: of many connections that wait, each has a
	 * turn of its own. No more can wait than there are connections; what is owed beside that is
	 * not forgiven. */
	if (share->bucket >= deepest + 1.0)
		share->bucket -= 1.0;
	if (share->bucket >= 0.0)
		return 0;
	return (uint64_t)(-share->bucket * 1000.0 / limits->requests_per_second) + 1;
}

bool fair_share_record(struct fair_share *share, uint64_t now_ms, unsigned *ret_unrecorded)
{
	regain(share, now_ms);
	if (share->records == 0) {
		share->unrecorded++;
		return false;
	}
	share->records--;
	*ret_unrecorded = share->unrecorded;
	share->unrecorded = 0;
	return true;
}

void fair_share_owe(struct fair_share *share, unsigned requests)
{
	share->bucket -= requests;
}

bool fair_share_turn(struct fair_share *share, uint64_t turn)
{
	const bool is_first = share->turn != turn;

	share->turn = turn;
	return is_first;
}

bool fair_share_wait(struct fair_share *share, const struct fair_limits *limits)
{
	if (share->waits >= limits->waits)
		return false;
	share->waits++;
	return true;
}

void fair_share_wait_over(struct fair_share *share)
{
	assert(share->waits > 0);
	share->waits--;
}

size_t fair_shares_count(const struct fair_shares *shares)
{
	return shares->count;
}
