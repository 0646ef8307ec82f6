#include "daemon/engine/sandbox.h"

#include "engine_fixture.h"
#include "unit_test.h"

#include <dirent.h>
#include <errno.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

/* The answer of a process that a signal ended. */
#define BY_SIGNAL(number) (1000 + (number))
#define KILLED		  BY_SIGNAL(SIGSYS)

static int read_at(const char *path)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	char byte;

	if (fd < 0)
		return errno;
	return read(fd, &byte, 1) >= 0 ? 0 : errno;
}

static int list_at(const char *path)
{
	AUTO_FD fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? errno : 0;
}

static int write_by_open(const struct fixture *fixture)
{
	AUTO_FD fd = open(fixture_path(fixture, "data/x"), O_WRONLY | O_CLOEXEC);

	return fd < 0 ? errno : 0;
}

/* Its flags are in memory, where a filter cannot look: Landlock must refuse. */
static int write_by_openat2(const struct fixture *fixture)
{
	const struct open_how how = { .flags = O_WRONLY };
	AUTO_FD fd = (int)syscall(
		SYS_openat2, AT_FDCWD, fixture_path(fixture, "data/x"), &how, sizeof how);

	return fd < 0 ? errno : 0;
}

static int make_by_openat2(const struct fixture *fixture)
{
	const struct open_how how = { .flags = O_WRONLY | O_CREAT, .mode = 0600 };
	AUTO_FD fd = (int)syscall(
		SYS_openat2, AT_FDCWD, fixture_path(fixture, "data/new"), &how, sizeof how);

	return fd < 0 ? errno : 0;
}

static int execute(const struct fixture *fixture)
{
	char *arguments[] = { (char *)"/bin/true", NULL };

	(void)fixture;
	execve(arguments[0], arguments, arguments + 1);
	return errno;
}

static int remove_a_file(const struct fixture *fixture)
{
	return unlink(fixture_path(fixture, "data/x")) == 0 ? 0 : errno;
}

static int make_a_directory(const struct fixture *fixture)
{
	return mkdir(fixture_path(fixture, "data/d"), 0700) == 0 ? 0 : errno;
}

static int speak_tcp(const struct fixture *fixture)
{
	AUTO_FD fd = socket(AF_INET, SOCK_STREAM, 0);

	(void)fixture;
	return fd < 0 ? errno : 0;
}

static int listen_on_a_socket(const struct fixture *fixture)
{
	AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)fixture;
	return listen(fd, 1) == 0 ? 0 : errno;
}

static int speak_to_a_socket(const struct fixture *fixture)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	AUTO_FD fd = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)snprintf(
		address.sun_path, sizeof address.sun_path, "%.100s", fixture_path(fixture, "sock"));
	return connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 ? 0 : errno;
}

static int read_anything(const struct fixture *fixture)
{
	(void)fixture;
	return read_at("/etc/passwd");
}

static int narrowed(const struct fixture *fixture)
{
	struct mayfly_error error;

	return sandbox_narrow(&fixture->place, &error) == 0 ? 0 : 1;
}

static int read_elsewhere(const struct fixture *fixture)
{
	return narrowed(fixture) ? -1 : read_at("/etc/passwd");
}

static int list_elsewhere(const struct fixture *fixture)
{
	return narrowed(fixture) ? -1 : list_at("/etc");
}

static int read_secrets_beside(const struct fixture *fixture)
{
	return narrowed(fixture) ? -1 : read_at(fixture_path(fixture, "run/credentials/key"));
}

static int read_data(const struct fixture *fixture)
{
	return narrowed(fixture) ? -1 : read_at(fixture_path(fixture, "data/x"));
}

static int list_data(const struct fixture *fixture)
{
	return narrowed(fixture) ? -1 : list_at(fixture_path(fixture, "data"));
}

static int read_moved_containers(const struct fixture *fixture)
{
	return narrowed(fixture) ? -1 : read_at(fixture_path(fixture, "disk/containers/y"));
}

static int list_bundles(const struct fixture *fixture)
{
	return narrowed(fixture) ? -1
				 : list_at(fixture_path(fixture, "run/docker/" BUNDLES_OF_ENGINE));
}

static int list_bundles_that_come_later(const struct fixture *fixture)
{
	return narrowed(fixture) ? -1
				 : list_at(fixture_path(fixture, "run/containerd/something/later"));
}

static int list_beside_bundles(const struct fixture *fixture)
{
	return narrowed(fixture) ? -1 : list_at(fixture_path(fixture, "run/docker/netns"));
}

static int read_proc(const struct fixture *fixture)
{
	return narrowed(fixture) ? -1 : read_at("/proc/1/cgroup");
}

static int write_after_narrowing(const struct fixture *fixture)
{
	return narrowed(fixture) ? -1 : write_by_openat2(fixture);
}

static const struct {
	const char *reads_as;
	int (*act)(const struct fixture *fixture);
	int expect;
	bool needs_landlock;
	bool needs_whole_filter; /* the sanitizers' runtime is allowed more */
} rows[] = {
	{ "opening a file for writing", write_by_open, KILLED, false, true },
	{ "opening one where the filter cannot look", write_by_openat2, EACCES, true, false },
	{ "making a file where the filter cannot look", make_by_openat2, EACCES, true, false },
	{ "writing after narrowing", write_after_narrowing, EACCES, true, false },
	{ "executing a program", execute, KILLED, false, false },
	{ "removing a file", remove_a_file, KILLED, false, true },
	{ "making a directory", make_a_directory, KILLED, false, false },
	{ "a network socket", speak_tcp, KILLED, false, false },
	{ "listening", listen_on_a_socket, KILLED, false, false },
	{ "speaking to the engine's socket", speak_to_a_socket, 0, false, false },
	{ "reading before the directory is known", read_anything, 0, false, false },
	{ "reading another file", read_elsewhere, EACCES, true, false },
	{ "listing another directory", list_elsewhere, EACCES, true, false },
	{ "reading what else lies in /run", read_secrets_beside, EACCES, true, false },
	{ "reading the engine's directory", read_data, 0, true, false },
	{ "listing the engine's directory", list_data, 0, true, false },
	{ "reading containers on another disk", read_moved_containers, 0, true, false },
	{ "listing bundles", list_bundles, 0, true, false },
	{ "listing bundles that come later", list_bundles_that_come_later, 0, true, false },
	{ "listing what lies beside the bundles", list_beside_bundles, EACCES, true, false },
	{ "reading a process's cgroup", read_proc, 0, true, false },
};

static void make_host(const struct fixture *fixture)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	fixture_text(fixture, "data/x", "x");
	fixture_text(fixture, "disk/containers/y", "y");
	fixture_link(fixture, "data/containers", "/disk/containers");
	fixture_text(fixture, "run/credentials/key", "k");
	fixture_parents(fixture, "run/docker/" BUNDLES_OF_ENGINE "/moby/");
	fixture_parents(fixture, "run/docker/netns/");
	fixture_parents(fixture, "run/containerd/something/later/");
	ck_assert_uint_lt(strlen(fixture_path(fixture, "sock")), sizeof address.sun_path);
	strcpy(address.sun_path, fixture_path(fixture, "sock"));
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
	/* Left open: the listener lives as long as the test. */
	ck_assert_int_eq(listen(fd, 1), 0);
}

static int run_in_the_sandbox(
	const struct fixture *fixture, int (*act)(const struct fixture *fixture))
{
	struct mayfly_error error = { 0 };
	const pid_t child = fork();
	int status;

	if (child == 0) {
		if (sandbox_enter(&error) < 0) {
			(void)fprintf(stderr, "%s\n", error.text);
			_exit(255);
		}
		_exit(act(fixture));
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? BY_SIGNAL(WTERMSIG(status)) : WEXITSTATUS(status);
}

static bool is_possible(int row)
{
#ifdef MAYFLY_SANITIZED
	if (rows[row].needs_whole_filter)
		return false;
#endif
	return !rows[row].needs_landlock ||
	       syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
}

START_TEST(in_the_sandbox)
{
	struct fixture fixture;
	int result;

	if (!is_possible(_i))
		return;
	fixture_open(&fixture);
	make_host(&fixture);
	result = run_in_the_sandbox(&fixture, rows[_i].act);
	ck_assert_msg(result == rows[_i].expect, "%s: %d, not %d", rows[_i].reads_as, result,
		rows[_i].expect);
	fixture_close(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, in_the_sandbox, 0, sizeof rows / sizeof rows[0]);
}

int main(void)
{
	if (geteuid() != 0) {
		printf("1..0 # skipped: needs root\n");
		return getenv("MAYFLY_TESTS_MUST_RUN") ? EXIT_FAILURE : 77;
	}
	return unit_test_run("sandbox", add);
}
