/* Calls methods of the container socket, from an image without anything else. Statically linked.
 *   varlink_call [OPTION...] METHOD [PARAMETERS] [METHOD PARAMETERS...]
 * Each call goes over one connection; each reply is a line. A PARAMETERS of "-" is an empty object.
 *   --more N        the last call wants more: prints N replies
 *   --child-sends   a child sends on the connection that this process has made
 *   --parent-gone   the process that has made the connection ends, a child goes on
 *   --unshare-mount, --unshare-pid   in a namespace of its own
 *   --repeat N      the last call N times; prints microseconds of each instead of replies
 *   --pace N        waits N microseconds before each of them
 *   --wait          begins when a line comes
 *   --cycle N       N times Request, then Release of what came; prints microseconds of each Request
 *   --idle N        opens N connections, prints "open", and holds them until its input ends
 * MAYFLY_SOCKET names another socket. Answers EchoRequired once. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define REPLY_MAX   (512 * 1024)
#define MESSAGE_MAX 65536

struct options {
	int more, repeat, pace, cycle, idle;
	bool child_sends, parent_gone, unshare_mount, unshare_pid, waits;
};

static _Noreturn void fail(const char *what)
{
	(void)fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(3);
}

static int connect_to_broker(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = getenv("MAYFLY_SOCKET");
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof address.sun_path, "%s",
		path ? path : "/run/mayfly/container.sock");
	if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0)
		fail("connect");
	return fd;
}

static void send_call(int fd, const char *method, const char *parameters, bool more)
{
	static char message[MESSAGE_MAX];
	const int length = snprintf(message, sizeof message,
		"{\"method\":\"%s%s\",\"parameters\":%s%s}",
		strchr(method, '.') ? "" : "org.mayfly.Container.", method,
		strcmp(parameters, "-") == 0 ? "{}" : parameters, more ? ",\"more\":true" : "");

	if (write(fd, message, (size_t)length + 1) != length + 1)
		fail("write");
}

/* One reply, without its NUL; what came behind it is kept for the next. */
static const char *receive_reply(int fd)
{
	static char kept[REPLY_MAX], reply[REPLY_MAX];
	static size_t length;
	const char *end;

	while (!(end = memchr(kept, '\0', length))) {
		const ssize_t got = read(fd, kept + length, sizeof kept - length);

		if (got <= 0) {
			printf("(closed)\n");
			exit(4);
		}
		length += (size_t)got;
	}
	memcpy(reply, kept, (size_t)(end - kept) + 1);
	length -= (size_t)(end - kept) + 1;
	memmove(kept, end + 1, length);
	return reply;
}

/* Before 6.5 the broker wants its nonce echoed, once. */
static const char *call(int fd, const char *method, const char *parameters, bool more)
{
	static const char wanted[] = "\"org.mayfly.Container.EchoRequired\"";
	char echo[128];
	const char *reply, *nonce;

	send_call(fd, method, parameters, more);
	reply = receive_reply(fd);
	if (!strstr(reply, wanted))
		return reply;
	nonce = strstr(reply, "\"nonce\":");
	(void)snprintf(echo, sizeof echo, "{%.42s}", nonce ? nonce : "");
	send_call(fd, "Echo", echo, false);
	(void)receive_reply(fd);
	send_call(fd, method, parameters, more);
	return receive_reply(fd);
}

static double now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void repeat(
	int fd, const char *method, const char *parameters, const struct options *options)
{
	for (int i = 0; i < options->repeat; i++) {
		double begun;

		(void)usleep((useconds_t)options->pace);
		begun = now_us();
		(void)call(fd, method, parameters, false);
		printf("%.1f\n", now_us() - begun);
	}
}

/* Far enough apart that what is released has been wiped. */
static void cycle(int fd, int times)
{
	for (int i = 0; i < times; i++) {
		const double begun = now_us();
		const char *lease = strstr(call(fd, "Request", "{}", false), "\"lease\":");
		const double took = now_us() - begun;
		char release[128];

		if (!lease)
			exit(6);
		(void)snprintf(release, sizeof release, "{%.74s}", lease);
		(void)call(fd, "Release", release, false);
		printf("%.1f\n", took);
		(void)usleep(20000);
	}
}

static void hold(int count)
{
	char byte;

	while (count-- > 0)
		(void)connect_to_broker();
	printf("open\n");
	(void)fflush(stdout);
	if (read(STDIN_FILENO, &byte, 1) < 0)
		exit(7);
}

static void run_calls(int fd, char **arguments, const struct options *options)
{
	for (; *arguments; arguments++) {
		const char *method = *arguments;
		const char *parameters = arguments[1] ? *++arguments : "-";
		const bool is_last = !arguments[1];

		if (is_last && options->repeat) {
			repeat(fd, method, parameters, options);
			continue;
		}
		printf("%s\n", call(fd, method, parameters, is_last && options->more));
		(void)fflush(stdout);
		for (int i = 1; is_last && i < options->more; i++) {
			printf("%s\n", receive_reply(fd));
			(void)fflush(stdout);
		}
	}
}

/* Returns in the process that goes on; its exit status is everybody's. */
static void become_child(bool parent_waits)
{
	const pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		if (!parent_waits)
			/* Until the parent has been reaped by whoever started it. */
			(void)usleep(300000);
		return;
	}
	if (!parent_waits)
		_exit(0);
	(void)waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 5);
}

static char **read_options(char **arguments, struct options *options)
{
	for (; *arguments && strncmp(*arguments, "--", 2) == 0; arguments++)
		if (strcmp(*arguments, "--more") == 0 && arguments[1])
			options->more = atoi(*++arguments);
		else if (strcmp(*arguments, "--repeat") == 0 && arguments[1])
			options->repeat = atoi(*++arguments);
		else if (strcmp(*arguments, "--pace") == 0 && arguments[1])
			options->pace = atoi(*++arguments);
		else if (strcmp(*arguments, "--cycle") == 0 && arguments[1])
			options->cycle = atoi(*++arguments);
		else if (strcmp(*arguments, "--idle") == 0 && arguments[1])
			options->idle = atoi(*++arguments);
		else if (strcmp(*arguments, "--child-sends") == 0)
			options->child_sends = true;
		else if (strcmp(*arguments, "--parent-gone") == 0)
			options->parent_gone = true;
		else if (strcmp(*arguments, "--wait") == 0)
			options->waits = true;
		else if (strcmp(*arguments, "--unshare-mount") == 0)
			options->unshare_mount = true;
		else if (strcmp(*arguments, "--unshare-pid") == 0)
			options->unshare_pid = true;
		else
			exit(2);
	return arguments;
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	int fd;

	(void)argc;
	(void)signal(SIGPIPE, SIG_IGN);
	argv = read_options(argv + 1, &options);
	if (options.waits)
		(void)getchar();
	if (options.unshare_mount && unshare(CLONE_NEWNS) != 0)
		fail("unshare");
	if (options.unshare_pid) {
		if (unshare(CLONE_NEWPID) != 0)
			fail("unshare");
		become_child(true);
	}
	fd = connect_to_broker();
	if (options.child_sends || options.parent_gone)
		become_child(options.child_sends);
	if (options.cycle)
		cycle(fd, options.cycle);
	if (options.idle)
		hold(options.idle);
	run_calls(fd, argv, &options);
	return 0;
}
