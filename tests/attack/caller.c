/* What an attacker at the container socket runs, in a container or (become) on the host: connections
 * that change hands, callers that end or change, floods, nonsense, and what may stand in the way of
 * a delivery. Static. Prints what came back. usage() says how to call it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PASSED_MAX  64
#define MESSAGE_MAX (250 * 1024)

static void say(const char *what, const char *text)
{
	printf("%s: %s\n", what, text);
	(void)fflush(stdout);
}

static _Noreturn void fail(const char *what)
{
	say(what, strerrorname_np(errno));
	exit(3);
}

static void wait_for_file(const char *path)
{
	while (access(path, F_OK) != 0)
		(void)usleep(2000);
}

static int socket_at(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	(void)snprintf(address->sun_path, sizeof address->sun_path, "%s", path);
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int connect_to(const char *path)
{
	struct sockaddr_un address;
	const int fd = socket_at(path, &address);

	if (connect(fd, (const void *)&address, sizeof address) != 0)
		fail("connect");
	return fd;
}

/* A call; false: the connection is gone. */
static bool send_call(int fd, const char *method, const char *parameters)
{
	char message[4096];
	const int length = snprintf(message, sizeof message,
		"{\"method\":\"org.mayfly.Container.%s\",\"parameters\":%s}", method, parameters);

	return send(fd, message, (size_t)length + 1, MSG_NOSIGNAL) == length + 1;
}

/* One reply, which is printed; further ones are not asked for. */
static void say_reply(int fd)
{
	static char reply[262144];
	size_t length = 0;

	while (length == 0 || reply[length - 1] != '\0') {
		const ssize_t got = read(fd, reply + length, sizeof reply - length);

		if (got <= 0) {
			say("reply", got < 0 ? strerrorname_np(errno) : "(closed)");
			return;
		}
		length += (size_t)got;
	}
	say("reply", reply);
}

static int call_on(int fd, const char *method, const char *parameters)
{
	if (!send_call(fd, method, parameters))
		say("send", strerrorname_np(errno));
	say_reply(fd);
	return 0;
}

/* ---- callers that end ---- */

/* A child connects and asks, and has ended and been reaped when the answer comes. FIRST: it is known
 * to the broker by then, from a call of before. */
static int orphan(
	const char *socket, const char *go, const char *method, const char *parameters, bool first)
{
	struct sockaddr_un address;
	const int fd = socket_at(socket, &address);
	const pid_t child = fork();

	if (child == 0) {
		if (connect(fd, (const void *)&address, sizeof address) != 0)
			fail("connect");
		if (first)
			(void)call_on(fd, "WhoAmI", "{}");
		say("orphan", "connected");
		if (!first)
			wait_for_file(go);
		_exit(send_call(fd, method, parameters) ? 0 : 1);
	}
	(void)waitpid(child, NULL, 0);
	say("orphan", "its process has ended");
	say_reply(fd);
	return 0;
}

/* Becomes process PID in the namespaces of INIT, as a fork there could by chance. Of the host's root:
 * only it may choose a number in all pid namespaces. */
static int become(pid_t pid, pid_t init)
{
	const int pidfd = (int)syscall(SYS_pidfd_open, init, 0);
	pid_t numbers[2] = { 20000 + pid % 10000, pid };
	struct clone_args arguments = {
		.exit_signal = SIGCHLD, .set_tid = (uintptr_t)numbers, .set_tid_size = 2
	};
	long child;

	if (pidfd < 0 || setns(pidfd, CLONE_NEWNS | CLONE_NEWPID) != 0)
		fail("setns");
	child = syscall(SYS_clone3, &arguments, sizeof arguments);
	if (child < 0)
		fail("clone3");
	if (child == 0) {
		/* Whoever waits for our output has it. */
		(void)close_range(0, ~0U, 0);
		(void)execl("/bin/busybox", "sleep", "60", NULL);
		_exit(4);
	}
	printf("became: %ld\n", child);
	return 0;
}

/* ---- connections that change hands ---- */

static void pass(int to, const int *fds, size_t count, const char *bytes)
{
	char control[CMSG_SPACE(sizeof(int) * PASSED_MAX)] __attribute__((aligned(8))) = { 0 };
	struct iovec part = { .iov_base = (void *)(uintptr_t)bytes, .iov_len = strlen(bytes) };
	struct msghdr message = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = CMSG_SPACE(sizeof(int) * count) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int) * count);
	memcpy(CMSG_DATA(header), fds, sizeof(int) * count);
	(void)sendmsg(to, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int give(const char *socket, const char *path)
{
	struct sockaddr_un address;
	const int fd = connect_to(socket), listening = socket_at(path, &address);
	int taker;

	(void)call_on(fd, "WhoAmI", "{}");
	(void)unlink(path);
	if (bind(listening, (const void *)&address, sizeof address) != 0 ||
		listen(listening, 1) != 0 || (taker = accept(listening, NULL, NULL)) < 0)
		fail("give");
	pass(taker, &fd, 1, "x");
	return pause();
}

static int take(const char *path, const char *method, const char *parameters)
{
	struct sockaddr_un address;
	const int from = socket_at(path, &address);
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))), byte;
	struct iovec part = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = { .msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof control };
	int taken;

	while (connect(from, (const void *)&address, sizeof address) != 0)
		(void)usleep(5000);
	if (recvmsg(from, &message, 0) != 1 || !CMSG_FIRSTHDR(&message))
		fail("take");
	memcpy(&taken, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof taken);
	return call_on(taken, method, parameters);
}

/* Connects, becomes another user and another program, and asks. */
static int changed(const char *socket, const char *uid, const char *method, const char *parameters)
{
	char number[16];

	(void)snprintf(number, sizeof number, "%d", connect_to(socket));
	if (setuid((uid_t)atoi(uid)) != 0)
		fail("setuid");
	(void)execl("/proc/self/exe", "caller", "on", number, method, parameters, NULL);
	fail("exec");
}

/* ---- floods ---- */

static int connect_many(const char *socket, int count, const char *go)
{
	struct sockaddr_un address;
	struct pollfd *polled = calloc((size_t)count, sizeof *polled);
	int made = 0, open = 0, refused = 0;

	/* Where nobody accepts any more, it is not waited for long. */
	while (made < count && refused < 100) {
		const int fd = socket_at(socket, &address);

		(void)fcntl(fd, F_SETFL, O_NONBLOCK);
		if (connect(fd, (const void *)&address, sizeof address) == 0) {
			polled[made++] = (struct pollfd){ fd, POLLIN | POLLHUP, 0 };
			refused = 0;
			continue;
		}
		if (errno != EAGAIN)
			break;
		(void)close(fd);
		(void)usleep(5000);
		refused++;
	}
	say("connect", made == count ? "all" : strerrorname_np(errno));
	/* Those that are too many are closed by whoever accepts. */
	(void)sleep(1);
	(void)poll(polled, (nfds_t)made, 0);
	for (int i = 0; i < made; i++)
		open += polled[i].revents == 0;
	printf("open: %d\n", open);
	(void)fflush(stdout);
	wait_for_file(go);
	return 0;
}

/* COUNT connections, each with PASSED_MAX descriptors of ours beside a message that does not end. */
static int pass_many(const char *socket, int count, const char *go)
{
	int passed[PASSED_MAX];

	for (int i = 0; i < PASSED_MAX; i++)
		passed[i] = open("/dev/null", O_RDONLY);
	for (int i = 0; i < count; i++) {
		struct sockaddr_un address;
		const int fd = socket_at(socket, &address);

		if (connect(fd, (const void *)&address, sizeof address) != 0)
			break;
		pass(fd, passed, PASSED_MAX, "{\"met");
	}
	say("passed", "all");
	wait_for_file(go);
	return 0;
}

/* A message that has no end. */
static int endless(const char *socket, int mebibytes)
{
	static char block[1 << 20];
	const struct timeval patience = { .tv_sec = 2 };
	const int fd = connect_to(socket);
	int sent = 0;

	memset(block, 'x', sizeof block);
	block[0] = '"';
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	while (sent < mebibytes && send(fd, block, sizeof block, MSG_NOSIGNAL) == sizeof block)
		sent++;
	printf("taken: %d MiB\n", sent);
	(void)fflush(stdout);
	return pause();
}

/* On COUNT connections a call whose parameters are as many small values as a message may have; every
 * second one is as large as an operator's may be. */
static int swell(const char *socket, int count, const char *go)
{
	static const char begin[] =
		"{\"method\":\"org.mayfly.Container.WhoAmI\",\"parameters\":{\"x\":[";
	static const char end[] = "[]]}}";
	static char message[MESSAGE_MAX];

	for (int i = 0; i < count; i++) {
		const int fd = connect_to(socket);
		const size_t size = i % 2 ? sizeof message : 31 * 1024;
		size_t length = sizeof begin - 1;

		memcpy(message, begin, length);
		for (; length < size - 16; length += 3)
			memcpy(message + length, "[],", 3);
		memcpy(message + length, end, sizeof end);
		/* Whoever closes the connection in the middle of it has taken nothing. */
		(void)send(fd, message, length + sizeof end, MSG_NOSIGNAL);
		if (i == 0 || i >= count - 2)
			say_reply(fd);
	}
	say("swell", "all");
	wait_for_file(go);
	return 0;
}

/* How many answers there are in so many milliseconds, over as many connections as there are places in
 * POLLED. */
static int ask_often(const char *socket, int milliseconds, const char *method)
{
	struct pollfd polled[8];
	struct timespec begun, now;
	int answers = 0;

	for (int i = 0; i < 8; i++) {
		polled[i] = (struct pollfd){ connect_to(socket), POLLIN, 0 };
		(void)send_call(polled[i].fd, method, "{}");
	}
	(void)clock_gettime(CLOCK_MONOTONIC, &begun);
	do {
		(void)poll(polled, 8, 50);
		for (int i = 0; i < 8; i++) {
			static char reply[262144];

			if (!(polled[i].revents & POLLIN))
				continue;
			/* Answers of this size come in one piece. */
			if (read(polled[i].fd, reply, sizeof reply) <= 0)
				fail("read");
			answers++;
			(void)send_call(polled[i].fd, method, "{}");
		}
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - begun.tv_sec) * 1000 + (now.tv_nsec - begun.tv_nsec) / 1000000 <
		 milliseconds);
	printf("answers: %d\n", answers);
	return 0;
}

/* Moves the directory that the target lies in out of the way: with what is mounted there. */
static void leave_behind(int number)
{
	char name[32];

	(void)snprintf(name, sizeof name, "/left-%d", number);
	if (rename("/srv", name) != 0)
		fail("rename");
}

/* Request, and Release of what came, COUNT times: how often something came. LEAVES: it is somewhere
 * else by then. */
static int cycle(const char *socket, int count, bool leaves)
{
	const int fd = connect_to(socket);
	int delivered = 0;

	for (int i = 0; i < count; i++) {
		static char reply[262144];
		ssize_t length;
		char release[128], *lease;

		(void)send_call(fd, "Request", "{}");
		length = read(fd, reply, sizeof reply - 1);
		if (length <= 0)
			fail("read");
		reply[length] = '\0';
		lease = strstr(reply, "\"lease\":");
		if (!lease)
			continue;
		delivered++;
		if (leaves)
			leave_behind(i);
		(void)snprintf(release, sizeof release, "{%.74s}", lease);
		(void)send_call(fd, "Release", release);
		if (read(fd, reply, sizeof reply) <= 0)
			fail("read");
	}
	printf("delivered: %d of %d\n", delivered, count);
	return 0;
}

/* ---- messages that are none ---- */

static const struct {
	const char *name, *bytes;
	size_t length;
} nonsense[] = {
#define MESSAGE(name, text)             \
	{                               \
		name, text, sizeof text \
	}
	MESSAGE("nothing", ""),
	MESSAGE("no JSON", "GET / HTTP/1.1\r\n\r\n"),
	MESSAGE("no object", "[1, 2]"),
	MESSAGE("no method", "{}"),
	MESSAGE("a method that is a number", "{\"method\": 7}"),
	MESSAGE("no UTF-8", "{\"method\": \"\xff\xfe\"}"),
	MESSAGE("half a surrogate", "{\"method\": \"\\ud800\"}"),
	MESSAGE("a NUL in a string", "{\"method\": \"org.mayfly.Container\\u0000.Request\"}"),
	MESSAGE("a key twice", "{\"method\": \"x\", \"method\": \"org.mayfly.Container.WhoAmI\"}"),
	MESSAGE("a huge number", "{\"method\": \"org.mayfly.Container.Request\", \"parameters\": "
				 "{\"wait_ms\": 99999999999999999999999999}}"),
	MESSAGE("a number with a sign",
		"{\"method\": \"org.mayfly.Container.Request\", \"parameters\": {\"wait_ms\": "
		"-9223372036854775808}}"),
	MESSAGE("parameters that are none",
		"{\"method\": \"org.mayfly.Container.Release\", \"parameters\": [[]]}"),
	MESSAGE("a lease that is a path", "{\"method\": \"org.mayfly.Container.Release\", "
					  "\"parameters\": {\"lease\": \"../../etc/passwd\"}}"),
	MESSAGE("a method of the operator", "{\"method\": \"org.mayfly.Operator.Lock\"}"),
#undef MESSAGE
};

static void say_answer_to(const char *socket, const char *name, const char *bytes, size_t length)
{
	const int fd = connect_to(socket);
	struct pollfd polled = { fd, POLLIN, 0 };
	char reply[4096];
	ssize_t got;

	(void)send(fd, bytes, length, MSG_NOSIGNAL);
	if (poll(&polled, 1, 3000) == 0) {
		say(name, "(no answer)");
	} else {
		got = recv(fd, reply, sizeof reply - 1, 0);
		reply[got > 0 ? got : 0] = '\0';
		say(name, got > 0 ? reply : "(closed)");
	}
	(void)close(fd);
}

static int talk_nonsense(const char *socket)
{
	static char deep[60001];

	for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++)
		say_answer_to(socket, nonsense[i].name, nonsense[i].bytes, nonsense[i].length);
	memset(deep, '[', sizeof deep - 1);
	say_answer_to(socket, "sixty thousand brackets", deep, sizeof deep);
	say("nonsense", "all of it");
	return 0;
}

/* ---- what stands in the way of a delivery ---- */

/* A mount that came in the middle of an exchange lies on OTHER then, and stays busy: from the
 * beginning, with another name for it. */
static void begin_again(const char *one, char *other, size_t size)
{
	static int names;
	char *end = strrchr(other, '-');

	(void)snprintf(end, size - (size_t)(end - other), "-%d", ++names);
	/* Whoever delivers makes a target that is missing, too. */
	if (unlink(one) != 0 || (mkdir(one, 0755) != 0 && errno != EEXIST) ||
		symlink("/etc", other) != 0)
		fail("begin again");
}

/* Exchanges ONE, a directory, and a link to /etc beside it: at least TIMES times, and until STOP is
 * there. */
static int exchange(const char *one, long times, const char *stop)
{
	char other[128];
	long done = 0, busy = 0, moved = 0;
	struct stat status;

	(void)snprintf(other, sizeof other, "%s-0", one);
	if (symlink("/etc", other) != 0)
		fail("symlink");
	while (done < times || access(stop, F_OK) != 0) {
		if (syscall(SYS_renameat2, AT_FDCWD, one, AT_FDCWD, other, RENAME_EXCHANGE) == 0) {
			done++;
			continue;
		}
		/* Something is mounted on the directory, wherever that is. */
		busy++;
		if (lstat(one, &status) == 0 && S_ISLNK(status.st_mode)) {
			moved++;
			begin_again(one, other, sizeof other);
		}
	}
	printf("exchanged: %ld times, %ld more were refused, %ld mounts moved along\n", done, busy,
		moved);
	return 0;
}

/* Mounts a FUSE file system whose server never answers. */
static int hang(const char *directory)
{
	const int device = open("/dev/fuse", O_RDWR);
	char options[96];

	(void)snprintf(options, sizeof options,
		"fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device);
	if (device < 0 || mount("hanging", directory, "fuse", 0, options) != 0)
		fail("hang");
	say("hang", "mounted");
	return pause();
}

static int usage(void)
{
	(void)fputs("caller orphan|known-orphan SOCKET GO METHOD PARAMETERS\n"
		    "caller become PID INIT\n"
		    "caller give SOCKET PATH\n"
		    "caller take PATH METHOD PARAMETERS\n"
		    "caller changed SOCKET UID METHOD PARAMETERS\n"
		    "caller on DESCRIPTOR METHOD PARAMETERS\n"
		    "caller connect-many|pass-many SOCKET COUNT GO\n"
		    "caller swell SOCKET COUNT GO\n"
		    "caller endless SOCKET MEBIBYTES\n"
		    "caller ask-often SOCKET MILLISECONDS METHOD\n"
		    "caller cycle|leave-behind SOCKET COUNT\n"
		    "caller nonsense SOCKET\n"
		    "caller exchange DIRECTORY TIMES STOP\n"
		    "caller hang DIRECTORY\n",
		stderr);
	return 2;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";

	if (argc == 6 && strcmp(what, "orphan") == 0)
		return orphan(argv[2], argv[3], argv[4], argv[5], false);
	if (argc == 6 && strcmp(what, "known-orphan") == 0)
		return orphan(argv[2], argv[3], argv[4], argv[5], true);
	if (argc == 4 && strcmp(what, "become") == 0)
		return become(atoi(argv[2]), atoi(argv[3]));
	if (argc == 4 && strcmp(what, "give") == 0)
		return give(argv[2], argv[3]);
	if (argc == 5 && strcmp(what, "take") == 0)
		return take(argv[2], argv[3], argv[4]);
	if (argc == 6 && strcmp(what, "changed") == 0)
		return changed(argv[2], argv[3], argv[4], argv[5]);
	if (argc == 5 && strcmp(what, "on") == 0)
		return call_on(atoi(argv[2]), argv[3], argv[4]);
	if (argc == 5 && strcmp(what, "connect-many") == 0)
		return connect_many(argv[2], atoi(argv[3]), argv[4]);
	if (argc == 5 && strcmp(what, "pass-many") == 0)
		return pass_many(argv[2], atoi(argv[3]), argv[4]);
	if (argc == 5 && strcmp(what, "swell") == 0)
		return swell(argv[2], atoi(argv[3]), argv[4]);
	if (argc == 4 && strcmp(what, "endless") == 0)
		return endless(argv[2], atoi(argv[3]));
	if (argc == 5 && strcmp(what, "ask-often") == 0)
		return ask_often(argv[2], atoi(argv[3]), argv[4]);
	if (argc == 4 && strcmp(what, "cycle") == 0)
		return cycle(argv[2], atoi(argv[3]), false);
	if (argc == 4 && strcmp(what, "leave-behind") == 0)
		return cycle(argv[2], atoi(argv[3]), true);
	if (argc == 3 && strcmp(what, "nonsense") == 0)
		return talk_nonsense(argv[2]);
	if (argc == 5 && strcmp(what, "exchange") == 0)
		return exchange(argv[2], atol(argv[3]), argv[4]);
	if (argc == 3 && strcmp(what, "hang") == 0)
		return hang(argv[2]);
	return usage();
}
