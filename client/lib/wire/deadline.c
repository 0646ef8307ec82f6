#include "client/lib/wire/deadline.h"

#include <errno.h>
#include <limits.h>
#include <time.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS    50
#define BACKOFF_DOUBLED_MAX 4 /* 50, 100, 200, 400, 800 */

static int64_t clock_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* This clock always exists. */
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct deadline deadline_in(int timeout_ms)
{
	return (struct deadline){ timeout_ms < 0 ? INT64_MAX : clock_ms() + timeout_ms };
}

int deadline_left_ms(const struct deadline *deadline)
{
	int64_t left;

	if (deadline->end_ms == INT64_MAX)
		return -1;
	left = deadline->end_ms - clock_ms();
	return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

bool deadline_is_over(const struct deadline *deadline)
{
	return deadline_left_ms(deadline) == 0;
}

void deadline_sleep(const struct deadline *deadline, int duration_ms)
{
	const int left_ms = deadline_left_ms(deadline);
	const int64_t end_ms =
		clock_ms() + (left_ms >= 0 && left_ms < duration_ms ? left_ms : duration_ms);
	const struct timespec end = { .tv_sec = end_ms / 1000, .tv_nsec = end_ms % 1000 * 1000000 };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &end, NULL) == EINTR)
		;
}

int backoff_ms(unsigned failed_tries)
{
	const unsigned doubled =
		failed_tries < BACKOFF_DOUBLED_MAX ? failed_tries : BACKOFF_DOUBLED_MAX;
	const int longest_ms = BACKOFF_FIRST_MS << doubled;
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return longest_ms - (int)((now.tv_nsec / 1000 + getpid()) % (longest_ms / 4));
}
