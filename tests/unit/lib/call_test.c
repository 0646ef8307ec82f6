/* Calls over the socket: what the broker says, and what goes wrong with it. */
#include "lib_fixture.h"

#include "unit_test.h"

#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ENOUGH_MS 20000

static int64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct mayfly *open_at(const char *path)
{
	struct mayfly *mayfly;
	struct mayfly_failure failure;

	ck_assert_int_eq(mayfly_open(path, &mayfly, &failure), MAYFLY_OK);
	return mayfly;
}

static enum mayfly_status whoami(
	struct mayfly *mayfly, int timeout_ms, struct mayfly_failure *failure)
{
	struct mayfly_identity *identity = NULL;
	const enum mayfly_status status = mayfly_whoami(mayfly, timeout_ms, &identity, failure);

	ck_assert_int_eq(status == MAYFLY_OK, identity != NULL);
	mayfly_identity_free(identity);
	return status;
}

#define ECHO_REQUIRED ERROR_REPLY("EchoRequired", "\"nonce\":\"n\\\"1\"")
#define TOO_MUCH(ms)  ERROR_REPLY("TooMuch", "\"limit\":\"ten\",\"retry_after_ms\":" ms)

static const struct {
	const char *reads_as;
	struct step steps[8];
	enum mayfly_status status;
	const char *says; /* NULL: anything */
	int timeout_ms;	  /* 0: enough */
	unsigned connections;
} rows[] = {
	{ "an answer", { { "WhoAmI", STEP_REPLY, WHOAMI_REPLY } }, MAYFLY_OK, NULL, 0, 1 },
	{ "an answer byte by byte", { { "WhoAmI", STEP_PIECES, WHOAMI_REPLY } }, MAYFLY_OK, NULL, 0,
		1 },
	{ "an answer, and the broker is gone", { { "WhoAmI", STEP_LAST, WHOAMI_REPLY } }, MAYFLY_OK,
		NULL, 0, 1 },
	{ "members that a newer broker has",
		{ { "WhoAmI", STEP_REPLY,
			"{\"parameters\":{\"container\":\"a\",\"container_id\":\"b\",\"engine\":"
			"\"c\",\"grants\":[],\"facts\":[],\"more\":[{}]},\"x\":1.5e3}" } },
		MAYFLY_OK, NULL, 0, 1 },
	{ "an echo is needed",
		{ { "WhoAmI", STEP_REPLY, ECHO_REQUIRED },
			{ "Echo", STEP_REPLY, "{\"parameters\":{}}" },
			{ "WhoAmI", STEP_REPLY, WHOAMI_REPLY } },
		MAYFLY_OK, NULL, 0, 1 },
	{ "an echo is refused",
		{ { "WhoAmI", STEP_REPLY, ECHO_REQUIRED },
			{ "Echo", STEP_REPLY, ERROR_REPLY("NotAttested", "\"text\":\"who?\"") } },
		MAYFLY_NOT_ATTESTED, "Echo: who?", 0, 1 },
	{ "an echo without a nonce", { { "WhoAmI", STEP_REPLY, ERROR_REPLY("EchoRequired", "") } },
		MAYFLY_BAD_REPLY, "no valid nonce", 0, 1 },
	{ "the connection ends before the echo",
		{ { "WhoAmI", STEP_REPLY, ECHO_REQUIRED }, { "Echo", STEP_GONE },
			{ "WhoAmI", STEP_REPLY, WHOAMI_REPLY } },
		MAYFLY_OK, NULL, 0, 2 },
	{ "too often, for a moment",
		{ { "WhoAmI", STEP_REPLY, TOO_MUCH("40") }, { "WhoAmI", STEP_REPLY, TOO_MUCH("0") },
			{ "WhoAmI", STEP_REPLY, WHOAMI_REPLY } },
		MAYFLY_OK, NULL, 0, 1 },
	{ "too often, for too long", { { "WhoAmI", STEP_REPLY, TOO_MUCH("30000") } },
		MAYFLY_TOO_MUCH, "too often: ten", 2000, 1 },
	{ "too often, for a strange time", { { "WhoAmI", STEP_REPLY, TOO_MUCH("99999999999999") } },
		MAYFLY_TOO_MUCH, "too often: ten", 2000, 1 },
	{ "a broker that is being started",
		{ { "WhoAmI", STEP_REPLY, ERROR_REPLY("NotYet", "\"text\":\"soon\"") },
			{ "WhoAmI", STEP_REPLY, ERROR_REPLY("NotYet", "\"text\":\"soon\"") },
			{ "WhoAmI", STEP_REPLY, WHOAMI_REPLY } },
		MAYFLY_OK, NULL, 0, 1 },
	{ "a broker that is being started, and little time",
		{ { "WhoAmI", STEP_REPLY, ERROR_REPLY("NotYet", "\"text\":\"soon\"") } },
		MAYFLY_NOT_YET, "WhoAmI: soon", 1500, 1 },
	{ "the broker is gone twice",
		{ { "WhoAmI", STEP_GONE }, { "WhoAmI", STEP_HALF, "{\"parameters\":{\"conta" },
			{ "WhoAmI", STEP_REPLY, WHOAMI_REPLY } },
		MAYFLY_OK, NULL, 0, 3 },
	{ "silence", { { "WhoAmI", STEP_SILENCE } }, MAYFLY_TIMED_OUT,
		"WhoAmI: the broker has not answered in time", 300, 1 },
	{ "garbage", { { "WhoAmI", STEP_REPLY, "garbage" } }, MAYFLY_BAD_REPLY, "is no JSON", 0,
		1 },
	{ "an empty message", { { "WhoAmI", STEP_REPLY, "" } }, MAYFLY_BAD_REPLY, "is no JSON", 0,
		1 },
	{ "no parameters", { { "WhoAmI", STEP_REPLY, "{}" } }, MAYFLY_BAD_REPLY,
		"WhoAmI: the broker's reply has no valid container", 0, 1 },
	{ "a grant that is no text",
		{ { "WhoAmI", STEP_REPLY,
			"{\"parameters\":{\"container\":\"a\",\"container_id\":\"b\",\"engine\":"
			"\"c\",\"grants\":[1],\"facts\":[]}}" } },
		MAYFLY_BAD_REPLY, "no valid grant", 0, 1 },
	{ "an error that nobody knows",
		{ { "WhoAmI", STEP_REPLY,
			"{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{}}" } },
		MAYFLY_FAILED, "WhoAmI: org.varlink.service.MethodNotFound", 0, 1 },
	{ "an error of a similar interface",
		{ { "WhoAmI", STEP_REPLY, "{\"error\":\"org.mayfly.ContainerX.Refused\"}" } },
		MAYFLY_FAILED, NULL, 0, 1 },
	{ "an error without parameters",
		{ { "WhoAmI", STEP_REPLY, "{\"error\":\"org.mayfly.Container.Refused\"}" } },
		MAYFLY_REFUSED, "WhoAmI: org.mayfly.Container.Refused", 0, 1 },
};

START_TEST(a_call_comes_to)
{
	struct scripted s;
	struct mayfly_failure failure = { 0 };
	struct mayfly *mayfly;
	enum mayfly_status status;

	scripted_start(&s, rows[_i].steps);
	mayfly = open_at(s.path);
	status = whoami(mayfly, rows[_i].timeout_ms ? rows[_i].timeout_ms : ENOUGH_MS, &failure);
	ck_assert_msg(status == rows[_i].status, "%s: %s: %s", rows[_i].reads_as,
		mayfly_status_name(status), failure.text);
	ck_assert_msg(!rows[_i].says || strstr(failure.text, rows[_i].says), "%s: %s",
		rows[_i].reads_as, failure.text);
	ck_assert_int_eq(failure.status, status);
	mayfly_close(mayfly);
	scripted_stop(&s);
	ck_assert_msg(s.connections == rows[_i].connections, "%s: %u connections",
		rows[_i].reads_as, s.connections);
}
END_TEST

START_TEST(the_nonce_comes_back_as_it_was)
{
	static const struct step steps[] = { { "WhoAmI", STEP_REPLY, ECHO_REQUIRED },
		{ "Echo", STEP_REPLY, "{\"parameters\":{}}" },
		{ "WhoAmI", STEP_REPLY, WHOAMI_REPLY }, { 0 } };
	struct scripted s;
	struct mayfly *mayfly;

	scripted_start(&s, steps);
	mayfly = open_at(s.path);
	ck_assert_int_eq(whoami(mayfly, ENOUGH_MS, NULL), MAYFLY_OK);
	ck_assert_ptr_nonnull(strstr(s.calls[1], "{\"nonce\":\"n\\u00221\"}"));
	mayfly_close(mayfly);
	scripted_stop(&s);
}
END_TEST

START_TEST(an_identity_is_told_whole)
{
	static const struct step steps[] = { { "WhoAmI", STEP_REPLY, WHOAMI_REPLY }, { 0 } };
	struct scripted s;
	struct mayfly *mayfly;
	struct mayfly_identity *identity;

	scripted_start(&s, steps);
	mayfly = open_at(s.path);
	ck_assert_int_eq(mayfly_whoami(mayfly, ENOUGH_MS, &identity, NULL), MAYFLY_OK);
	mayfly_close(mayfly);
	scripted_stop(&s);
	ck_assert_str_eq(mayfly_identity_container(identity), "web");
	ck_assert_str_eq(mayfly_identity_container_id(identity), "0123");
	ck_assert_str_eq(mayfly_identity_engine(identity), "docker");
	ck_assert_uint_eq(mayfly_identity_grant_count(identity), 2);
	ck_assert_str_eq(mayfly_identity_grant(identity, 1), "h");
	ck_assert_ptr_null(mayfly_identity_grant(identity, 2));
	ck_assert_uint_eq(mayfly_identity_fact_count(identity), 2);
	ck_assert_str_eq(mayfly_identity_fact_name(identity, 0), "pid");
	ck_assert_str_eq(mayfly_identity_fact_value(identity, 0), "7");
	ck_assert(mayfly_identity_fact_is_proved(identity, 0));
	ck_assert(!mayfly_identity_fact_is_proved(identity, 1));
	ck_assert_ptr_null(mayfly_identity_fact_name(identity, 2));
	mayfly_identity_free(identity);
}
END_TEST

START_TEST(a_delivery_is_told_whole)
{
	static const struct step steps[] = { { "Request", STEP_REPLY, REQUEST_REPLY }, { 0 } };
	struct scripted s;
	struct mayfly *mayfly;
	struct mayfly_delivery *delivery;

	scripted_start(&s, steps);
	mayfly = open_at(s.path);
	ck_assert_int_eq(mayfly_request(mayfly, NULL, ENOUGH_MS, &delivery, NULL), MAYFLY_OK);
	mayfly_close(mayfly);
	scripted_stop(&s);
	ck_assert_ptr_nonnull(strstr(s.calls[0], "\"parameters\":{}"));
	ck_assert_str_eq(mayfly_delivery_lease(delivery), "L");
	ck_assert_str_eq(mayfly_delivery_target(delivery), "/t");
	ck_assert_uint_eq(mayfly_delivery_generation(delivery), 1);
	ck_assert_ptr_null(mayfly_delivery_expires(delivery));
	ck_assert_int_eq(mayfly_delivery_expires_unix_s(delivery), 0);
	ck_assert(mayfly_delivery_is_new(delivery));
	ck_assert_uint_eq(mayfly_delivery_file_count(delivery), 1);
	ck_assert_str_eq(mayfly_delivery_file_path(delivery, 0), "/t/a");
	ck_assert_ptr_null(mayfly_delivery_file_path(delivery, 1));
	ck_assert_uint_eq(mayfly_delivery_secret_count(delivery, 0), 2);
	ck_assert_uint_eq(mayfly_delivery_secret_count(delivery, 1), 0);
	ck_assert_str_eq(mayfly_delivery_secret_name(delivery, 0, 1), "prod/b");
	ck_assert_uint_eq(mayfly_delivery_secret_version(delivery, 0, 1), 4);
	ck_assert_ptr_null(mayfly_delivery_secret_name(delivery, 0, 2));
	ck_assert_uint_eq(mayfly_delivery_secret_version(delivery, 1, 0), 0);
	mayfly_delivery_free(delivery);
}
END_TEST

/* The number behind NAME in TEXT, or -1. */
static long number_in(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? atol(at + strlen(name)) : -1;
}

START_TEST(a_wait_ends_before_the_deadline_and_shrinks)
{
	static const struct step steps[] = { { "Request", STEP_REPLY, TOO_MUCH("300") },
		{ "Request", STEP_REPLY, REQUEST_REPLY }, { 0 } };
	static const char *const names[] = { "a\"b", "c", NULL };
	const struct mayfly_wanted wanted = {
		.grant = "g", .names = names, .wait_ms = MAYFLY_WAIT_MAX_MS
	};
	struct scripted s;
	struct mayfly *mayfly;
	struct mayfly_delivery *delivery;
	long first, second;

	scripted_start(&s, steps);
	mayfly = open_at(s.path);
	ck_assert_int_eq(mayfly_request(mayfly, &wanted, ENOUGH_MS, &delivery, NULL), MAYFLY_OK);
	mayfly_delivery_free(delivery);
	mayfly_close(mayfly);
	scripted_stop(&s);
	ck_assert_ptr_nonnull(strstr(
		s.calls[0], "{\"grant\":\"g\",\"names\":[\"a\\u0022b\",\"c\"],\"wait_ms\":"));
	first = number_in(s.calls[0], "\"wait_ms\":");
	second = number_in(s.calls[1], "\"wait_ms\":");
	ck_assert_int_gt(first, ENOUGH_MS - 2500);
	ck_assert_int_le(first, ENOUGH_MS - 1000);
	ck_assert_int_le(second, first - 300);
}
END_TEST

/* A broker that is being started says NotYet whatever wait it is asked for; and at the end of a
 * wait it says it, too. */
START_TEST(not_yet_is_asked_again_while_there_is_a_wait)
{
	static const struct step steps[] = { { "Request", STEP_REPLY,
						     ERROR_REPLY("NotYet", "\"text\":\"locked\"") },
		{ "Request", STEP_REPLY, ERROR_REPLY("NotYet", "\"text\":\"starting\"") },
		{ "Request", STEP_REPLY, REQUEST_REPLY },
		{ "Request", STEP_REPLY, ERROR_REPLY("NotYet", "\"text\":\"locked\"") }, { 0 } };
	const struct mayfly_wanted patient = { .wait_ms = 10000 }, hasty = { .wait_ms = 1000 };
	struct scripted s;
	struct mayfly *mayfly;
	struct mayfly_delivery *delivery;

	scripted_start(&s, steps);
	mayfly = open_at(s.path);
	ck_assert_int_eq(mayfly_request(mayfly, NULL, ENOUGH_MS, &delivery, NULL), MAYFLY_NOT_YET);
	ck_assert_int_eq(mayfly_request(mayfly, &patient, ENOUGH_MS, &delivery, NULL), MAYFLY_OK);
	mayfly_delivery_free(delivery);
	ck_assert_int_eq(
		mayfly_request(mayfly, &hasty, ENOUGH_MS, &delivery, NULL), MAYFLY_NOT_YET);
	mayfly_close(mayfly);
	scripted_stop(&s);
}
END_TEST

START_TEST(wrong_arguments_are_not_sent)
{
	static const struct step steps[] = { { 0 } };
	static const char *no_text[] = { "a\xff", NULL };
	static const char *many[130];
	const struct mayfly_wanted wrong[] = { { .grant = "" }, { .names = no_text },
		{ .names = many }, { .wait_ms = MAYFLY_WAIT_MAX_MS + 1 } };
	struct scripted s;
	struct mayfly *mayfly;
	struct mayfly_delivery *delivery = NULL;
	struct mayfly_failure failure;
	char path[109];

	for (size_t i = 0; i < 129; i++)
		many[i] = "x";
	scripted_start(&s, steps);
	mayfly = open_at(s.path);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		ck_assert_int_eq(mayfly_request(mayfly, &wrong[i], ENOUGH_MS, &delivery, &failure),
			MAYFLY_INVALID_ARGUMENT);
	ck_assert_ptr_null(delivery);
	ck_assert_int_eq(mayfly_release(mayfly, NULL, 0, &failure), MAYFLY_INVALID_ARGUMENT);
	ck_assert_int_eq(mayfly_release(mayfly, "", 0, NULL), MAYFLY_INVALID_ARGUMENT);
	mayfly_close(mayfly);
	memset(path, 'x', 108);
	path[108] = '\0';
	ck_assert_int_eq(mayfly_open(path, &mayfly, &failure), MAYFLY_INVALID_ARGUMENT);
	ck_assert_int_eq(mayfly_open("", &mayfly, NULL), MAYFLY_INVALID_ARGUMENT);
	mayfly_close(NULL);
	scripted_stop(&s);
}
END_TEST

START_TEST(the_environment_names_the_socket)
{
	static const struct step steps[] = { { "Release", STEP_REPLY, "{\"parameters\":{}}" },
		{ 0 } };
	struct scripted s;
	struct mayfly *mayfly;

	scripted_start(&s, steps);
	ck_assert_int_eq(setenv("MAYFLY_SOCKET", s.path, 1), 0);
	mayfly = open_at(NULL);
	ck_assert_int_eq(mayfly_release(mayfly, "L", ENOUGH_MS, NULL), MAYFLY_OK);
	ck_assert_ptr_nonnull(strstr(s.calls[0], "\"parameters\":{\"lease\":\"L\"}"));
	mayfly_close(mayfly);
	scripted_stop(&s);
}
END_TEST

/* One answer too many must not become the answer to the next call; nor one that came too late. */
START_TEST(each_call_has_its_own_answer)
{
	static const struct step steps[] = { { "WhoAmI", STEP_REPLY,
						     WHOAMI_REPLY "\1" WHOAMI_REPLY },
		{ "Request", STEP_REPLY, REQUEST_REPLY }, { "WhoAmI", STEP_SILENCE },
		{ "Request", STEP_REPLY, REQUEST_REPLY }, { 0 } };
	struct scripted s;
	struct mayfly *mayfly;
	struct mayfly_delivery *delivery;

	scripted_start(&s, steps);
	mayfly = open_at(s.path);
	ck_assert_int_eq(whoami(mayfly, ENOUGH_MS, NULL), MAYFLY_OK);
	ck_assert_int_eq(mayfly_request(mayfly, NULL, ENOUGH_MS, &delivery, NULL), MAYFLY_OK);
	mayfly_delivery_free(delivery);
	ck_assert_int_eq(whoami(mayfly, 100, NULL), MAYFLY_TIMED_OUT);
	ck_assert_int_eq(mayfly_request(mayfly, NULL, ENOUGH_MS, &delivery, NULL), MAYFLY_OK);
	mayfly_delivery_free(delivery);
	mayfly_close(mayfly);
	scripted_stop(&s);
	ck_assert_uint_eq(s.connections, 3);
}
END_TEST

START_TEST(one_connection_serves_many_calls)
{
	static const struct step steps[] = { { "WhoAmI", STEP_REPLY, WHOAMI_REPLY },
		{ "WhoAmI", STEP_REPLY, WHOAMI_REPLY }, { 0 } };
	struct scripted s;
	struct mayfly *mayfly;

	scripted_start(&s, steps);
	mayfly = open_at(s.path);
	ck_assert_int_eq(whoami(mayfly, ENOUGH_MS, NULL), MAYFLY_OK);
	ck_assert_int_eq(whoami(mayfly, ENOUGH_MS, NULL), MAYFLY_OK);
	mayfly_close(mayfly);
	scripted_stop(&s);
	ck_assert_uint_eq(s.connections, 1);
}
END_TEST

/* SIGPIPE would end this process. */
START_TEST(an_idle_connection_that_was_closed_is_opened_again)
{
	static const struct step steps[] = { { "WhoAmI", STEP_LAST, WHOAMI_REPLY },
		{ "WhoAmI", STEP_REPLY, WHOAMI_REPLY }, { 0 } };
	struct scripted s;
	struct mayfly *mayfly;

	(void)signal(SIGPIPE, SIG_DFL);
	scripted_start(&s, steps);
	mayfly = open_at(s.path);
	ck_assert_int_eq(whoami(mayfly, ENOUGH_MS, NULL), MAYFLY_OK);
	while (!scripted_is_idle(&s))
		(void)usleep(1000);
	ck_assert_int_eq(whoami(mayfly, ENOUGH_MS, NULL), MAYFLY_OK);
	mayfly_close(mayfly);
	scripted_stop(&s);
}
END_TEST

static const struct {
	const char *reads_as, *path;
	int timeout_ms, at_least_ms;
} absent[] = {
	{ "no directory", "/nowhere/at/all/container.sock", ENOUGH_MS, 0 },
	{ "no socket", "/tmp/mayfly-there-is-no-such-socket", 400, 300 },
	{ "a file that is no socket", "/etc/passwd", 400, 300 },
	{ "no time", "/tmp/mayfly-there-is-no-such-socket", 0, 0 },
};

START_TEST(nobody_is_reached)
{
	struct mayfly *mayfly = open_at(absent[_i].path);
	struct mayfly_failure failure = { 0 };
	const int64_t begun_ms = now_ms();

	ck_assert_int_eq(whoami(mayfly, absent[_i].timeout_ms, &failure), MAYFLY_NOT_REACHABLE);
	ck_assert_msg(now_ms() - begun_ms >= absent[_i].at_least_ms, "%s", absent[_i].reads_as);
	ck_assert_msg(now_ms() - begun_ms < ENOUGH_MS / 2, "%s", absent[_i].reads_as);
	ck_assert_ptr_nonnull(strstr(failure.text, absent[_i].path));
	ck_assert_int_ne(failure.system_error, 0);
	mayfly_close(mayfly);
}
END_TEST

static void on_alarm(int signal_number)
{
	(void)signal_number;
}

/* A handler without SA_RESTART that runs every 300 us, and a libc that moves single bytes. */
START_TEST(signals_and_single_bytes_change_nothing)
{
	static const struct step steps[] = { { "WhoAmI", STEP_PIECES, WHOAMI_REPLY },
		{ "Request", STEP_REPLY, TOO_MUCH("20") }, { "Request", STEP_GONE },
		{ "Request", STEP_PIECES, REQUEST_REPLY }, { "WhoAmI", STEP_SILENCE }, { 0 } };
	const struct sigaction action = { .sa_handler = on_alarm };
	const struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { 0 };
	struct scripted s;
	struct mayfly *mayfly;
	struct mayfly_delivery *delivery;
	int64_t begun_ms;

	scripted_start(&s, steps);
	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
	faults = (struct faults){ .one_byte = true, .interrupts = true };
	mayfly = open_at(s.path);
	ck_assert_int_eq(whoami(mayfly, ENOUGH_MS, NULL), MAYFLY_OK);
	ck_assert_int_eq(mayfly_request(mayfly, NULL, ENOUGH_MS, &delivery, NULL), MAYFLY_OK);
	begun_ms = now_ms();
	ck_assert_int_eq(whoami(mayfly, 300, NULL), MAYFLY_TIMED_OUT);
	ck_assert_int_ge(now_ms() - begun_ms, 299);
	faults = (struct faults){ 0 };
	ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
	mayfly_delivery_free(delivery);
	mayfly_close(mayfly);
	scripted_stop(&s);
}
END_TEST

START_TEST(a_child_opens_a_connection_of_its_own)
{
	static const struct step steps[] = { { "WhoAmI", STEP_REPLY, WHOAMI_REPLY },
		{ "WhoAmI", STEP_REPLY, WHOAMI_REPLY }, { "WhoAmI", STEP_REPLY, WHOAMI_REPLY },
		{ 0 } };
	struct scripted s;
	struct mayfly *mayfly;
	int status;
	pid_t child;

	scripted_start(&s, steps);
	mayfly = open_at(s.path);
	ck_assert_int_eq(whoami(mayfly, ENOUGH_MS, NULL), MAYFLY_OK);
	child = fork();
	if (child == 0)
		_exit(whoami(mayfly, ENOUGH_MS, NULL) == MAYFLY_OK ? 0 : 1);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	/* The parent's goes on. */
	ck_assert_int_eq(whoami(mayfly, ENOUGH_MS, NULL), MAYFLY_OK);
	mayfly_close(mayfly);
	scripted_stop(&s);
	ck_assert_uint_eq(s.connections, 2);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
	static const struct step whole[] = { { "WhoAmI", STEP_REPLY, ECHO_REQUIRED },
		{ "Echo", STEP_REPLY, "{\"parameters\":{}}" },
		{ "WhoAmI", STEP_REPLY, WHOAMI_REPLY }, { "Request", STEP_REPLY, REQUEST_REPLY },
		{ 0 } };
	bool failed = true;
	long i;

	for (i = 1; failed; i++) {
		static struct scripted s;
		struct mayfly *mayfly = NULL;
		struct mayfly_identity *identity = NULL;
		struct mayfly_delivery *delivery = NULL;
		struct mayfly_failure failure = { 0 };
		enum mayfly_status status;

		scripted_start(&s, whole);
		faults = (struct faults){ .fail_allocation = i };
		status = mayfly_open(s.path, &mayfly, &failure);
		if (status == MAYFLY_OK)
			status = mayfly_whoami(mayfly, ENOUGH_MS, &identity, &failure);
		if (status == MAYFLY_OK)
			status = mayfly_request(mayfly, NULL, ENOUGH_MS, &delivery, &failure);
		failed = faults.is_failed;
		faults = (struct faults){ 0 };
		ck_assert_msg(status == (failed ? MAYFLY_NO_MEMORY : MAYFLY_OK),
			"allocation %ld: %s: %s", i, mayfly_status_name(status), failure.text);
		mayfly_identity_free(identity);
		mayfly_delivery_free(delivery);
		mayfly_close(mayfly);
		scripted_abandon(&s);
	}
	ck_assert_int_gt(i, 12);
}
END_TEST

START_TEST(no_descriptor_is_left_or_inherited)
{
	static const struct step steps[] = { { "WhoAmI", STEP_GONE },
		{ "WhoAmI", STEP_REPLY, "garbage" }, { "WhoAmI", STEP_REPLY, WHOAMI_REPLY },
		{ 0 } };
	struct scripted s;
	struct mayfly *mayfly;
	const unsigned before = open_descriptors();

	scripted_start(&s, steps);
	mayfly = open_at(s.path);
	ck_assert_int_eq(whoami(mayfly, ENOUGH_MS, NULL), MAYFLY_BAD_REPLY);
	ck_assert_int_eq(whoami(mayfly, ENOUGH_MS, NULL), MAYFLY_OK);
	(void)open_descriptors();
	mayfly_close(mayfly);
	scripted_stop(&s);
	ck_assert_uint_eq(open_descriptors(), before);
}
END_TEST

START_TEST(a_status_has_a_name)
{
	ck_assert_str_eq(mayfly_status_name(MAYFLY_OK), "MAYFLY_OK");
	ck_assert_str_eq(mayfly_status_name(MAYFLY_NOT_LOCKED), "MAYFLY_NOT_LOCKED");
	ck_assert_str_eq(mayfly_status_name((enum mayfly_status)77), "MAYFLY_?");
	ck_assert_str_eq(mayfly_version(), MAYFLY_VERSION);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_call_comes_to, 0, sizeof rows / sizeof rows[0]);
	tcase_add_test(cases, the_nonce_comes_back_as_it_was);
	tcase_add_test(cases, an_identity_is_told_whole);
	tcase_add_test(cases, a_delivery_is_told_whole);
	tcase_add_test(cases, a_wait_ends_before_the_deadline_and_shrinks);
	tcase_add_test(cases, not_yet_is_asked_again_while_there_is_a_wait);
	tcase_add_test(cases, wrong_arguments_are_not_sent);
	tcase_add_test(cases, the_environment_names_the_socket);
	tcase_add_test(cases, each_call_has_its_own_answer);
	tcase_add_test(cases, one_connection_serves_many_calls);
	tcase_add_test(cases, an_idle_connection_that_was_closed_is_opened_again);
	tcase_add_loop_test(cases, nobody_is_reached, 0, sizeof absent / sizeof absent[0]);
	tcase_add_test(cases, signals_and_single_bytes_change_nothing);
	tcase_add_test(cases, a_child_opens_a_connection_of_its_own);
	tcase_add_test(cases, every_allocation_may_fail);
	tcase_add_test(cases, no_descriptor_is_left_or_inherited);
	tcase_add_test(cases, a_status_has_a_name);
}

int main(void)
{
	return unit_test_run("lib_call", add);
}
