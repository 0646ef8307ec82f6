/* The broker's end of a mayfly-engine: what it makes of frames, and what it asks. */
#include "daemon/broker/identity/engine_link.h"

#include "proto/frame.h"
#include "unit_test.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct bench {
	uv_loop_t loop;
	struct engine_link *link;
	int other_end;
	struct frame_reader reader;
	enum engine_event event;
	const char *health; /* of what runs */
	struct engine_question question;
	int facts_count, ends_count, status;
	char why[128];
};

static void on_event(void *data, enum engine_event event, const char *id, pid_t pid, bool by_bundle,
	const struct container_facts *facts)
{
	struct bench *bench = data;

	ck_assert_str_eq(id, ID);
	ck_assert(pid == 0 && !by_bundle && !facts);
	bench->event = event;
}

static void on_bundle(void *data, const char *id, const char *mount_id, uint32_t uid, uint32_t gid)
{
	(void)data;
	(void)id;
	(void)mount_id;
	(void)uid;
	(void)gid;
}

static void on_running(void *data, const char *id, pid_t pid, const struct container_facts *facts)
{
	static const char *const words[] = { "", "starting", "healthy", "unhealthy" };
	struct bench *bench = data;

	(void)id;
	(void)pid;
	for (size_t i = 0; facts && i < sizeof words / sizeof words[0]; i++)
		if (strcmp(words[i], facts->health) == 0)
			bench->health = words[i];
}

static void on_state(void *data, const struct engine_status *status)
{
	(void)data;
	(void)status;
}

static void on_synchronised(void *data)
{
	(void)data;
}

static void on_facts(struct engine_question *question, const struct container_facts *facts,
	const char *id, const char *why)
{
	struct bench *bench = container_of(question, struct bench, question);

	(void)facts;
	(void)id;
	(void)why;
	bench->facts_count++;
}

static void on_done(struct engine_question *question, int status, const char *why)
{
	struct bench *bench = container_of(question, struct bench, question);

	bench->ends_count++;
	bench->status = status;
	(void)snprintf(bench->why, sizeof bench->why, "%s", why);
}

static void turn(struct bench *bench)
{
	for (int i = 0; i < 5; i++)
		(void)uv_run(&bench->loop, UV_RUN_NOWAIT);
}

/* The next frame that the broker has sent; the caller owns it. */
static json_t *sent(struct bench *bench)
{
	json_t *frame = NULL;

	turn(bench);
	while (frame_reader_next(&bench->reader, &frame, NULL) == 0) {
		size_t size;
		char *room = frame_reader_room(&bench->reader, 4096, &size);
		const ssize_t count = recv(bench->other_end, room, size, MSG_DONTWAIT);

		ck_assert_int_gt(count, 0);
		frame_reader_added(&bench->reader, (size_t)count);
	}
	ck_assert_ptr_nonnull(frame);
	return frame;
}

/* Takes FRAME. */
static void say(struct bench *bench, json_t *frame)
{
	size_t length;
	char *bytes;

	ck_assert_int_eq(frame_encode(frame, &bytes, &length), 0);
	ck_assert_int_eq(send(bench->other_end, bytes, length, 0), (ssize_t)length);
	free(bytes);
	json_decref(frame);
	turn(bench);
}

static bool is_ended(const struct bench *bench)
{
	char byte;

	return recv(bench->other_end, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

static void bench_open(struct bench *bench)
{
	const struct engine_callbacks callbacks = { .on_event = on_event,
		.on_bundle = on_bundle,
		.on_running = on_running,
		.on_state = on_state,
		.on_synchronised = on_synchronised,
		.data = bench };
	json_t *hello;
	int ends[2];

	*bench = (struct bench){ .question = { .on_facts = on_facts, .on_done = on_done } };
	ck_assert_int_eq(uv_loop_init(&bench->loop), 0);
	ck_assert_int_eq(engine_link_new(&bench->loop, "e", &callbacks, &bench->link, NULL), 0);
	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
	bench->other_end = ends[1];
	ck_assert_int_eq(engine_link_replace(bench->link, ends[0], NULL, NULL), 0);
	hello = sent(bench);
	ck_assert_str_eq(json_string_value(json_object_get(hello, "type")), "hello");
	json_decref(hello);
}

static void bench_close(struct bench *bench)
{
	engine_link_close(bench->link);
	(void)uv_run(&bench->loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&bench->loop), 0);
	frame_reader_done(&bench->reader);
	(void)close(bench->other_end);
}

/* Asks for a restart and returns the frame's serial. */
static json_int_t ask_restart(struct bench *bench)
{
	json_int_t serial;
	json_t *frame, *wanted;

	ck_assert_int_eq(engine_link_restart(bench->link, ID, 7, &bench->question), 0);
	frame = sent(bench);
	serial = json_integer_value(json_object_get(frame, "serial"));
	ck_assert_int_gt(serial, 0);
	wanted = json_pack("{s:s, s:I, s:s, s:i}", "type", "restart", "serial", serial, "id", ID,
		"timeout_s", 7);
	ck_assert(json_equal(frame, wanted));
	json_decref(frame);
	json_decref(wanted);
	return serial;
}

START_TEST(a_restart_ends_once_without_facts)
{
	struct bench bench;
	json_int_t serial;

	bench_open(&bench);
	serial = ask_restart(&bench);
	ck_assert_int_eq(bench.ends_count, 0);
	say(&bench, json_pack("{s:s, s:I, s:n}", "type", "done", "serial", serial, "error"));
	ck_assert_int_eq(bench.ends_count, 1);
	ck_assert_int_eq(bench.status, 0);
	ck_assert_str_eq(bench.why, "");
	say(&bench, json_pack("{s:s, s:I, s:n}", "type", "done", "serial", serial, "error"));
	ck_assert_int_eq(bench.ends_count, 1);
	ck_assert_int_eq(bench.facts_count, 0);
	bench_close(&bench);
}
END_TEST

START_TEST(a_restart_that_fails_says_what_the_engine_says)
{
	struct bench bench;

	bench_open(&bench);
	say(&bench, json_pack("{s:s, s:I, s:s}", "type", "done", "serial", ask_restart(&bench),
			    "error", "No such container"));
	ck_assert_int_eq(bench.status, -EIO);
	ck_assert_str_eq(bench.why, "No such container");
	bench_close(&bench);
}
END_TEST

START_TEST(a_restart_ends_with_its_mayfly_engine)
{
	struct bench bench;

	bench_open(&bench);
	(void)ask_restart(&bench);
	(void)shutdown(bench.other_end, SHUT_RDWR);
	turn(&bench);
	ck_assert_int_eq(bench.ends_count, 1);
	ck_assert_int_eq(bench.status, -ECONNRESET);
	ck_assert_int_eq(engine_link_restart(bench.link, ID, 7, &bench.question), -ECONNRESET);
	ck_assert_int_eq(bench.ends_count, 1);
	bench_close(&bench);
}
END_TEST

START_TEST(a_restart_that_was_forgotten_is_not_called_back)
{
	struct bench bench;
	json_int_t serial;

	bench_open(&bench);
	serial = ask_restart(&bench);
	engine_link_forget(bench.link, &bench.question);
	say(&bench, json_pack("{s:s, s:I, s:n}", "type", "done", "serial", serial, "error"));
	ck_assert_int_eq(bench.ends_count, 0);
	bench_close(&bench);
}
END_TEST

START_TEST(facts_as_the_answer_to_a_restart_end_the_connection)
{
	struct bench bench;

	bench_open(&bench);
	bench.question.on_facts = NULL;
	say(&bench, json_pack("{s:s, s:I, s:n, s:n}", "type", "container", "serial",
			    ask_restart(&bench), "container", "error"));
	ck_assert(is_ended(&bench));
	ck_assert_int_eq(bench.status, -ECONNRESET);
	bench_close(&bench);
}
END_TEST

START_TEST(a_restart_of_what_is_no_id_or_for_too_long_is_not_asked)
{
	struct bench bench;

	bench_open(&bench);
	ck_assert_int_eq(engine_link_restart(bench.link, "web", 7, &bench.question), -EINVAL);
	ck_assert_int_eq(engine_link_restart(bench.link, ID "/../x", 7, &bench.question), -EINVAL);
	ck_assert_int_eq(engine_link_restart(
				 bench.link, ID, ENGINE_RESTART_TIMEOUT_MAX_S + 1, &bench.question),
		-EINVAL);
	(void)ask_restart(&bench);
	bench_close(&bench);
}
END_TEST

static const struct {
	const char *action;
	enum engine_event event;
} events[] = { { "create", ENGINE_CREATE }, { "die", ENGINE_DIE }, { "destroy", ENGINE_DESTROY },
	{ "healthy", ENGINE_HEALTHY }, { "unhealthy", ENGINE_UNHEALTHY },
	{ "of another time", ENGINE_EVENT_INVALID } };

START_TEST(an_event_is_told_as_what_it_is)
{
	struct bench bench;

	bench_open(&bench);
	say(&bench, json_pack("{s:s, s:s, s:s, s:i, s:s}", "type", "event", "action",
			    events[_i].action, "id", ID, "time_ns", 1, "source", "engine"));
	ck_assert_int_eq(bench.event, events[_i].event);
	ck_assert(!is_ended(&bench));
	bench_close(&bench);
}
END_TEST

/* NULL: without the member. */
static json_t *container(const char *health)
{
	json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:[], s:{}, s:[], s:b, s:i, s:b, s:b, "
				   "s:{s:s, s:i, s:i}, s:i, "
				   "s:i, s:i}",
		"id", ID, "name", "web", "image_name", "i", "image_id", "sha256:1", "image_digests",
		"labels", "volumes", "running", 1, "pid", 1, "announced", 1, "root_mounted", 1,
		"user", "text", "", "uid", 0, "gid", 0, "uid_offset", 0, "gid_offset", 0,
		"id_count", 1);
	json_t *posture =
		json_pack("{s:b, s:b, s:b, s:b, s:b, s:[], s:[], s:i, s:i, s:s, s:s, s:s}",
			"privileged", 0, "read_only_root", 0, "no_new_privileges", 0,
			"engine_socket", 0, "shares_pid_namespace", 0, "capabilities_added",
			"capabilities_dropped", "pids_limit", 0, "memory_limit", 0, "pid_mode", "",
			"ipc_mode", "", "cgroupns_mode", "");

	ck_assert_ptr_nonnull(object);
	ck_assert_int_eq(json_object_update(object, posture), 0);
	json_decref(posture);
	if (health)
		ck_assert_int_eq(json_object_set_new(object, "health", json_string(health)), 0);
	return object;
}

static const struct {
	const char *health;
	bool is_fine;
} healths[] = { { "", true }, { "starting", true }, { "healthy", true }, { "unhealthy", true },
	{ "none", false }, { NULL, false } };

START_TEST(health_is_one_of_four_words)
{
	struct bench bench;

	bench_open(&bench);
	say(&bench, json_pack("{s:s, s:s, s:i, s:o}", "type", "running", "id", ID, "pid", 1,
			    "container", container(healths[_i].health)));
	ck_assert(is_ended(&bench) != healths[_i].is_fine);
	if (healths[_i].is_fine)
		ck_assert_str_eq(bench.health, healths[_i].health);
	else
		ck_assert_ptr_null(bench.health);
	bench_close(&bench);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, a_restart_ends_once_without_facts);
	tcase_add_test(cases, a_restart_that_fails_says_what_the_engine_says);
	tcase_add_test(cases, a_restart_ends_with_its_mayfly_engine);
	tcase_add_test(cases, a_restart_that_was_forgotten_is_not_called_back);
	tcase_add_test(cases, facts_as_the_answer_to_a_restart_end_the_connection);
	tcase_add_test(cases, a_restart_of_what_is_no_id_or_for_too_long_is_not_asked);
	tcase_add_loop_test(
		cases, an_event_is_told_as_what_it_is, 0, sizeof events / sizeof events[0]);
	tcase_add_loop_test(
		cases, health_is_one_of_four_words, 0, sizeof healths / sizeof healths[0]);
}

int main(void)
{
	return unit_test_run("engine_link", add);
}
