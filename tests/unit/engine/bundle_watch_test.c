#include "daemon/engine/bundle_watch.h"
#include "daemon/engine/sandbox.h"

#include "engine_fixture.h"
#include "unit_test.h"

#include <time.h>

#define TASKS	   "run/docker/" BUNDLES_OF_ENGINE
#define OTHERTASKS "run/containerd/io.containerd.runtime.v2.task"
#define WHOLE                                                                           \
	"{\"process\":{\"user\":{\"uid\":7,\"gid\":8}},\"mounts\":[{\"source\":\"/run/" \
	"mayfly-volumes/" ID_B "\"}]}"

struct bench {
	uv_loop_t loop;
	struct fixture fixture;
	struct bundle_watch watch;
	int told, troubles;
	char id[CONTAINER_ID_LENGTH + 1];
	char directory[PATH_MAX];
};

static void on_bundle(
	void *context, const char *id, const char *directory, const struct runtime_bundle *bundle)
{
	struct bench *bench = context;

	bench->told++;
	memcpy(bench->id, id, sizeof bench->id);
	(void)snprintf(bench->directory, sizeof bench->directory, "%s", directory);
	ck_assert_uint_eq(bundle->count, 1);
	ck_assert_str_eq(bundle->mount_ids[0], ID_B);
}

static void on_trouble(void *context, const struct mayfly_error *err)
{
	(void)err;
	((struct bench *)context)->troubles++;
}

static void bench_open(struct bench *bench, const char *directory)
{
	const struct bundle_watch_owner owner = {
		.context = bench, .on_bundle = on_bundle, .on_trouble = on_trouble
	};

	*bench = (struct bench){ .watch = { .inotify = -1 } };
	fixture_open(&bench->fixture);
	if (directory)
		fixture_parents(&bench->fixture, directory);
	ck_assert_int_eq(uv_loop_init(&bench->loop), 0);
	ck_assert_int_eq(
		bundle_watch_open(&bench->watch, &bench->loop, &bench->fixture.place, &owner, NULL),
		0);
}

static void bench_close(struct bench *bench)
{
	bundle_watch_close(&bench->watch);
	(void)uv_run(&bench->loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&bench->loop), 0);
	fixture_close(&bench->fixture);
}

/* Lets the loop run for some milliseconds. */
static void turn(struct bench *bench, int milliseconds)
{
	const struct timespec moment = { .tv_nsec = 1000000 };

	for (int i = 0; i < milliseconds; i++) {
		(void)uv_run(&bench->loop, UV_RUN_NOWAIT);
		nanosleep(&moment, NULL);
	}
	(void)uv_run(&bench->loop, UV_RUN_NOWAIT);
}

static const struct {
	const char *reads_as;
	const char *there;  /* when the watch begins */
	const char *bundle; /* appears afterwards, all at once */
	int told;
} rows[] = {
	{ "in a namespace that is there", TASKS "/moby/", TASKS "/moby/" ID_A, 1 },
	{ "in a namespace that appears", TASKS "/", TASKS "/moby/" ID_A, 1 },
	{ "in a namespace of an id map", TASKS "/", TASKS "/moby-100000.100000/" ID_A, 1 },
	{ "where nothing is there at all", NULL, TASKS "/moby/" ID_A, 1 },
	{ "where half of the way is there", "run/docker/containerd/", TASKS "/moby/" ID_A, 1 },
	{ "below the host's own containerd", OTHERTASKS "/moby/", OTHERTASKS "/moby/" ID_A, 1 },
	{ "below a containerd that appears", "run/", OTHERTASKS "/moby/" ID_A, 1 },
	{ "in a namespace of somebody else", TASKS "/", TASKS "/k8s.io/" ID_A, 0 },
	{ "in the engine's plugins", TASKS "/", TASKS "/plugins.moby/" ID_A, 0 },
	{ "with a name that is no id", TASKS "/moby/", TASKS "/moby/abc", 0 },
};

START_TEST(a_bundle_is_noticed)
{
	struct bench bench;
	char name[PATH_MAX];

	bench_open(&bench, rows[_i].there);
	turn(&bench, 5);
	(void)snprintf(name, sizeof name, "%s/config.json", rows[_i].bundle);
	fixture_text(&bench.fixture, name, WHOLE);
	turn(&bench, 100);
	ck_assert_msg(bench.told == rows[_i].told, "%s: %d", rows[_i].reads_as, bench.told);
	if (rows[_i].told) {
		ck_assert_str_eq(bench.id, ID_A);
		ck_assert_str_eq(bench.directory + 1, rows[_i].bundle);
	}
	ck_assert_int_eq(bench.troubles, 0);
	bench_close(&bench);
}
END_TEST

START_TEST(a_configuration_is_waited_for_until_it_is_whole)
{
	struct bench bench;

	bench_open(&bench, TASKS "/moby/");
	fixture_parents(&bench.fixture, TASKS "/moby/" ID_A "/");
	turn(&bench, 30);
	fixture_write(&bench.fixture, TASKS "/moby/" ID_A "/config.json", WHOLE, sizeof WHOLE / 2);
	turn(&bench, 30);
	ck_assert_int_eq(bench.told, 0);
	fixture_text(&bench.fixture, TASKS "/moby/" ID_A "/config.json", WHOLE);
	turn(&bench, 50);
	ck_assert_int_eq(bench.told, 1);
	ck_assert_uint_eq(bench.watch.pending_count, 0);
	bench_close(&bench);
}
END_TEST

START_TEST(one_that_is_never_whole_is_given_up)
{
	struct bench bench;

	bench_open(&bench, TASKS "/moby/");
	fixture_parents(&bench.fixture, TASKS "/moby/" ID_A "/");
	fixture_text(&bench.fixture, TASKS "/moby/" ID_B "/config.json", "{");
	turn(&bench, 1300);
	ck_assert_int_eq(bench.told, 0);
	ck_assert_int_eq(bench.troubles, 1);
	ck_assert_uint_eq(bench.watch.pending_count, 0);
	bench_close(&bench);
}
END_TEST

START_TEST(a_namespace_that_is_made_anew_is_watched_again)
{
	struct bench bench;

	bench_open(&bench, TASKS "/moby/");
	ck_assert_int_eq(rmdir(fixture_path(&bench.fixture, TASKS "/moby")), 0);
	ck_assert_int_eq(rmdir(fixture_path(&bench.fixture, TASKS)), 0);
	turn(&bench, 20);
	fixture_text(&bench.fixture, TASKS "/moby/" ID_A "/config.json", WHOLE);
	turn(&bench, 50);
	ck_assert_int_eq(bench.told, 1);
	bench_close(&bench);
}
END_TEST

START_TEST(bundles_of_long_ago_are_not_told)
{
	const struct timespec old[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
	struct bench bench;

	bench_open(&bench, NULL);
	fixture_text(&bench.fixture, "old/moby/" ID_A "/config.json", WHOLE);
	fixture_text(&bench.fixture, "old/moby/" ID_C "/config.json", WHOLE);
	ck_assert_int_eq(
		utimensat(AT_FDCWD, fixture_path(&bench.fixture, "old/moby/" ID_A), old, 0), 0);
	fixture_parents(&bench.fixture, "run/containerd/");
	{
		char from[PATH_MAX];

		(void)snprintf(from, sizeof from, "%.4000s", fixture_path(&bench.fixture, "old"));
		ck_assert_int_eq(rename(from, fixture_path(&bench.fixture, OTHERTASKS)), 0);
	}
	turn(&bench, 50);
	ck_assert_int_eq(bench.told, 1);
	ck_assert_str_eq(bench.id, ID_C);
	bench_close(&bench);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_bundle_is_noticed, 0, sizeof rows / sizeof rows[0]);
	tcase_add_test(cases, a_configuration_is_waited_for_until_it_is_whole);
	tcase_add_test(cases, one_that_is_never_whole_is_given_up);
	tcase_add_test(cases, a_namespace_that_is_made_anew_is_watched_again);
	tcase_add_test(cases, bundles_of_long_ago_are_not_told);
}

int main(void)
{
	return unit_test_run("bundle_watch", add);
}
