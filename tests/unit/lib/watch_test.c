/* Watching: what is told, once, and how an event loop hears of it. */
#include "lib_fixture.h"

#include "unit_test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENOUGH_MS 20000

static struct mayfly_watch *watch_at(const char *path)
{
	struct mayfly_watch *watch;
	struct mayfly_failure failure;

	ck_assert_int_eq(mayfly_watch_open(path, &watch, &failure), MAYFLY_OK);
	return watch;
}

/* What is told next, as "rotated A 2" in the caller's TEXT; "" for a failure. */
static enum mayfly_status next(
	struct mayfly_watch *watch, int timeout_ms, char text[64], struct mayfly_failure *failure)
{
	static const char *const names[] = { "none", "present", "rotated", "expiring", "ended" };
	enum mayfly_event event = MAYFLY_EVENT_NONE;
	struct mayfly_delivery *delivery = NULL;
	const enum mayfly_status status =
		mayfly_watch_next(watch, timeout_ms, &event, &delivery, failure);

	/* Assertions allocate, too. */
	faults.fail_allocation = 0;
	text[0] = '\0';
	ck_assert_int_eq(status == MAYFLY_OK, delivery != NULL);
	if (delivery)
		(void)snprintf(text, 64, "%s %s %llu", names[event],
			mayfly_delivery_lease(delivery),
			(unsigned long long)mayfly_delivery_generation(delivery));
	mayfly_delivery_free(delivery);
	return status;
}

static void expect(struct mayfly_watch *watch, const char *told)
{
	struct mayfly_failure failure = { 0 };
	char text[64];
	const enum mayfly_status status = next(watch, ENOUGH_MS, text, &failure);

	ck_assert_msg(strcmp(text, told) == 0, "'%s', not '%s': %s: %s", text, told,
		mayfly_status_name(status), failure.text);
}

static enum mayfly_status fails(struct mayfly_watch *watch, int timeout_ms)
{
	char text[64];

	return next(watch, timeout_ms, text, NULL);
}

static bool is_readable(const struct mayfly_watch *watch, int timeout_ms)
{
	struct pollfd polled = { mayfly_watch_descriptor(watch), POLLIN, 0 };

	return poll(&polled, 1, timeout_ms) == 1;
}

/* What the broker says on one connection after another, and what comes of it. */
static const struct {
	const char *reads_as;
	struct step steps[6];
	const char *told[8];
} rows[] = {
	{ "present, then changes",
		{ { "Watch", STEP_REPLY,
			EVENT("present", "A", "1") "\1" EVENT("rotated", "A", "2") "\1" EVENT(
				"expiring", "A", "2") "\1" EVENT("ended", "A", "2") } },
		{ "present A 1", "rotated A 2", "expiring A 2", "ended A 2" } },
	{ "an echo is needed",
		{ { "Watch", STEP_REPLY, ERROR_REPLY("EchoRequired", "\"nonce\":\"n\"") },
			{ "Echo", STEP_REPLY, "{\"parameters\":{}}" },
			{ "Watch", STEP_REPLY, EVENT("present", "A", "1") } },
		{ "present A 1" } },
	{ "too often",
		{ { "Watch", STEP_REPLY,
			  ERROR_REPLY("TooMuch", "\"limit\":\"x\",\"retry_after_ms\":30") },
			{ "Watch", STEP_REPLY, EVENT("present", "A", "1") } },
		{ "present A 1" } },
	{ "a broker that is being started",
		{ { "Watch", STEP_REPLY, ERROR_REPLY("NotYet", "\"text\":\"soon\"") },
			{ "Watch", STEP_REPLY, EVENT("present", "A", "1") } },
		{ "present A 1" } },
	{ "broken connections",
		{ { "Watch", STEP_GONE }, { "Watch", STEP_HALF, "{\"para" },
			{ "Watch", STEP_REPLY, EVENT("present", "A", "1") } },
		{ "present A 1" } },
	{ "an event that a newer broker has",
		{ { "Watch", STEP_REPLY,
			"{\"parameters\":{\"event\":\"x\"},\"continues\":true}\1" EVENT(
				"present", "A", "1") } },
		{ "present A 1" } },
	{ "nothing has changed while it was away",
		{ { "Watch", STEP_LAST,
			  EVENT("present", "A", "1") "\1" EVENT(
				  "present", "B", "1") "\1" SYNCHRONISED },
			{ "Watch", STEP_REPLY,
				EVENT("present", "B", "1") "\1" EVENT("present", "A",
					"1") "\1" SYNCHRONISED "\1" EVENT("rotated", "A", "2") } },
		{ "present A 1", "present B 1", "rotated A 2" } },
	{ "changes while it was away",
		{ { "Watch", STEP_LAST,
			  EVENT("present", "A", "1") "\1" EVENT("present", "B", "1") },
			{ "Watch", STEP_REPLY,
				EVENT("present", "B", "3") "\1" EVENT(
					"present", "C", "1") "\1" SYNCHRONISED } },
		{ "present A 1", "present B 1", "rotated B 3", "present C 1", "ended A 1" } },
	{ "a broker that does not say when it has told all",
		{ { "Watch", STEP_LAST, EVENT("present", "A", "1") },
			{ "Watch", STEP_REPLY, EVENT("present", "B", "1") } },
		{ "present A 1", "present B 1" } },
	{ "an end that it has seen is not told again",
		{ { "Watch", STEP_LAST, EVENT("present", "A", "1") "\1" EVENT("ended", "A", "1") },
			{ "Watch", STEP_REPLY, SYNCHRONISED "\1" EVENT("present", "B", "1") } },
		{ "present A 1", "ended A 1", "present B 1" } },
	{ "a broker that tells once only",
		{ { "Watch", STEP_REPLY,
			  "{\"parameters\":{\"event\":\"present\",\"delivery\":" PLAIN_DELIVERY
			  "}}" },
			{ "Watch", STEP_REPLY, EVENT("rotated", "L", "2") } },
		{ "present L 1", "rotated L 2" } },
};

START_TEST(a_watch_tells)
{
	struct scripted s;
	struct mayfly_watch *watch;

	scripted_start(&s, rows[_i].steps);
	watch = watch_at(s.path);
	for (size_t i = 0; rows[_i].told[i]; i++)
		expect(watch, rows[_i].told[i]);
	ck_assert_int_eq(fails(watch, 0), MAYFLY_TIMED_OUT);
	mayfly_watch_close(watch);
	scripted_stop(&s);
}
END_TEST

static const struct {
	const char *reads_as;
	struct step steps[3];
	enum mayfly_status status;
} failures[] = {
	{ "not attested",
		{ { "Watch", STEP_REPLY, ERROR_REPLY("NotAttested", "\"text\":\"who\"") } },
		MAYFLY_NOT_ATTESTED },
	{ "a second echo",
		{ { "Watch", STEP_REPLY, ERROR_REPLY("EchoRequired", "\"nonce\":\"n\"") },
			{ "Echo", STEP_REPLY, ERROR_REPLY("EchoRequired", "\"nonce\":\"m\"") } },
		MAYFLY_NOT_ATTESTED },
	{ "no nonce", { { "Watch", STEP_REPLY, ERROR_REPLY("EchoRequired", "") } },
		MAYFLY_BAD_REPLY },
	{ "garbage", { { "Watch", STEP_REPLY, "x" } }, MAYFLY_BAD_REPLY },
	{ "no event", { { "Watch", STEP_REPLY, "{\"parameters\":{},\"continues\":true}" } },
		MAYFLY_BAD_REPLY },
	{ "no delivery",
		{ { "Watch", STEP_REPLY,
			"{\"parameters\":{\"event\":\"present\"},\"continues\":true}" } },
		MAYFLY_BAD_REPLY },
};

START_TEST(a_watch_fails_and_goes_on_trying)
{
	struct scripted s;
	struct step steps[4] = { 0 };
	struct mayfly_watch *watch;
	size_t count = 0;

	for (; failures[_i].steps[count].kind; count++)
		steps[count] = failures[_i].steps[count];
	steps[count] = (struct step){ "Watch", STEP_REPLY, EVENT("present", "A", "1") };
	scripted_start(&s, steps);
	watch = watch_at(s.path);
	ck_assert_msg(fails(watch, ENOUGH_MS) == failures[_i].status, "%s", failures[_i].reads_as);
	/* It pauses before it tries again: until then it tells what is wrong. */
	ck_assert_int_eq(fails(watch, 0), failures[_i].status);
	expect(watch, "present A 1");
	mayfly_watch_close(watch);
	scripted_stop(&s);
}
END_TEST

/* Two messages come in one packet: the second waits in our memory, where no poll() looks. */
START_TEST(the_descriptor_is_readable_until_all_is_told)
{
	static const struct step steps[] = { { "Watch", STEP_REPLY, EVENT("present", "A", "1") },
		{ 0 } };
	struct scripted s;
	struct mayfly_watch *watch;
	struct mayfly_failure failure;
	char text[64];

	scripted_start(&s, steps);
	watch = watch_at(s.path);
	ck_assert(is_readable(watch, 0));
	expect(watch, "present A 1");
	ck_assert_int_eq(fails(watch, 0), MAYFLY_TIMED_OUT);
	ck_assert(!is_readable(watch, 0));
	scripted_send(&s, EVENT("rotated", "A", "2") "\1" EVENT("rotated", "A", "3"));
	ck_assert(is_readable(watch, ENOUGH_MS));
	ck_assert_int_eq(next(watch, 0, text, &failure), MAYFLY_OK);
	ck_assert_str_eq(text, "rotated A 2");
	ck_assert(is_readable(watch, 0));
	ck_assert_int_eq(next(watch, 0, text, &failure), MAYFLY_OK);
	ck_assert_str_eq(text, "rotated A 3");
	ck_assert_int_eq(fails(watch, 0), MAYFLY_TIMED_OUT);
	ck_assert(!is_readable(watch, 0));
	mayfly_watch_close(watch);
	scripted_stop(&s);
}
END_TEST

START_TEST(an_event_loop_alone_connects_and_connects_again)
{
	static const struct step steps[] = { { "Watch", STEP_LAST, EVENT("present", "A", "1") },
		{ "Watch", STEP_GONE }, { "Watch", STEP_REPLY, EVENT("present", "A", "2") },
		{ 0 } };
	struct scripted s;
	struct mayfly_watch *watch;
	struct mayfly_failure failure;
	char told[2][64];
	unsigned turns = 0;

	scripted_start(&s, steps);
	watch = watch_at(s.path);
	for (size_t i = 0; i < 2; turns++) {
		ck_assert(is_readable(watch, ENOUGH_MS));
		if (next(watch, 0, told[i], &failure) == MAYFLY_OK)
			i++;
	}
	ck_assert_str_eq(told[0], "present A 1");
	ck_assert_str_eq(told[1], "rotated A 2");
	/* It slept between: it did not spin. */
	ck_assert_uint_lt(turns, 20);
	mayfly_watch_close(watch);
	scripted_stop(&s);
}
END_TEST

/* A child holds a copy of the connection: closing ours must take it out of the polled ones. */
START_TEST(a_child_s_copy_of_a_dead_connection_wakes_nobody)
{
	static const struct step steps[] = { { "Watch", STEP_LAST, EVENT("present", "A", "1") },
		{ "Watch", STEP_SILENCE }, { 0 } };
	struct scripted s;
	struct mayfly_watch *watch;
	int status;
	pid_t child;

	scripted_start(&s, steps);
	watch = watch_at(s.path);
	expect(watch, "present A 1");
	child = fork();
	if (child == 0) {
		const enum mayfly_status refused = fails(watch, 0);

		mayfly_watch_close(watch);
		if (refused != MAYFLY_INVALID_ARGUMENT)
			_exit(1);
		(void)pause();
	}
	while (__atomic_load_n(&s.at, __ATOMIC_SEQ_CST) < 2)
		ck_assert_int_ne(fails(watch, 10), MAYFLY_OK);
	ck_assert_int_eq(fails(watch, 10), MAYFLY_TIMED_OUT);
	ck_assert(!is_readable(watch, 100));
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	mayfly_watch_close(watch);
	scripted_stop(&s);
}
END_TEST

START_TEST(single_bytes_and_signals_change_nothing)
{
	static const struct step steps[] = { { "Watch", STEP_PIECES, EVENT("present", "A", "1") },
		{ 0 } };
	struct scripted s;
	struct mayfly_watch *watch;

	scripted_start(&s, steps);
	faults = (struct faults){ .one_byte = true, .interrupts = true };
	watch = watch_at(s.path);
	expect(watch, "present A 1");
	faults = (struct faults){ 0 };
	mayfly_watch_close(watch);
	scripted_stop(&s);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
	static const struct step steps[] = {
		{ "Watch", STEP_REPLY, ERROR_REPLY("EchoRequired", "\"nonce\":\"n\"") },
		{ "Echo", STEP_REPLY, "{\"parameters\":{}}" },
		{ "Watch", STEP_REPLY, EVENT("present", "A", "1") }, { 0 }
	};
	bool failed = true;
	long i;

	for (i = 1; failed; i++) {
		static struct scripted s;
		struct mayfly_watch *watch = NULL;
		struct mayfly_failure failure = { 0 };
		char text[64];
		enum mayfly_status status;

		scripted_start(&s, steps);
		faults = (struct faults){ .fail_allocation = i };
		status = mayfly_watch_open(s.path, &watch, &failure);
		if (status == MAYFLY_OK)
			status = next(watch, ENOUGH_MS, text, &failure);
		failed = faults.is_failed;
		faults = (struct faults){ 0 };
		ck_assert_msg(status == (failed ? MAYFLY_NO_MEMORY : MAYFLY_OK),
			"allocation %ld: %s: %s", i, mayfly_status_name(status), failure.text);
		mayfly_watch_close(watch);
		scripted_abandon(&s);
	}
	ck_assert_int_gt(i, 12);
}
END_TEST

START_TEST(no_descriptor_is_left_or_inherited)
{
	static const struct step steps[] = { { "Watch", STEP_LAST, EVENT("present", "A", "1") },
		{ "Watch", STEP_REPLY, EVENT("rotated", "A", "2") }, { 0 } };
	struct scripted s;
	struct mayfly_watch *watch;
	const unsigned before = open_descriptors();

	scripted_start(&s, steps);
	watch = watch_at(s.path);
	expect(watch, "present A 1");
	expect(watch, "rotated A 2");
	(void)open_descriptors();
	mayfly_watch_close(watch);
	scripted_stop(&s);
	mayfly_watch_close(NULL);
	ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

START_TEST(a_socket_that_cannot_come_is_told_at_once)
{
	struct mayfly_watch *watch = watch_at("/nowhere/at/all/container.sock");

	ck_assert_int_eq(fails(watch, ENOUGH_MS), MAYFLY_NOT_REACHABLE);
	mayfly_watch_close(watch);
	watch = watch_at("/tmp/mayfly-there-is-no-such-socket");
	ck_assert_int_eq(fails(watch, 200), MAYFLY_NOT_REACHABLE);
	mayfly_watch_close(watch);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_watch_tells, 0, sizeof rows / sizeof rows[0]);
	tcase_add_loop_test(
		cases, a_watch_fails_and_goes_on_trying, 0, sizeof failures / sizeof failures[0]);
	tcase_add_test(cases, the_descriptor_is_readable_until_all_is_told);
	tcase_add_test(cases, an_event_loop_alone_connects_and_connects_again);
	tcase_add_test(cases, a_child_s_copy_of_a_dead_connection_wakes_nobody);
	tcase_add_test(cases, single_bytes_and_signals_change_nothing);
	tcase_add_test(cases, every_allocation_may_fail);
	tcase_add_test(cases, no_descriptor_is_left_or_inherited);
	tcase_add_test(cases, a_socket_that_cannot_come_is_told_at_once);
}

int main(void)
{
	return unit_test_run("lib_watch", add);
}
