#include "daemon/engine/restarts.h"

#include "engine_fixture.h"
#include "unit_test.h"

#include <curl/curl.h>
#include <sys/socket.h>
#include <sys/un.h>

/* An engine that takes connections and says nothing: its queue is never accepted. */
struct bench {
	struct fixture fixture;
	struct sockaddr_un address;
	int listener;
	uv_loop_t loop;
	struct engine_link link;
	struct restarts restarts;
	json_t *frames;
};

static int keep(void *context, json_t *frame)
{
	struct bench *bench = context;

	return json_array_append_new(bench->frames, json_deep_copy(frame));
}

static void bench_open(struct bench *bench)
{
	const struct restarts_owner owner = { .context = bench, .send = keep };
	int length;

	*bench = (struct bench){ .frames = json_array() };
	fixture_open(&bench->fixture);
	bench->address.sun_family = AF_UNIX;
	length = snprintf(bench->address.sun_path, sizeof bench->address.sun_path, "%s/docker.sock",
		bench->fixture.path);
	ck_assert_int_lt(length, (int)sizeof bench->address.sun_path);
	bench->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(
		bind(bench->listener, (struct sockaddr *)&bench->address, sizeof bench->address),
		0);
	ck_assert_int_eq(listen(bench->listener, 64), 0);
	ck_assert_int_eq(curl_global_init(CURL_GLOBAL_NOTHING), CURLE_OK);
	ck_assert_int_eq(uv_loop_init(&bench->loop), 0);
	ck_assert_int_eq(
		docker_http_new(&bench->loop, bench->address.sun_path, &bench->link.http, NULL), 0);
	bench->link.state = LINK_CONNECTED;
	restarts_open(&bench->restarts, &bench->link, &owner);
}

static void bench_close(struct bench *bench)
{
	restarts_close(&bench->restarts);
	ck_assert_uint_eq(bench->restarts.under_way_count, 0);
	docker_http_close(bench->link.http);
	(void)uv_run(&bench->loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&bench->loop), 0);
	curl_global_cleanup();
	json_decref(bench->frames);
	fd_close_p(&bench->listener);
	fixture_close(&bench->fixture);
}

static void add_restarts(struct bench *bench, int first, int count)
{
	for (int i = 0; i < count; i++)
		ck_assert_int_eq(restarts_add(&bench->restarts, first + i, ID_A, 0), 0);
}

/* Runs the loop until COUNT frames have been sent. */
static void wait_for(struct bench *bench, size_t count)
{
	while (json_array_size(bench->frames) < count)
		(void)uv_run(&bench->loop, UV_RUN_ONCE);
	ck_assert_uint_eq(json_array_size(bench->frames), count);
}

static const char *error_of(struct bench *bench, size_t at, int serial)
{
	json_t *frame = json_array_get(bench->frames, at);

	ck_assert_str_eq(json_string_value(json_object_get(frame, "type")), "done");
	ck_assert_int_eq(json_integer_value(json_object_get(frame, "serial")), serial);
	return json_string_value(json_object_get(frame, "error"));
}

START_TEST(eight_are_under_way_and_each_end_makes_room_for_the_next)
{
	struct bench bench;

	bench_open(&bench);
	bench.restarts.margin_ms = 100;
	add_restarts(&bench, 0, 20);
	ck_assert_uint_eq(bench.restarts.under_way_count, RESTARTS_AT_ONCE);
	ck_assert_uint_eq(bench.restarts.waiting_count, 12);
	for (size_t ended = 1; ended <= 20; ended++) {
		while (json_array_size(bench.frames) < ended) {
			ck_assert_uint_le(bench.restarts.under_way_count, RESTARTS_AT_ONCE);
			(void)uv_run(&bench.loop, UV_RUN_ONCE);
		}
	}
	for (size_t i = 0; i < 20; i++) {
		json_t *error = json_object_get(json_array_get(bench.frames, i), "error");

		ck_assert_ptr_nonnull(json_string_value(error));
		ck_assert_ptr_nonnull(strstr(json_string_value(error), "has not restarted it"));
	}
	ck_assert_uint_eq(bench.restarts.under_way_count + bench.restarts.waiting_count, 0);
	bench_close(&bench);
}
END_TEST

START_TEST(one_that_is_never_answered_ends_after_its_time_and_the_margin)
{
	struct bench bench;
	uint64_t before;

	bench_open(&bench);
	ck_assert_uint_eq(bench.restarts.margin_ms, 30000);
	bench.restarts.margin_ms = 100;
	before = uv_hrtime();
	ck_assert_int_eq(restarts_add(&bench.restarts, 7, ID_A, 1), 0);
	wait_for(&bench, 1);
	ck_assert_uint_ge(uv_hrtime() - before, 1050000000);
	ck_assert_str_eq(error_of(&bench, 0, 7), "the engine has not restarted it in 1 s");
	bench_close(&bench);
}
END_TEST

START_TEST(one_too_many_is_told_at_once_and_the_others_stay)
{
	struct bench bench;

	bench_open(&bench);
	add_restarts(&bench, 0, RESTARTS_AT_ONCE + RESTARTS_WAITING_MAX);
	ck_assert_uint_eq(json_array_size(bench.frames), 0);
	add_restarts(&bench, 5000, 1);
	ck_assert_uint_eq(json_array_size(bench.frames), 1);
	ck_assert_str_eq(
		error_of(&bench, 0, 5000), "1024 restarts wait already, this one is too many");
	ck_assert_uint_eq(bench.restarts.waiting_count, RESTARTS_WAITING_MAX);
	bench_close(&bench);
}
END_TEST

START_TEST(without_the_broker_that_asked_nothing_is_told_and_nothing_new_begins)
{
	struct bench bench;

	bench_open(&bench);
	bench.restarts.margin_ms = 100;
	add_restarts(&bench, 0, 20);
	restarts_forget(&bench.restarts);
	ck_assert_uint_eq(bench.restarts.waiting_count, 0);
	ck_assert_uint_eq(bench.restarts.under_way_count, RESTARTS_AT_ONCE);
	/* The next broker's number may be the same; its turn comes after an end of the others. */
	ck_assert_int_eq(restarts_add(&bench.restarts, 3, ID_B, 0), 0);
	ck_assert_uint_eq(bench.restarts.waiting_count, 1);
	wait_for(&bench, 1);
	ck_assert_ptr_nonnull(error_of(&bench, 0, 3));
	while (bench.restarts.under_way_count > 0)
		(void)uv_run(&bench.loop, UV_RUN_ONCE);
	ck_assert_uint_eq(json_array_size(bench.frames), 1);
	bench_close(&bench);
}
END_TEST

START_TEST(an_engine_that_is_waited_for_restarts_nothing)
{
	struct bench bench;

	bench_open(&bench);
	bench.link.state = LINK_WAITING;
	(void)snprintf(bench.link.detail, sizeof bench.link.detail, "nobody listens");
	add_restarts(&bench, 1, 2);
	ck_assert_uint_eq(json_array_size(bench.frames), 2);
	ck_assert_str_eq(error_of(&bench, 1, 2), "the engine does not answer: nobody listens");
	bench_close(&bench);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, eight_are_under_way_and_each_end_makes_room_for_the_next);
	tcase_add_test(cases, one_that_is_never_answered_ends_after_its_time_and_the_margin);
	tcase_add_test(cases, one_too_many_is_told_at_once_and_the_others_stay);
	tcase_add_test(cases, without_the_broker_that_asked_nothing_is_told_and_nothing_new_begins);
	tcase_add_test(cases, an_engine_that_is_waited_for_restarts_nothing);
}

int main(void)
{
	return unit_test_run("restarts", add);
}
