/* The parts of an attestation that the broker reads by itself, on a cgroup tree of the test's own: a
 * version 1 hierarchy, whose leaves the kernel is not asked about once more. */
#include "daemon/broker/request/attestation.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ID_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define ID_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static const char *const directories[] = { "cgroup", "cgroup/docker", "cgroup/docker/" ID_A,
	"cgroup/docker/" ID_A "/deeper", "cgroup/docker/" ID_A "/" ID_B, "cgroup/docker/" ID_B,
	"cgroup/user", "proc" };

struct world {
	char path[64];
	int directory;
	struct broker broker;
	struct attested attested;
	pid_t peer, init;
	int peer_pidfd;
};

static uint64_t number_of(const struct world *world, const char *name)
{
	struct stat status;

	ck_assert_int_eq(fstatat(world->directory, name, &status, 0), 0);
	return status.st_ino;
}

/* Says where PID is. */
static void place(const struct world *world, pid_t pid, const char *cgroup)
{
	char name[64];
	AUTO_FD file = -1;

	(void)snprintf(name, sizeof name, "proc/%d", pid);
	(void)mkdirat(world->directory, name, 0700);
	(void)snprintf(name, sizeof name, "proc/%d/cgroup", pid);
	file = openat(world->directory, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_gt(dprintf(file, "4:pids:%s\n", cgroup), 0);
}

static pid_t process_start(void)
{
	const pid_t pid = fork();

	if (pid == 0)
		for (;;)
			(void)pause();
	return pid;
}

static void process_end(pid_t pid)
{
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}

static void know(struct world *world, const char *id, const char *directory)
{
	const struct cgroup_identity identity = { .hierarchy = CGROUP_V1_PIDS,
		.id = number_of(world, directory) };

	known_containers_add(world->broker.leases.known, 0, id, &identity);
}

/* Container A with its init and a process that has been attested as being in it. */
static void setup(struct world *world)
{
	struct cgroup_roots *roots = &world->broker.leases.roots;

	*world = (struct world){ .path = "/tmp/mayfly-attested-XXXXXX" };
	ck_assert_ptr_nonnull(mkdtemp(world->path));
	world->directory = open(world->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++)
		ck_assert_int_eq(mkdirat(world->directory, directories[i], 0700), 0);
	for (size_t i = 0; i < CGROUP_HIERARCHIES; i++)
		roots->roots[i] = -1;
	roots->roots[CGROUP_V1_PIDS] = openat(world->directory, "cgroup", O_RDONLY | O_CLOEXEC);
	roots->proc = openat(world->directory, "proc", O_RDONLY | O_CLOEXEC);
	world->broker.leases.known = known_containers_new();
	know(world, ID_A, "cgroup/docker/" ID_A);
	world->init = process_start();
	world->peer = process_start();
	place(world, world->init, "/docker/" ID_A);
	place(world, world->peer, "/docker/" ID_A);
	world->peer_pidfd = (int)syscall(SYS_pidfd_open, world->peer, 0);
	world->attested.pid = world->peer;
	world->attested.init = (struct container_process){ .pid = world->init,
		.pidfd = (int)syscall(SYS_pidfd_open, world->init, 0),
		.cgroup = { .hierarchy = CGROUP_V1_PIDS,
			.id = number_of(world, "cgroup/docker/" ID_A) } };
}

static void teardown(struct world *world)
{
	char command[96];

	process_end(world->peer);
	process_end(world->init);
	(void)close(world->peer_pidfd);
	(void)close(world->attested.init.pidfd);
	known_containers_free(world->broker.leases.known);
	(void)close(world->broker.leases.roots.proc);
	(void)close(world->broker.leases.roots.roots[CGROUP_V1_PIDS]);
	(void)close(world->directory);
	(void)snprintf(command, sizeof command, "rm -rf %s", world->path);
	ck_assert_int_eq(system(command), 0);
}

static const struct {
	const char *reads_as;
	const char *cgroup; /* of the peer; NULL: where it was */
	bool knows_inner;   /* B is a container that lies in A's cgroup */
	bool peer_ends, init_ends;
	const char *says; /* NULL: as attested */
} rows[] = {
	{ "nothing has changed", NULL, false, false, false, NULL },
	{ "it went deeper into its own cgroup", "/docker/" ID_A "/deeper", false, false, false,
		NULL },
	{ "a directory called like a container is none", "/docker/" ID_A "/" ID_B, false, false,
		false, NULL },
	{ "it is in a container inside its container", "/docker/" ID_A "/" ID_B, true, false, false,
		"cgroup" },
	{ "it has moved to another cgroup", "/docker/" ID_B, false, false, false, "cgroup" },
	{ "it has moved out of every container", "/user", false, false, false, "cgroup" },
	{ "it has moved to the root", "/", false, false, false, "cgroup" },
	{ "its cgroup has been removed", "/docker/" ID_A "/gone", false, false, false, "cgroup" },
	{ "it has ended", NULL, false, true, false, "has connected has ended" },
	{ "its container has ended", NULL, false, false, true, "its container has ended" },
};

START_TEST(once_more_before_the_release)
{
	struct world world;
	const char *failed;

	setup(&world);
	if (rows[_i].cgroup)
		place(&world, world.peer, rows[_i].cgroup);
	if (rows[_i].knows_inner)
		know(&world, ID_B, "cgroup/docker/" ID_A "/" ID_B);
	if (rows[_i].peer_ends)
		process_end(world.peer);
	if (rows[_i].init_ends)
		process_end(world.init);
	failed = attested_fails(&world.broker, &world.attested, world.peer_pidfd);
	if (rows[_i].says)
		ck_assert_msg(failed && strstr(failed, rows[_i].says), "%s: %s", rows[_i].reads_as,
			failed ? failed : "nothing fails");
	else
		ck_assert_msg(!failed, "%s: %s", rows[_i].reads_as, failed);
	teardown(&world);
}
END_TEST

START_TEST(who_shares_with_whom)
{
	struct world world;
	uint64_t own;

	setup(&world);
	own = number_of(&world, "cgroup/docker/" ID_A);
	ck_assert_uint_eq(peer_share_key(&world.broker, -1, world.peer, 0), own);
	/* Whatever it makes of its own cgroup, it has one share. */
	place(&world, world.peer, "/docker/" ID_A "/" ID_B);
	ck_assert_uint_eq(peer_share_key(&world.broker, -1, world.peer, 1234), own);
	know(&world, ID_B, "cgroup/docker/" ID_A "/" ID_B);
	ck_assert_uint_eq(peer_share_key(&world.broker, -1, world.peer, 0), own);
	/* Nobody has told of a container there: it may be one all the same, and has a share of its own. */
	place(&world, world.peer, "/user");
	ck_assert_uint_eq(peer_share_key(&world.broker, -1, world.peer, 1000),
		number_of(&world, "cgroup/user"));
	teardown(&world);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, once_more_before_the_release, 0, sizeof rows / sizeof rows[0]);
	tcase_add_test(cases, who_shares_with_whom);
}

int main(void)
{
	return unit_test_run("attested", add);
}
