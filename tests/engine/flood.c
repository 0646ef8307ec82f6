/* A container that wants the container socket for itself. Statically linked; runs until it is killed.
 *   flood connections   connects and connects again, as fast as it can
 *   flood silence       holds as many connections as it gets, and sends nothing
 *   flood drip          the same, and sends one byte a second on each
 *   flood calls         calls WhoAmI on many connections, as fast as it can
 *   flood texts         the same with GetInterfaceDescription, whose answer is long and for anybody
 *   flood deafness      calls, and reads no reply
 *   flood deliveries    Request, Release, Request, Release ... on many connections
 * Prints "flooding" once it is at it. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CONNECTIONS 200
#define PROCESSES   8

static const char call[] = "{\"method\":\"org.mayfly.Container.WhoAmI\",\"parameters\":{}}";
static const char describe[] = "{\"method\":\"org.varlink.service.GetInterfaceDescription\","
			       "\"parameters\":{\"interface\":\"org.mayfly.Container\"}}";
static const char request[] = "{\"method\":\"org.mayfly.Container.Request\",\"parameters\":{}}";

static int connect_to_broker(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX,
		.sun_path = "/run/mayfly/container.sock" };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
		(void)close(fd);
		return -1;
	}
	return fd;
}

/* Sends TEXT with its NUL and reads one reply; false: the connection is closed. */
static bool ask(int fd, const char *text, size_t size, char *reply, size_t reply_size)
{
	size_t length = 0;

	if (fd < 0 || write(fd, text, size) != (ssize_t)size)
		return false;
	do {
		const ssize_t got = read(fd, reply + length, reply_size - 1 - length);

		if (got <= 0)
			return false;
		length += (size_t)got;
	} while (reply[length - 1] != '\0' && length < reply_size - 1);
	reply[length] = '\0';
	return true;
}

static void connections(void)
{
	int held[CONNECTIONS] = { 0 };

	for (size_t i = 0;; i = (i + 1) % CONNECTIONS) {
		if (held[i] > 0)
			(void)close(held[i]);
		held[i] = connect_to_broker();
	}
}

static void hold(bool drips)
{
	int held[CONNECTIONS];

	for (size_t i = 0; i < CONNECTIONS; i++)
		held[i] = connect_to_broker();
	for (size_t at = 0;; at++) {
		(void)sleep(1);
		for (size_t i = 0; i < CONNECTIONS && drips; i++)
			if (held[i] < 0 || write(held[i], call + at % sizeof call, 1) != 1) {
				/* The others go on; this one begins again in the middle. */
				(void)close(held[i]);
				held[i] = connect_to_broker();
			}
	}
}

static void calls(const char *called, size_t size)
{
	static char reply[65536];
	int fd = -1;

	for (;;)
		if (!ask(fd, called, size, reply, sizeof reply)) {
			(void)close(fd);
			fd = connect_to_broker();
		}
}

static void deafness(void)
{
	int fd = -1;

	for (;;)
		if (write(fd, call, sizeof call) != sizeof call) {
			(void)close(fd);
			fd = connect_to_broker();
		}
}

static void deliveries(void)
{
	static char reply[65536];
	char release[256];
	int fd = -1;

	for (;;) {
		const char *lease;
		int length;

		if (!ask(fd, request, sizeof request, reply, sizeof reply)) {
			(void)close(fd);
			fd = connect_to_broker();
			continue;
		}
		lease = strstr(reply, "\"lease\":");
		if (!lease)
			continue;
		length = snprintf(release, sizeof release,
			"{\"method\":\"org.mayfly.Container.Release\",\"parameters\":{%.74s}}",
			lease);
		(void)ask(fd, release, (size_t)length + 1, reply, sizeof reply);
	}
}

static void run(const char *mode)
{
	if (strcmp(mode, "connections") == 0)
		connections();
	else if (strcmp(mode, "silence") == 0 || strcmp(mode, "drip") == 0)
		hold(mode[0] == 'd');
	else if (strcmp(mode, "calls") == 0)
		calls(call, sizeof call);
	else if (strcmp(mode, "texts") == 0)
		calls(describe, sizeof describe);
	else if (strcmp(mode, "deafness") == 0)
		deafness();
	else if (strcmp(mode, "deliveries") == 0)
		deliveries();
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	(void)signal(SIGPIPE, SIG_IGN);
	(void)printf("flooding\n");
	(void)fflush(stdout);
	for (int i = 1; i < PROCESSES; i++)
		if (fork() == 0)
			break;
	run(argv[1]);
	return 2;
}
