/* kill -9 at any moment: the chain resumes and verifies, and every acknowledged record is there. */
#include "audit_fixture.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define CHAINS		20
#define KILLS_OF_CHAIN	15
#define NUMBERS_OF_KILL 1000
#define NUMBERS		(KILLS_OF_CHAIN * NUMBERS_OF_KILL)

/* Appends numbers from FIRST on, in batches of one to three, and tells each on OUTPUT once it is
 * acknowledged. Small segments and epochs, so that their changes are met often. */
static void write_until_killed(const char *directory, int first, int output)
{
	struct fixture fixture;

	fixture_make_at(&fixture, directory);
	fixture_open(&fixture, 1500, 3);
	for (int number = first; number < first + NUMBERS_OF_KILL;) {
		const int count = number % 3 + 1;
		json_t *records[3];
		int numbers[3];

		for (int i = 0; i < count; i++) {
			numbers[i] = number + i;
			records[i] = fixture_record(number + i);
		}
		if (audit_append(fixture.audit, records, (size_t)count, NULL) != 0 ||
			write(output, numbers, (size_t)count * sizeof numbers[0]) < 0)
			_exit(1);
		for (int i = 0; i < count; i++)
			json_decref(records[i]);
		number += count;
	}
	for (;;)
		(void)pause();
}

/* Marks what the killed writer had told. */
static int take_told(int input, bool *told)
{
	int number, count = 0;

	while (read(input, &number, sizeof number) == (ssize_t)sizeof number) {
		ck_assert(number >= 0 && number < NUMBERS);
		told[number] = true;
		count++;
	}
	return count;
}

static int kill_one(const char *directory, int first, unsigned delay_us, bool *told)
{
	int ends[2], status, count;
	pid_t pid;

	ck_assert_int_eq(pipe(ends), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		(void)close(ends[0]);
		write_until_killed(directory, first, ends[1]);
	}
	(void)close(ends[1]);
	(void)usleep(delay_us);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFSIGNALED(status), "the writer failed");
	count = take_told(ends[0], told);
	(void)close(ends[0]);
	return count;
}

static void check_chain(struct fixture *fixture, const bool *told)
{
	static unsigned char seen[NUMBERS];

	fixture_open(fixture, 1500, 3);
	ck_assert_msg(fixture_verify(fixture, NULL) == 0, "%s", fixture->err.text);
	fixture_numbers(fixture, seen, sizeof seen);
	for (int i = 0; i < NUMBERS; i++) {
		ck_assert_msg(!told[i] || seen[i] == 1, "number %d is there %d times", i, seen[i]);
		ck_assert_int_le(seen[i], 1);
	}
	fixture_close(fixture);
}

START_TEST(every_acknowledged_record_survives_kill)
{
	static bool told[NUMBERS];
	struct fixture fixture;
	int count = 0;

	srandom((unsigned)_i + 1);
	fixture_make_on_disk(&fixture);
	for (int i = 0; i < KILLS_OF_CHAIN; i++) {
		count += kill_one(
			fixture.directory, i * NUMBERS_OF_KILL, (unsigned)random() % 25000, told);
		check_chain(&fixture, told);
	}
	fixture_open(&fixture, 0, 0);
	ck_assert(fixture_python_agrees(&fixture));
	(void)fprintf(stderr, "chain %d: %d acknowledged records over %d kills\n", _i, count,
		KILLS_OF_CHAIN);
	fixture_done(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, every_acknowledged_record_survives_kill, 0, CHAINS);
}

int main(void)
{
	return unit_test_run("audit_kill", add);
}
