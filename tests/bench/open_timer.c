/* Runs inside a container, statically linked: when an open returns, and what many opens cost.
 *   open_timer first PATH               opens PATH, prints the wall clock after it in nanoseconds
 *   open_timer many PATH PATH ROUNDS    opens and closes each in turn, 1,000 times a round; prints
 * a line a round: nanoseconds an open of the one and the other */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OPENS_A_ROUND 1000

static long long now_ns(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now);
	return (long long)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int must_open(const char *path)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		(void)fprintf(stderr, "open %s: %s\n", path, strerror(errno));
		exit(EXIT_FAILURE);
	}
	return fd;
}

static long long round_ns(const char *path)
{
	const long long begun = now_ns(CLOCK_MONOTONIC);

	for (int i = 0; i < OPENS_A_ROUND; i++)
		(void)close(must_open(path));
	return (now_ns(CLOCK_MONOTONIC) - begun) / OPENS_A_ROUND;
}

int main(int argc, char **argv)
{
	if (argc == 3 && strcmp(argv[1], "first") == 0) {
		(void)must_open(argv[2]);
		printf("%lld\n", now_ns(CLOCK_REALTIME));
		return EXIT_SUCCESS;
	}
	if (argc == 5 && strcmp(argv[1], "many") == 0) {
		for (int rounds = atoi(argv[4]); rounds > 0; rounds--) {
			const long long left = round_ns(argv[2]);

			printf("%lld %lld\n", left, round_ns(argv[3]));
		}
		return EXIT_SUCCESS;
	}
	return 2;
}
