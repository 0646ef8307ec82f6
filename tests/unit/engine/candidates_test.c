#include "daemon/engine/candidates.h"

#include "overlay_fixture.h"
#include "unit_test.h"

#include <time.h>

/* Everything that answers.c needs of a session. */
struct bench {
	uv_loop_t loop;
	struct fixture fixture;
	struct container_table table;
	struct image_digests digests;
	struct engine_link link;
	struct answers answers;
	json_t *frames;
	size_t room; /* frames that fit */
	bool is_reconciled;
};

static int keep(void *context, json_t *frame)
{
	struct bench *bench = context;

	if (bench->room != SIZE_MAX)
		bench->room--;
	return json_array_append_new(bench->frames, json_deep_copy(frame));
}

static bool has_room(void *context)
{
	return ((struct bench *)context)->room > 0;
}

static int open_files(void *context, struct mayfly_error *err)
{
	(void)context;
	(void)err;
	return 0;
}

static void on_reconciled(void *context, const struct mayfly_error *err)
{
	((struct bench *)context)->is_reconciled = !err;
}

static void on_progress(void *context)
{
	(void)context;
}

static void bench_open(struct bench *bench)
{
	const struct answers_owner owner = {
		.context = bench,
		.send = keep,
		.has_room = has_room,
		.open_files = open_files,
		.on_reconciled = on_reconciled,
		.on_progress = on_progress,
	};

	*bench = (struct bench){ .room = SIZE_MAX };
	overlay_fixture_open(&bench->fixture);
	fixture_parents(&bench->fixture, "data/containers/");
	ck_assert_int_eq(uv_loop_init(&bench->loop), 0);
	bench->table.place = &bench->fixture.place;
	bench->answers.table = &bench->table;
	bench->answers.digests = &bench->digests;
	bench->answers.link = &bench->link;
	/* Nobody listens there: an engine that does not answer. */
	ck_assert_int_eq(
		docker_http_new(&bench->loop, "/nonexistent/docker.sock", &bench->link.http, NULL),
		0);
	answers_open(&bench->answers, &bench->loop, &owner);
	bench->frames = json_array();
}

static void bench_close(struct bench *bench)
{
	answers_close(&bench->answers);
	docker_http_close(bench->link.http);
	(void)uv_run(&bench->loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&bench->loop), 0);
	container_table_done(&bench->table);
	image_digests_done(&bench->digests);
	json_decref(bench->frames);
	overlay_fixture_close(&bench->fixture);
}

static void container(
	struct bench *bench, int number, const struct fixture_container *wanted, int is_mounted)
{
	struct fixture_container made = *wanted;
	char id[CONTAINER_ID_LENGTH + 1] = ID_A, name[16], mount_id[16];

	(void)snprintf(id + 56, 9, "%08x", number);
	(void)snprintf(name, sizeof name, "c%d", number);
	(void)snprintf(mount_id, sizeof mount_id, "f%x", number);
	made.id = id;
	made.name = name;
	fixture_container(&bench->fixture, &made);
	overlay_fixture_layer(&bench->fixture, id, mount_id, is_mounted);
}

/* Asks and runs the loop until `done`; the names of the candidates, or errors, in a line. */
static const char *ask(struct bench *bench, const char *volume)
{
	static char line[4096];
	json_t *frame;
	size_t i;

	json_array_clear(bench->frames);
	ck_assert_int_eq(answers_add(&bench->answers, ANSWER_CANDIDATES, 5, volume, NULL), 0);
	while (bench->answers.count > 0)
		(void)uv_run(&bench->loop, UV_RUN_ONCE);
	line[0] = '\0';
	json_array_foreach (bench->frames, i, frame) {
		json_t *object = json_object_get(frame, "container");
		const char *name = json_string_value(json_object_get(object, "name"));
		const char *error = json_string_value(json_object_get(frame, "error"));
		const bool is_announced = json_is_true(json_object_get(object, "announced"));

		ck_assert_int_eq(json_integer_value(json_object_get(frame, "serial")), 5);
		(void)snprintf(line + strlen(line), sizeof line - strlen(line), "%s%s%s ",
			name	? name
			: error ? error
				: "done",
			name && !is_announced ? "?" : "", "");
	}
	return line;
}

START_TEST(only_who_can_be_mounting_is_a_candidate)
{
	struct bench bench;

	bench_open(&bench);
	container(&bench, 1, &(struct fixture_container){ .volume = "v" }, 1);
	container(&bench, 2, &(struct fixture_container){ .volume = "v" }, 0);
	container(&bench, 3, &(struct fixture_container){ .volume = "w" }, 1);
	container(&bench, 4, &(struct fixture_container){ 0 }, 1);
	container(&bench, 5, &(struct fixture_container){ .volume = "v", .pid = 1 << 22 }, 1);
	container(&bench, 6, &(struct fixture_container){ .volume = "v", .driver = "vfs" }, 0);
	ck_assert_str_eq(ask(&bench, "v"), "c1 c5 c6 done ");
	ck_assert_str_eq(ask(&bench, "w"), "c3 done ");
	ck_assert_str_eq(ask(&bench, "x"), "done ");
	bench_close(&bench);
}
END_TEST

START_TEST(an_engine_that_does_not_answer_is_booting_and_its_containers_exist)
{
	struct bench bench;
	time_t now = time(NULL);
	struct tm parts;
	char created[40];

	strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
	bench_open(&bench);
	container(&bench, 1, &(struct fixture_container){ .volume = "v", .created = created }, 1);
	ck_assert_str_eq(ask(&bench, "v"), "c1 done ");
	bench_close(&bench);
}
END_TEST

START_TEST(one_whose_files_cannot_be_used_is_named)
{
	struct bench bench;
	const char *line;

	bench_open(&bench);
	container(&bench, 1, &(struct fixture_container){ .volume = "v" }, 1);
	container(&bench, 2,
		&(struct fixture_container){ .volume = "v", .host = ",\"Memory\":\"x\"" }, 1);
	container(&bench, 3,
		&(struct fixture_container){ .volume = "w", .host = ",\"Memory\":\"x\"" }, 0);
	/* They were there before we were. */
	ck_assert_int_eq(answers_add(&bench.answers, ANSWER_RECONCILE, 0, NULL, NULL), 0);
	ck_assert(bench.is_reconciled);
	(void)snprintf(bench.fixture.place.storage_driver,
		sizeof bench.fixture.place.storage_driver, "overlay2");
	line = ask(&bench, "v");
	ck_assert_ptr_nonnull(strstr(line, "c1 "));
	ck_assert_ptr_nonnull(strstr(line, "'Memory'"));
	ck_assert_ptr_nonnull(strstr(line, "00000002"));
	ck_assert_ptr_null(strstr(line, "00000003"));
	/* One that has a bundle runs. */
	fixture_parents(&bench.fixture,
		"run/docker/containerd/daemon/io.containerd.runtime.v2.task/moby/"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa00000002/");
	ck_assert_str_eq(ask(&bench, "v"), "c1 done ");
	bench_close(&bench);
}
END_TEST

START_TEST(a_broker_without_room_gets_the_rest_later)
{
	struct bench bench;

	bench_open(&bench);
	for (int i = 0; i < 5; i++)
		container(&bench, i, &(struct fixture_container){ .volume = "v" }, 1);
	bench.room = 2;
	ck_assert_int_eq(answers_add(&bench.answers, ANSWER_CANDIDATES, 5, "v", NULL), 0);
	/* A busy machine takes several slices of time for it. */
	while (json_array_size(bench.frames) < 2)
		(void)uv_run(&bench.loop, UV_RUN_ONCE);
	(void)uv_run(&bench.loop, UV_RUN_NOWAIT);
	ck_assert_uint_eq(json_array_size(bench.frames), 2);
	ck_assert_uint_eq(bench.answers.count, 1);
	bench.room = SIZE_MAX;
	answers_resume(&bench.answers);
	while (bench.answers.count > 0)
		(void)uv_run(&bench.loop, UV_RUN_ONCE);
	ck_assert_uint_eq(json_array_size(bench.frames), 6);
	ck_assert_uint_eq(bench.answers.count, 0);
	bench_close(&bench);
}
END_TEST

START_TEST(too_many_at_once_are_an_error)
{
	struct bench bench;

	bench_open(&bench);
	for (int i = 0; i < CANDIDATES_MAX + 1; i++)
		container(&bench, i, &(struct fixture_container){ .volume = "v", .driver = "vfs" },
			0);
	ck_assert_str_eq(ask(&bench, "v"), "too many containers with this volume start at once ");
	bench_close(&bench);
}
END_TEST

static int compare(const void *a, const void *b)
{
	const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return (left > right) - (left < right);
}

START_TEST(a_known_container_is_found_quickly)
{
	enum { TIMES = 1000 };
	static int64_t took[TIMES];
	const struct timespec a_while = { .tv_nsec = 200000000 };
	struct bench bench;

	bench_open(&bench);
	container(&bench, 1, &(struct fixture_container){ .volume = "v", .user = "app" }, 1);
	for (int i = 2; i < 100; i++)
		container(
			&bench, i, &(struct fixture_container){ .volume = i < 22 ? "v" : "w" }, 0);
	nanosleep(&a_while, NULL);
	ck_assert_str_eq(ask(&bench, "v"), "c1 done ");
	for (int i = 0; i < TIMES; i++) {
		json_array_clear(bench.frames);
		took[i] = monotonic_now_ns();
		ck_assert_int_eq(answers_add(&bench.answers, ANSWER_CANDIDATES, 5, "v", NULL), 0);
		/* On a busy machine its slice of time may end before it does. */
		while (bench.answers.count > 0)
			(void)uv_run(&bench.loop, UV_RUN_ONCE);
		took[i] = monotonic_now_ns() - took[i];
		ck_assert_uint_eq(json_array_size(bench.frames), 2);
	}
	qsort(took, TIMES, sizeof took[0], compare);
	printf("# one candidate among 20 containers of the volume and 79 others: median %.0f us, "
	       "p99 %.0f us\n",
		(double)took[TIMES / 2] / 1e3, (double)took[TIMES * 99 / 100] / 1e3);
	bench_close(&bench);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, only_who_can_be_mounting_is_a_candidate);
	tcase_add_test(cases, an_engine_that_does_not_answer_is_booting_and_its_containers_exist);
	tcase_add_test(cases, one_whose_files_cannot_be_used_is_named);
	tcase_add_test(cases, a_broker_without_room_gets_the_rest_later);
	tcase_add_test(cases, too_many_at_once_are_an_error);
	tcase_add_test(cases, a_known_container_is_found_quickly);
}

int main(void)
{
	const int r = overlay_fixture_prepare();

	return r ? r : unit_test_run("candidates", add);
}
