/* How long to wait after failures in a row, so that no loop runs hot and no two hosts keep step.
 * Pure. */
#pragma once

#include <stdint.h>

#define BACKOFF_BASE_MS	       UINT64_C(1000)
#define BACKOFF_LOGIN_CAP_MS   UINT64_C(300000)
#define BACKOFF_ADDRESS_CAP_MS UINT64_C(30000)

/* After FAILURES (at least 1) in a row: the base, doubled with each, at most CAP_MS; and up to a
 * quarter more, as RANDOM says. Never less than the step itself. */
uint64_t backoff_ms(unsigned failures, uint64_t cap_ms, uint32_t random);

/* When to renew what lives LIFE_MS: after two thirds of it, less up to a tenth of it, and never
 * before the base: what lives shorter than that is not kept alive in a loop. */
uint64_t renew_after_ms(uint64_t life_ms, uint32_t random);

/* INTERVAL_MS, a tenth more or less. */
uint64_t around_ms(uint64_t interval_ms, uint32_t random);
