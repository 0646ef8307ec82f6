#include "daemon/broker/loop/backoff.h"

/* SHARE, of which RANDOM takes any part. */
static uint64_t part_of(uint64_t share, uint32_t random)
{
	return share / 1000 * (random % 1001) + share % 1000 * (random % 1001) / 1000;
}

uint64_t backoff_ms(unsigned failures, uint64_t cap_ms, uint32_t random)
{
	uint64_t step = BACKOFF_BASE_MS;

	for (unsigned i = 1; i < failures && step < cap_ms; i++)
		step *= 2;
	if (step > cap_ms)
		step = cap_ms;
	return step + part_of(step / 4, random);
}

uint64_t renew_after_ms(uint64_t life_ms, uint32_t random)
{
	const uint64_t after_ms = life_ms / 3 * 2 - part_of(life_ms / 10, random);

	return after_ms < BACKOFF_BASE_MS ? BACKOFF_BASE_MS : after_ms;
}

uint64_t around_ms(uint64_t interval_ms, uint32_t random)
{
	return interval_ms - interval_ms / 10 + part_of(interval_ms / 5, random);
}
