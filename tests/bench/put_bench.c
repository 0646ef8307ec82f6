/* What a put through the operator socket costs beside the least that it must do: one durable commit
 * and one durable append of a record. The two take turns.
 * put_bench ROOT DIRECTORY ROUNDS: ROOT is mayflyd's, with an unlocked store and a set "prod";
 * DIRECTORY is on the same disk. Prints a line a round: microseconds of put, commit, append. */
#include "bare_commit.h"
#include "proto/cleanup.h"
#include "proto/fd_passing.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define VALUE_BYTES  64
#define ROW_BYTES    256 /* what a record of the store has in all */
#define RECORD_BYTES 400
#define WARMUP	     50

static double now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void must(int is_fine, const char *what)
{
	if (is_fine)
		return;
	perror(what);
	exit(EXIT_FAILURE);
}

static int connect_to(const char *root)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	must(snprintf(address.sun_path, sizeof address.sun_path, "%s/run/mayfly/operator.sock",
		     root) < (int)sizeof address.sun_path,
		"a path that is too long");
	must(connect(fd, (struct sockaddr *)&address, sizeof address) == 0, "connect");
	return fd;
}

/* A memfd of random bytes, sealed. */
static int make_value(void)
{
	unsigned char bytes[VALUE_BYTES];
	const int fd = memfd_create("value", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	must(getrandom(bytes, sizeof bytes, 0) == sizeof bytes, "getrandom");
	must(write(fd, bytes, sizeof bytes) == sizeof bytes, "write");
	must(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) == 0, "seal");
	return fd;
}

static void put(int socket, int number)
{
	AUTO_FD value = make_value();
	char message[256], reply[4096];
	const int length = snprintf(message, sizeof message,
		"{\"method\":\"org.mayfly.Operator.Put\",\"parameters\":"
		"{\"name\":\"prod/bench-%d\",\"value_fd\":0}}",
		number);
	ssize_t got;

	must(fd_send(socket, message, (size_t)length + 1, &value, 1) == length + 1, "send");
	got = read(socket, reply, sizeof reply - 1);
	must(got > 0 && reply[got - 1] == '\0' && strstr(reply, "created") != NULL, "put");
}

int main(int argc, char **argv)
{
	static const char record[RECORD_BYTES];
	unsigned char row[ROW_BYTES] = { 0 };
	struct bare_commits commits;
	char path[4096];
	AUTO_FD socket = -1;
	AUTO_FD log = -1;
	int rounds;

	if (argc != 4 || (rounds = atoi(argv[3])) <= 0)
		return 2;
	socket = connect_to(argv[1]);
	bare_commits_open(&commits, argv[2]);
	(void)snprintf(path, sizeof path, "%s/record", argv[2]);
	log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	for (int i = -WARMUP; i < rounds; i++) {
		const double begun = now_us();
		double after_put, after_commit;

		put(socket, i + WARMUP);
		after_put = now_us();
		bare_commit(&commits, row, sizeof row);
		after_commit = now_us();
		must(write(log, record, sizeof record) == sizeof record && fdatasync(log) == 0,
			"append");
		if (i >= 0)
			printf("%.1f %.1f %.1f\n", after_put - begun, after_commit - after_put,
				now_us() - after_commit);
	}
	bare_commits_close(&commits);
	return EXIT_SUCCESS;
}
