/* When a call has to be over. CLOCK_MONOTONIC; pure but for that clock and for sleeping. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct deadline {
	int64_t end_ms; /* INT64_MAX: never */
};

/* TIMEOUT_MS from this moment; negative: never. */
struct deadline deadline_in(int timeout_ms);

/* Milliseconds that are left, as poll() takes them: 0 when it is over, -1 without an end. */
int deadline_left_ms(const struct deadline *deadline);
bool deadline_is_over(const struct deadline *deadline);

/* Sleeps DURATION_MS, at most until the deadline. */
void deadline_sleep(const struct deadline *deadline, int duration_ms);

/* How long to wait before the try that follows FAILED_TRIES failed ones: from 50 ms to 1 s, spread,
 * because all containers of a host lose their connections at once. */
int backoff_ms(unsigned failed_tries);
