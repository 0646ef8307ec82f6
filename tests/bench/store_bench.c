/* How fast the store is, beside a bare SQLite that does the least a durable commit can be.
 * store_bench DIRECTORY [SECRETS]: prints medians; the two of a comparison take turns, so that a
 * slow moment of the disk meets both. */
#include "bare_commit.h"
#include "daemon/broker/store/store.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS	      1000
#define WARMUP	      600 /* until both logs have reached the length at which they are used again */
#define ALL_SECRETS   100000
#define SEAL_OVERHEAD 40

struct bench {
	struct arena *arena;
	struct store *store;
	const char *directory;
	struct secret host_key;
	struct bare_commits bare;
};

static double now_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int by_size(const void *left, const void *right)
{
	const double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

static double median(double *times, size_t count)
{
	qsort(times, count, sizeof times[0], by_size);
	return times[count / 2];
}

static void must(int result, const struct mayfly_error *err, const char *what)
{
	if (result >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, err->text);
	exit(EXIT_FAILURE);
}

static double bare_us(struct bench *bench, const void *bytes, size_t length)
{
	const double start = now_us();

	bare_commit(&bench->bare, bytes, length);
	return now_us() - start;
}

static struct secret_reference reference_of(const char *set, unsigned number)
{
	struct secret_reference reference = { 0 };

	(void)snprintf(reference.set, sizeof reference.set, "%s", set);
	(void)snprintf(reference.name, sizeof reference.name, "service-%u/password", number);
	return reference;
}

static double put(struct bench *bench, const char *set, unsigned number, const struct secret *value,
	bool stage)
{
	const struct secret_reference reference = reference_of(set, number);
	const double start = now_us();
	struct mayfly_error err;
	enum put_outcome outcome;
	uint32_t version;

	must(store_put(bench->store, &reference, value, stage, &outcome, &version, &err), &err,
		"put");
	return now_us() - start;
}

static struct secret random_value(struct bench *bench, size_t length)
{
	struct mayfly_error err;
	struct secret value;

	must(secret_new(bench->arena, length, &value, &err), &err, "take memory");
	randombytes_buf(value.bytes, length);
	return value;
}

/* LENGTH is one of the classes that values are filled up to, so that both write the same bytes. */
static void compare_commits(struct bench *bench, const char *set, size_t length)
{
	static double bare[ROUNDS], created[ROUNDS], staged[ROUNDS];
	const size_t sealed_length = length + SEAL_OVERHEAD;
	unsigned char *bytes = malloc(sealed_length);
	double commit_us, created_us, staged_us;

	assert(bytes);
	for (unsigned i = 0; i < WARMUP + ROUNDS; i++) {
		const unsigned slot = i < WARMUP ? 0 : i - WARMUP;
		struct secret value = random_value(bench, length);

		randombytes_buf(bytes, sealed_length);
		bare[slot] = bare_us(bench, bytes, sealed_length);
		created[slot] = put(bench, set, i, &value, false);
		secret_done(&value);
		value = random_value(bench, length);
		staged[slot] = put(bench, set, i, &value, true);
		secret_done(&value);
	}
	commit_us = median(bare, ROUNDS);
	created_us = median(created, ROUNDS);
	staged_us = median(staged, ROUNDS);
	printf("commit of %6zu bytes: bare SQLite %.0f us, put %.0f us (x%.2f), stage %.0f us "
	       "(x%.2f)\n",
		length, commit_us, created_us, created_us / commit_us, staged_us,
		staged_us / commit_us);
	free(bytes);
}

static void fill(struct bench *bench, unsigned count)
{
	struct secret value = random_value(bench, 32);
	const double start = now_us();

	for (unsigned i = 0; i < count; i++)
		(void)put(bench, "many", i, &value, false);
	printf("%u secrets put one by one: %.1f s\n", count, (now_us() - start) / 1e6);
	secret_done(&value);
}

static void measure_get(struct bench *bench, unsigned count)
{
	static double times[ROUNDS];
	struct mayfly_error err;

	for (unsigned i = 0; i < ROUNDS; i++) {
		const struct secret_reference reference =
			reference_of("many", randombytes_uniform(count));
		const double start = now_us();
		struct secret value;

		must(store_get(bench->store, &reference, VERSION_CURRENT, &value, NULL, &err), &err,
			"get");
		secret_done(&value);
		times[i] = now_us() - start;
	}
	printf("get among %u: %.1f us\n", count, median(times, ROUNDS));
}

static void measure_whole(struct bench *bench)
{
	struct mayfly_error err;
	struct secret_info *list;
	double list_us, count_us, verify_us;
	uint64_t number;
	size_t count;

	list_us = now_us();
	must(store_list(bench->store, "many", &list, &count, &err), &err, "list");
	list_us = now_us() - list_us;
	free(list);
	count_us = now_us();
	must(store_count(bench->store, NULL, &number, &err), &err, "count");
	count_us = now_us() - count_us;
	verify_us = now_us();
	must(store_verify(bench->store, &number, &err), &err, "verify");
	verify_us = now_us() - verify_us;
	printf("list of %zu: %.0f ms; count: %.1f ms; verify of %llu records: %.0f ms\n", count,
		list_us / 1e3, count_us / 1e3, (unsigned long long)number, verify_us / 1e3);
}

static void measure_open(struct bench *bench)
{
	double times[11];
	struct mayfly_error err;

	for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
		double start;

		store_close(bench->store);
		start = now_us();
		must(store_open(bench->directory, bench->arena, &bench->store, &err), &err, "open");
		must(store_unlock(bench->store, SLOT_HOST_KEY, &bench->host_key, &err), &err,
			"unlock");
		times[i] = now_us() - start;
	}
	printf("open and unlock by host key: %.1f ms\n",
		median(times, sizeof times / sizeof times[0]) / 1e3);
}

static void measure_rotation(struct bench *bench)
{
	const double start = now_us();
	struct mayfly_error err;
	struct secret text;
	uint64_t rewrapped;

	must(store_rotate_root_key(bench->store, &bench->host_key, NULL, &text, &rewrapped, &err),
		&err, "rotate");
	printf("new root key, %llu versions wrapped again: %.0f ms\n",
		(unsigned long long)rewrapped, (now_us() - start) / 1e3);
	secret_done(&text);
}

static void make_store(struct bench *bench)
{
	struct secret audit_key = random_value(bench, 32), text;
	struct store_init_args args = { .host_key = &bench->host_key, .audit_key = &audit_key };
	struct mayfly_error err;

	must(store_open(bench->directory, bench->arena, &bench->store, &err), &err, "open");
	must(store_init(bench->store, &args, &text, &err), &err, "make the store");
	secret_done(&audit_key);
	secret_done(&text);
}

int main(int argc, char **argv)
{
	const unsigned secrets = argc > 2 ? (unsigned)atoi(argv[2]) : ALL_SECRETS;
	struct mayfly_error err;
	struct bench bench = { 0 };

	if (argc < 2 || secrets == 0) {
		fprintf(stderr, "store_bench DIRECTORY [SECRETS], DIRECTORY empty\n");
		return EXIT_FAILURE;
	}
	bench.directory = argv[1];
	must(arena_new((size_t)16 * 1024 * 1024, &bench.arena, &err), &err, "make an arena");
	bench.host_key = random_value(&bench, HOST_KEY_BYTES);
	make_store(&bench);
	bare_commits_open(&bench.bare, bench.directory);
	compare_commits(&bench, "small", 64);
	compare_commits(&bench, "middle", 4096);
	compare_commits(&bench, "large", 65536);
	fill(&bench, secrets);
	measure_get(&bench, secrets);
	measure_whole(&bench);
	measure_open(&bench);
	measure_rotation(&bench);
	store_close(bench.store);
	bare_commits_close(&bench.bare);
	secret_done(&bench.host_key);
	arena_free(bench.arena);
	return EXIT_SUCCESS;
}
