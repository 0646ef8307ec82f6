/* Stands between a container engine and Mayfly's plugin socket and tells how long each Mount takes:
 * from the last byte of the request to the first byte of the answer.
 * plugin_timer LISTEN-SOCKET MAYFLY-SOCKET: prints a line each time: microseconds. Runs until it is
 * killed. One thread for each connection; the engine asks one thing at a time on each. */
#include "proto/cleanup.h"

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char *upstream_path;

static double now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static struct sockaddr_un address_of(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	return address;
}

/* Passes on what is there to be read. Returns its length, 0 or less at the end. */
static ssize_t pass_on(int from, int to, char buffer[65536])
{
	const ssize_t length = read(from, buffer, 65535);

	if (length <= 0 || write(to, buffer, (size_t)length) != length)
		return -1;
	buffer[length] = '\0';
	return length;
}

static void *serve(void *data)
{
	static const char wanted[] = "POST /VolumeDriver.Mount ";
	AUTO_FD engine = (int)(intptr_t)data;
	AUTO_FD mayfly = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct sockaddr_un address = address_of(upstream_path);
	struct pollfd polled[2] = { { engine, POLLIN, 0 }, { mayfly, POLLIN, 0 } };
	bool is_mount = false;
	double asked = 0;
	char buffer[65536];

	if (connect(mayfly, (const struct sockaddr *)&address, sizeof address) != 0)
		return NULL;
	while (poll(polled, 2, -1) > 0) {
		if (polled[0].revents) {
			if (pass_on(engine, mayfly, buffer) <= 0)
				return NULL;
			is_mount = is_mount || strncmp(buffer, wanted, sizeof wanted - 1) == 0;
			asked = now_us();
		}
		if (polled[1].revents) {
			const double answered = now_us();

			if (pass_on(mayfly, engine, buffer) <= 0)
				return NULL;
			if (is_mount)
				printf("%.1f\n", answered - asked);
			is_mount = false;
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	AUTO_FD listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un address;

	if (argc != 3)
		return 2;
	upstream_path = argv[2];
	address = address_of(argv[1]);
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	if (bind(listening, (struct sockaddr *)&address, sizeof address) != 0 ||
		listen(listening, 16) != 0)
		return EXIT_FAILURE;
	for (;;) {
		const int engine = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
		pthread_t thread;

		if (engine < 0 ||
			pthread_create(&thread, NULL, serve, (void *)(intptr_t)engine) != 0)
			return EXIT_FAILURE;
		(void)pthread_detach(thread);
	}
}
