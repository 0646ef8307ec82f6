#include "daemon/engine/broker_channel.h"

#include "proto/cleanup.h"
#include "proto/fd_passing.h"
#include "proto/frame.h"
#include "unit_test.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct bench {
	uv_loop_t loop;
	struct broker_channel *channel;
	int broker; /* the other end */
	char heard[256];
	int passed;
	int ends, breaks, rooms;
	int pause_after; /* frames; 0: never */
	int answer;
};

static int on_frame(void *context, json_t *frame, int *passed, struct mayfly_error *err)
{
	struct bench *bench = context;
	const char *type = json_string_value(json_object_get(frame, "type"));

	(void)snprintf(bench->heard + strlen(bench->heard),
		sizeof bench->heard - strlen(bench->heard), "%s ", type ? type : "?");
	if (type && strcmp(type, "root") == 0)
		bench->passed = fd_take(passed);
	if (bench->pause_after > 0 && --bench->pause_after == 0)
		broker_channel_pause(bench->channel, true);
	return bench->answer < 0 ? error_set(err, bench->answer, "refused") : 0;
}

static void on_room(void *context)
{
	((struct bench *)context)->rooms++;
}

static void on_end(void *context)
{
	((struct bench *)context)->ends++;
}

static void on_broken(void *context, const struct mayfly_error *err)
{
	(void)err;
	((struct bench *)context)->breaks++;
}

static void bench_open(struct bench *bench)
{
	const struct broker_channel_owner owner = {
		.context = bench,
		.on_frame = on_frame,
		.on_room = on_room,
		.on_end = on_end,
		.on_broken = on_broken,
	};
	int ends[2];

	*bench = (struct bench){ .passed = -1 };
	ck_assert_int_eq(uv_loop_init(&bench->loop), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	bench->broker = ends[1];
	ck_assert_int_eq(
		broker_channel_new(&bench->loop, ends[0], &owner, &bench->channel, NULL), 0);
}

static void bench_close(struct bench *bench)
{
	if (bench->ends + bench->breaks == 0)
		broker_channel_close(bench->channel);
	(void)uv_run(&bench->loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&bench->loop), 0);
	fd_close_p(&bench->broker);
	fd_close_p(&bench->passed);
}

static void turn(struct bench *bench)
{
	for (int i = 0; i < 8; i++)
		(void)uv_run(&bench->loop, UV_RUN_NOWAIT);
}

/* Frames with these types, one after the other in one piece; FD goes with the last. */
static void say(struct bench *bench, const char *types, int fd)
{
	char bytes[4096], copy[256];
	size_t length = 0;

	(void)snprintf(copy, sizeof copy, "%s", types);
	for (char *type = strtok(copy, " "); type; type = strtok(NULL, " ")) {
		json_t *object = json_pack("{s:s}", "type", type);
		size_t size;
		char *frame;

		ck_assert_int_eq(frame_encode(object, &frame, &size), 0);
		memcpy(bytes + length, frame, size);
		length += size;
		free(frame);
		json_decref(object);
	}
	ck_assert_int_eq(fd_send(bench->broker, bytes, length, &fd, fd >= 0 ? 1 : 0), (int)length);
}

START_TEST(frames_come_in_order)
{
	struct bench bench;

	bench_open(&bench);
	say(&bench, "hello a b", -1);
	say(&bench, "c", -1);
	turn(&bench);
	ck_assert_str_eq(bench.heard, "hello a b c ");
	bench_close(&bench);
}
END_TEST

START_TEST(a_descriptor_reaches_its_frame_behind_others)
{
	AUTO_FD root = open("/", O_PATH | O_CLOEXEC);
	struct stat sent, came;
	struct bench bench;

	bench_open(&bench);
	say(&bench, "hello", -1);
	say(&bench, "root", root);
	say(&bench, "a", -1);
	turn(&bench);
	ck_assert_str_eq(bench.heard, "hello root a ");
	ck_assert_int_ge(bench.passed, 0);
	ck_assert_int_eq(fstat(root, &sent), 0);
	ck_assert_int_eq(fstat(bench.passed, &came), 0);
	ck_assert(sent.st_ino == came.st_ino && sent.st_dev == came.st_dev);
	bench_close(&bench);
}
END_TEST

START_TEST(a_second_descriptor_that_nobody_took_breaks_the_rules)
{
	AUTO_FD root = open("/", O_PATH | O_CLOEXEC);
	struct bench bench;

	bench_open(&bench);
	say(&bench, "a", root);
	turn(&bench);
	ck_assert_int_eq(bench.breaks, 0);
	say(&bench, "b", root);
	turn(&bench);
	ck_assert_int_eq(bench.breaks, 1);
	ck_assert_str_eq(bench.heard, "a ");
	bench_close(&bench);
}
END_TEST

START_TEST(a_broken_frame_is_told_once)
{
	struct bench bench;

	bench_open(&bench);
	ck_assert_int_eq(send(bench.broker, "\0\0\0\0", 4, 0), 4);
	say(&bench, "a", -1);
	turn(&bench);
	ck_assert_int_eq(bench.breaks, 1);
	ck_assert_int_eq(bench.ends, 0);
	ck_assert_str_eq(bench.heard, "");
	bench_close(&bench);
}
END_TEST

START_TEST(what_the_owner_refuses_breaks_the_rules)
{
	struct bench bench;

	bench_open(&bench);
	bench.answer = -EBADMSG;
	say(&bench, "a b", -1);
	turn(&bench);
	ck_assert_int_eq(bench.breaks, 1);
	ck_assert_str_eq(bench.heard, "a ");
	bench_close(&bench);
}
END_TEST

START_TEST(a_pause_stops_frames_that_have_come_already)
{
	struct bench bench;

	bench_open(&bench);
	bench.pause_after = 2;
	say(&bench, "a b c d", -1);
	turn(&bench);
	ck_assert_str_eq(bench.heard, "a b ");
	say(&bench, "e", -1);
	turn(&bench);
	ck_assert_str_eq(bench.heard, "a b ");
	broker_channel_pause(bench.channel, false);
	turn(&bench);
	ck_assert_str_eq(bench.heard, "a b c d e ");
	bench_close(&bench);
}
END_TEST

START_TEST(a_broker_that_leaves_is_missed_once)
{
	struct bench bench;

	for (int paused = 0; paused < 2; paused++) {
		bench_open(&bench);
		broker_channel_pause(bench.channel, paused);
		say(&bench, "a", -1);
		fd_close_p(&bench.broker);
		turn(&bench);
		ck_assert_int_eq(bench.ends, 1);
		ck_assert_int_eq(bench.breaks, 0);
		ck_assert_str_eq(bench.heard, paused ? "" : "a ");
		bench_close(&bench);
	}
}
END_TEST

START_TEST(what_is_not_read_waits_and_the_end_of_waiting_is_told)
{
	json_t *object;
	char *wide = malloc(100000), bytes[65536];
	struct bench bench;
	size_t sent = 0, came = 0;
	ssize_t count;

	memset(wide, 'w', 100000);
	object = json_pack("{s:s%}", "x", wide, (size_t)100000);
	bench_open(&bench);
	while (broker_channel_has_room(bench.channel)) {
		ck_assert_int_eq(broker_channel_send(bench.channel, object), 0);
		sent++;
	}
	turn(&bench);
	ck_assert_int_eq(bench.rooms, 0);
	ck_assert_uint_lt(sent, 20);
	ck_assert_int_eq(fcntl(bench.broker, F_SETFL, O_NONBLOCK), 0);
	for (int i = 0; i < 1000 && came < sent * (100000 + 12); i++) {
		while ((count = recv(bench.broker, bytes, sizeof bytes, 0)) > 0)
			came += (size_t)count;
		(void)uv_run(&bench.loop, UV_RUN_NOWAIT);
	}
	ck_assert_uint_eq(came, sent * (100000 + sizeof "{\"x\":\"\"}" - 1 + 4));
	ck_assert_int_eq(bench.rooms, 1);
	for (sent = 0; broker_channel_send(bench.channel, object) == 0; sent++)
		ck_assert_uint_lt(sent, 50);
	ck_assert_int_eq(broker_channel_send(bench.channel, object), -ENOBUFS);
	bench_close(&bench);
	json_decref(object);
	free(wide);
}
END_TEST

START_TEST(what_is_larger_than_a_frame_is_refused_and_harms_nothing)
{
	char *wide = malloc(FRAME_MAX_BYTES);
	struct bench bench;
	json_t *object;

	memset(wide, 'w', FRAME_MAX_BYTES);
	object = json_pack("{s:s%}", "x", wide, (size_t)FRAME_MAX_BYTES);
	bench_open(&bench);
	ck_assert_int_eq(broker_channel_send(bench.channel, object), -EMSGSIZE);
	ck_assert(broker_channel_has_room(bench.channel));
	bench_close(&bench);
	json_decref(object);
	free(wide);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, frames_come_in_order);
	tcase_add_test(cases, a_descriptor_reaches_its_frame_behind_others);
	tcase_add_test(cases, a_second_descriptor_that_nobody_took_breaks_the_rules);
	tcase_add_test(cases, a_broken_frame_is_told_once);
	tcase_add_test(cases, what_the_owner_refuses_breaks_the_rules);
	tcase_add_test(cases, a_pause_stops_frames_that_have_come_already);
	tcase_add_test(cases, a_broker_that_leaves_is_missed_once);
	tcase_add_test(cases, what_is_not_read_waits_and_the_end_of_waiting_is_told);
	tcase_add_test(cases, what_is_larger_than_a_frame_is_refused_and_harms_nothing);
}

int main(void)
{
	return unit_test_run("broker_channel", add);
}
