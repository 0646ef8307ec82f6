/* Every call that reaches the disk fails once, fails from then on, or is the last one before
 * kill -9. The linker puts the functions below in front of those of the C library. */
#include "audit_fixture.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define NUMBERS 64

enum fault { FAULT_NONE, FAULT_ONCE, FAULT_FROM, FAULT_HALF, FAULT_KILL_BEFORE, FAULT_KILL_BEHIND };

static struct {
	bool is_armed;	/* only around the calls that are tested */
	bool is_memory; /* it is memory that runs out, and not the disk */
	enum fault fault;
	int error;
	int at; /* the call that it hits, from 1 */
	int calls;
} disk;

/* True when this call is to fail; errno is set. */
static bool is_hit(void)
{
	const bool here = ++disk.calls == disk.at;

	if (disk.fault == FAULT_KILL_BEFORE && here)
		(void)raise(SIGKILL);
	if ((disk.fault == FAULT_ONCE && here) ||
		(disk.fault == FAULT_FROM && disk.calls >= disk.at)) {
		errno = disk.error;
		return true;
	}
	return false;
}

static void behind(void)
{
	if (disk.fault == FAULT_KILL_BEHIND && disk.calls == disk.at)
		(void)raise(SIGKILL);
}

/* REAL with the arguments, unless it is hit. */
#define WRAP(type, name, parameters, arguments)                   \
	type __real_##name parameters;                            \
	type __wrap_##name parameters;                            \
	type __wrap_##name parameters                             \
	{                                                         \
		type result;                                      \
                                                                  \
		if (disk.is_armed && !disk.is_memory && is_hit()) \
			return -1;                                \
		result = __real_##name arguments;                 \
		if (disk.is_armed)                                \
			behind();                                 \
		return result;                                    \
	}

WRAP(int, fdatasync, (int fd), (fd))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, ftruncate64, (int fd, off64_t length), (fd, length))
WRAP(int, mkdirat, (int directory, const char *name, mode_t mode), (directory, name, mode))
WRAP(int, unlinkat, (int directory, const char *name, int flags), (directory, name, flags))
WRAP(int, renameat, (int from, const char *old, int to, const char *name), (from, old, to, name))
WRAP(int, fstat64, (int fd, struct stat64 *status), (fd, status))
WRAP(int, fstatat64, (int directory, const char *name, struct stat64 *status, int flags),
	(directory, name, status, flags))

ssize_t __real_pwrite64(int fd, const void *bytes, size_t length, off64_t offset);
ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t length, off64_t offset);
ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t length, off64_t offset)
{
	ssize_t n;

	if (disk.is_armed && !disk.is_memory && is_hit())
		return -1;
	/* A full disk takes what still fits; the next call is told. */
	if (disk.fault == FAULT_HALF && disk.calls == disk.at) {
		disk.fault = FAULT_FROM;
		length /= 2;
	}
	n = __real_pwrite64(fd, bytes, length, offset);
	if (disk.is_armed)
		behind();
	return n;
}

int __real_openat64(int directory, const char *name, int flags, ...);
int __wrap_openat64(int directory, const char *name, int flags, ...);
int __wrap_openat64(int directory, const char *name, int flags, ...)
{
	va_list arguments;
	mode_t mode = 0;
	int fd;

	if (disk.is_armed && !disk.is_memory && is_hit())
		return -1;
	va_start(arguments, flags);
	if (flags & O_CREAT)
		mode = va_arg(arguments, mode_t);
	va_end(arguments);
	fd = __real_openat64(directory, name, flags, mode);
	if (disk.is_armed)
		behind();
	return fd;
}

/* NULL when memory is to run out here. */
#define WRAP_ALLOCATION(name, parameters, arguments)             \
	void *__real_##name parameters;                          \
	void *__wrap_##name parameters;                          \
	void *__wrap_##name parameters                           \
	{                                                        \
		if (disk.is_armed && disk.is_memory && is_hit()) \
			return NULL;                             \
		return __real_##name arguments;                  \
	}

WRAP_ALLOCATION(malloc, (size_t size), (size))
WRAP_ALLOCATION(calloc, (size_t count, size_t size), (count, size))
WRAP_ALLOCATION(realloc, (void *memory, size_t size), (memory, size))
WRAP_ALLOCATION(reallocarray, (void *memory, size_t count, size_t size), (memory, count, size))

/* What the run did; shared with a child that is killed. */
struct told {
	bool acknowledged[NUMBERS];
	bool failed[NUMBERS];
	int opens_failed;
};

static void arm(enum fault fault, int error, int at)
{
	disk.fault = fault;
	disk.is_memory = error == ENOMEM;
	disk.error = error;
	disk.at = at;
	disk.calls = 0;
}

/* Opens, until it succeeds; a failed try is counted. The fault is over after two tries. */
static void open_chain(struct fixture *fixture, struct told *told)
{
	for (int try = 0;; try++) {
		int r;

		disk.is_armed = true;
		r = audit_open(fixture->directory, fixture->arena, &fixture->audit, &fixture->err);
		disk.is_armed = false;
		if (r == 0)
			break;
		ck_assert_msg(r == -disk.error, "%s", fixture->err.text);
		told->opens_failed++;
		ck_assert_int_lt(try, 3);
		if (try == 1)
			disk.fault = FAULT_NONE;
	}
	fixture->audit->segment_max_bytes = 1500;
	fixture->audit->epoch_max_records = 3;
}

static void append_until_it_works(struct fixture *fixture, struct told *told, int *number)
{
	for (int try = 0;; try++) {
		/* Two records at the first try and one later: what the failed one was about to do
		 * for two is not forgotten. */
		const int first = *number, count = try == 0 ? 2 : 1;
		json_t *const records[2] = { fixture_record(first), fixture_record(first + 1) };
		int r;

		disk.is_armed = true;
		r = audit_append(fixture->audit, records, (size_t)count, &fixture->err);
		disk.is_armed = false;
		json_decref(records[0]);
		json_decref(records[1]);
		for (; *number < first + count; (*number)++)
			(r == 0 ? told->acknowledged : told->failed)[*number] = true;
		if (r == 0)
			return;
		ck_assert_msg(r == -disk.error, "%s", fixture->err.text);
		ck_assert_int_lt(try, 3);
		if (try == 1)
			disk.fault = FAULT_NONE;
	}
}

/* Opens, appends through changes of segment and epoch, closes, opens again, appends. */
static void run_scenario(struct fixture *fixture, struct told *told)
{
	int number = 0;

	for (int i = 0; i < 2; i++) {
		open_chain(fixture, told);
		for (int j = 0; j < 6; j++)
			append_until_it_works(fixture, told, &number);
		if (i == 0)
			fixture_close(fixture);
	}
}

static void check(struct fixture *fixture, const struct told *told, bool may_failed_be_there)
{
	unsigned char seen[NUMBERS];

	disk.fault = FAULT_NONE;
	ck_assert_msg(
		fixture_verify(fixture, NULL) == 0, "at call %d: %s", disk.at, fixture->err.text);
	fixture_numbers(fixture, seen, sizeof seen);
	for (int i = 0; i < NUMBERS; i++) {
		ck_assert_msg(!told->acknowledged[i] || seen[i] == 1,
			"at call %d: number %d is there %d times", disk.at, i, seen[i]);
		ck_assert_msg(!told->failed[i] || seen[i] == 0 || may_failed_be_there,
			"at call %d: number %d failed and is there", disk.at, i);
	}
}

/* The first key is that of whichever chain came to be. */
static void take_first_key(struct fixture *fixture)
{
	secret_done(&fixture->first_key);
	ck_assert_int_eq(audit_first_key(fixture->audit, &fixture->first_key, &fixture->err), 0);
}

/* Runs with the fault at one call after the other until it is behind the last. */
static int run_faults(enum fault fault, int error)
{
	int at, calls = 1;

	for (at = 1; at <= calls; at++) {
		struct fixture fixture;
		struct told told = { 0 };

		fixture_make(&fixture);
		arm(fault, error, at);
		run_scenario(&fixture, &told);
		calls = disk.calls;
		disk.fault = FAULT_NONE;
		take_first_key(&fixture);
		check(&fixture, &told, false);
		/* And what is on the disk is the same. */
		fixture_close(&fixture);
		fixture_open(&fixture, 0, 0);
		check(&fixture, &told, false);
		fixture_done(&fixture);
	}
	return at;
}

static const struct {
	const char *reads_as;
	enum fault fault;
	int error;
} faults[] = {
	{ "a call fails once with EIO", FAULT_ONCE, EIO },
	{ "a call fails once with ENOSPC", FAULT_ONCE, ENOSPC },
	{ "calls fail from then on with EIO", FAULT_FROM, EIO },
	{ "calls fail from then on with ENOSPC", FAULT_FROM, ENOSPC },
	{ "memory runs out once", FAULT_ONCE, ENOMEM },
	{ "memory has run out from then on", FAULT_FROM, ENOMEM },
	{ "half a write is done, then the disk is full", FAULT_HALF, ENOSPC },
};

START_TEST(the_chain_goes_on_when)
{
	const int points = run_faults(faults[_i].fault, faults[_i].error);

	ck_assert_msg(points > (faults[_i].error == ENOMEM ? 20 : 60), "%s: only %d calls",
		faults[_i].reads_as, points);
}
END_TEST

/* In a child, with the fault: true when it was killed, or ended while calls still failed. */
static bool run_in_child(const char *directory, enum fault fault, int at, struct told *told)
{
	const pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct fixture fixture;

		fixture_make_at(&fixture, directory);
		arm(fault, EIO, at);
		if (fault == FAULT_FROM) {
			int number = 0;

			/* Ends at the first failure, without putting anything right. */
			disk.is_armed = true;
			if (audit_open(directory, fixture.arena, &fixture.audit, NULL) != 0)
				_exit(1);
			fixture.audit->segment_max_bytes = 1500;
			fixture.audit->epoch_max_records = 3;
			for (; number < 8; number++) {
				json_t *const record = fixture_record(number);

				if (audit_append(fixture.audit, &record, 1, NULL) != 0)
					_exit(1);
				told->acknowledged[number] = true;
			}
			_exit(0);
		}
		run_scenario(&fixture, told);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) || WEXITSTATUS(status) == 1;
}

static const struct {
	const char *reads_as;
	enum fault fault;
} stops[] = {
	{ "kill -9 before a call", FAULT_KILL_BEFORE },
	{ "kill -9 behind a call", FAULT_KILL_BEHIND },
	{ "an end after failures that nobody put right", FAULT_FROM },
};

START_TEST(the_chain_is_taken_up_after)
{
	struct told *const told =
		mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool was_hit = true;
	int at;

	for (at = 1; was_hit; at++) {
		struct fixture fixture;

		fixture_make(&fixture);
		memset(told, 0, sizeof *told);
		was_hit = run_in_child(fixture.directory, stops[_i].fault, at, told);
		disk.at = at;
		fixture_open(&fixture, 1500, 3);
		check(&fixture, told, true);
		fixture_append(&fixture, 4);
		ck_assert_msg(fixture_verify(&fixture, NULL) == 0, "%s", fixture.err.text);
		fixture_done(&fixture);
	}
	ck_assert_msg(at > 60, "%s: only %d calls", stops[_i].reads_as, at);
	(void)munmap(told, sizeof *told);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, the_chain_goes_on_when, 0, sizeof faults / sizeof faults[0]);
	tcase_add_loop_test(cases, the_chain_is_taken_up_after, 0, sizeof stops / sizeof stops[0]);
}

int main(void)
{
	return unit_test_run("audit_fault", add);
}
