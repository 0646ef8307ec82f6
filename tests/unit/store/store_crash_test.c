/* What a sudden end and a failing disk may do to the store: nothing that was acknowledged is lost,
 * nothing is half there. */
#include "fault_vfs.h"
#include "store_fixture.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define KILLS	       300
#define ROTATION_KILLS 40
#define INIT_KILLS     40
#define SECRETS	       300

/* A key outside the arena, which a forked child sees as zeros. */
static struct secret key_of_child(struct arena *arena, const unsigned char *bytes)
{
	struct secret key;

	if (secret_new(arena, HOST_KEY_BYTES, &key, NULL) < 0)
		_exit(2);
	memcpy(key.bytes, bytes, HOST_KEY_BYTES);
	return key;
}

static struct store *store_of_child(
	const char *directory, const unsigned char *host_key, struct arena **ret_arena)
{
	struct store *store;
	struct secret key;

	if (arena_new((size_t)4 * 1024 * 1024, ret_arena, NULL) < 0 ||
		store_open(directory, *ret_arena, &store, NULL) < 0)
		_exit(2);
	key = key_of_child(*ret_arena, host_key);
	if (store_unlock(store, SLOT_HOST_KEY, &key, NULL) < 0)
		_exit(3);
	return store;
}

static void name_of(char name[64], unsigned round, unsigned number)
{
	snprintf(name, 64, "prod/r%u/n%u", round, number);
}

/* Puts one secret after the other and writes a byte for each that was acknowledged. Between them it
 * stages, purges and lowers limits, which must not harm the others. */
static void put_until_killed(
	struct fixture *f, const unsigned char *host_key, unsigned round, int fd)
{
	static const char *const shared[] = { "prod/shared", "prod/purged" };
	struct fixture mine = { 0 };

	mine.store = store_of_child(f->directory, host_key, &mine.arena);
	for (unsigned number = 0;; number++) {
		const struct secret_reference purged = reference_of(shared[1]);
		char name[64];
		uint32_t count;

		name_of(name, round, number);
		if (put_text(&mine, name, name, false) != 0 || write(fd, "+", 1) != 1)
			_exit(4);
		if (put_text(&mine, shared[number % 2], name, true) != 0)
			_exit(5);
		if (number % 4 == 3 && store_remove(mine.store, &purged, true, &count, NULL) != 0)
			_exit(6);
	}
}

/* Lets a child put for about DELAY_US and kills it. Returns how many it acknowledged. */
static unsigned kill_one(
	struct fixture *f, const unsigned char *host_key, unsigned round, unsigned delay_us)
{
	unsigned acknowledged = 0;
	char bytes[256];
	int pipe_fds[2], status;
	pid_t child;
	ssize_t n;

	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (child == 0)
		put_until_killed(f, host_key, round, pipe_fds[1]);
	close(pipe_fds[1]);
	/* The first one, so that each round does something. */
	ck_assert_int_eq(read(pipe_fds[0], bytes, 1), 1);
	usleep(delay_us);
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFSIGNALED(status));
	for (acknowledged = 1; (n = read(pipe_fds[0], bytes, sizeof bytes)) > 0;)
		acknowledged += (unsigned)n;
	close(pipe_fds[0]);
	return acknowledged;
}

START_TEST(what_was_acknowledged_survives_kill)
{
	static unsigned acknowledged[KILLS];
	unsigned char host_key[HOST_KEY_BYTES];
	struct fixture f;
	char name[64];
	unsigned all = 0;

	fixture_begin_store(&f);
	memcpy(host_key, f.host_key.bytes, sizeof host_key);
	fixture_close(&f);
	for (unsigned round = 0; round < KILLS; round++) {
		acknowledged[round] = kill_one(&f, host_key, round, randombytes_uniform(4000));
		all += acknowledged[round];
	}
	fixture_open(&f);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	for (unsigned round = 0; round < KILLS; round++) {
		for (unsigned number = 0; number < acknowledged[round]; number++) {
			name_of(name, round, number);
			ck_assert_msg(get_text(&f, name, VERSION_CURRENT, name) == 0,
				"%s of %u is lost", name, all);
		}
		/* The next one may be there, but not half. */
		name_of(name, round, acknowledged[round]);
		ck_assert_int_le(get_text(&f, name, VERSION_CURRENT, name), 0);
	}
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	fixture_end(&f);
}
END_TEST

static void put_many(struct fixture *f, unsigned count)
{
	char name[64];

	for (unsigned i = 0; i < count; i++) {
		name_of(name, 0, i);
		ck_assert_int_eq(put_text(f, name, name, false), 0);
	}
}

static void assert_many(struct fixture *f, unsigned count)
{
	char name[64];

	for (unsigned i = 0; i < count; i++) {
		name_of(name, 0, i);
		ck_assert_int_eq(get_text(f, name, VERSION_CURRENT, name), 0);
	}
	MUST(store_verify(f->store, &(uint64_t){ 0 }, err));
}

static void rotate_in_child(struct fixture *f, const unsigned char *host_key, int fd)
{
	struct secret key, text;
	struct arena *arena;
	struct store *store = store_of_child(f->directory, host_key, &arena);
	uint64_t rewrapped;

	key = key_of_child(arena, host_key);
	if (write(fd, "+", 1) != 1)
		_exit(4);
	if (store_rotate_root_key(store, &key, NULL, &text, &rewrapped, NULL) != 0)
		_exit(5);
	_exit(0);
}

START_TEST(a_killed_rotation_keeps_every_value)
{
	unsigned char host_key[HOST_KEY_BYTES];
	unsigned killed = 0;
	struct fixture f;

	fixture_begin_store(&f);
	put_many(&f, SECRETS);
	memcpy(host_key, f.host_key.bytes, sizeof host_key);
	fixture_close(&f);
	for (unsigned round = 0; round < ROTATION_KILLS; round++) {
		int pipe_fds[2], status;
		pid_t child;
		char byte;

		ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
		child = fork();
		if (child == 0)
			rotate_in_child(&f, host_key, pipe_fds[1]);
		ck_assert_int_eq(read(pipe_fds[0], &byte, 1), 1);
		usleep(randombytes_uniform(12000));
		kill(child, SIGKILL);
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
		killed += WIFSIGNALED(status);
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		fixture_open(&f);
		MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
		assert_many(&f, SECRETS);
		fixture_close(&f);
	}
	ck_assert_uint_gt(killed, ROTATION_KILLS / 10);
	fixture_end(&f);
}
END_TEST

static unsigned now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (unsigned)(now.tv_sec * 1000000 + now.tv_nsec / 1000);
}

static void init_in_child(struct fixture *f, const unsigned char *host_key, int fd)
{
	struct secret key, text;
	struct store_init_args args = { .host_key = &key, .audit_key = &key };
	struct arena *arena;
	struct store *store;

	if (arena_new((size_t)4 * 1024 * 1024, &arena, NULL) < 0 ||
		store_open(f->directory, arena, &store, NULL) < 0)
		_exit(2);
	key = key_of_child(arena, host_key);
	if (write(fd, "+", 1) != 1)
		_exit(4);
	_exit(store_init(store, &args, &text, NULL) == 0 ? 0 : 5);
}

START_TEST(a_killed_init_leaves_a_whole_store_or_none)
{
	unsigned char host_key[HOST_KEY_BYTES];
	unsigned none = 0, whole = 0, takes_us = now_us();
	struct fixture f;

	fixture_begin_store(&f);
	takes_us = (now_us() - takes_us) * 3 / 2;
	fixture_close(&f);
	ck_assert_int_eq(unlink(fixture_path(&f, "store.db")), 0);
	memcpy(host_key, f.host_key.bytes, sizeof host_key);
	for (unsigned round = 0; round < INIT_KILLS; round++) {
		int pipe_fds[2], status;
		pid_t child;
		char byte;

		ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
		child = fork();
		if (child == 0)
			init_in_child(&f, host_key, pipe_fds[1]);
		ck_assert_int_eq(read(pipe_fds[0], &byte, 1), 1);
		usleep(randombytes_uniform(takes_us));
		kill(child, SIGKILL);
		ck_assert_int_eq(waitpid(child, &status, 0), child);
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		fixture_open(&f);
		if (store_state(f.store, NULL) == STORE_UNINITIALISED) {
			none++;
			/* The machine may be slower than it was: later, until some are whole. */
			takes_us += takes_us / 4;
			fixture_close(&f);
			continue;
		}
		whole++;
		takes_us -= takes_us / 5;
		MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
		MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
		fixture_close(&f);
		ck_assert_int_eq(unlink(fixture_path(&f, "store.db")), 0);
	}
	/* Something else would mean that it was never killed in between, or always too early. */
	ck_assert_msg(none > 0 && whole > 0, "%u without a store, %u with one", none, whole);
	fixture_end(&f);
}
END_TEST

static const struct {
	const char *name;
	struct fault_plan plan;
} faults[] = {
	{ "one write fails", { .calls = FAULT_WRITES } },
	{ "writes fail from then on", { .calls = FAULT_WRITES, .stays = true } },
	{ "the disk is full for one write", { .calls = FAULT_WRITES, .disk_full = true } },
	{ "the disk is full from then on",
		{ .calls = FAULT_WRITES, .disk_full = true, .stays = true } },
	{ "one sync fails", { .calls = FAULT_SYNCS } },
	{ "syncs fail from then on", { .calls = FAULT_SYNCS, .stays = true } },
	{ "one read fails", { .calls = FAULT_READS } },
	{ "reads fail from then on", { .calls = FAULT_READS, .stays = true } },
};

/* What is written while the disk may fail, and whether it was acknowledged. */
struct progress {
	bool fresh, staged, removed, purged, limited, rotated;
};

static struct progress work_on_failing_disk(struct fixture *f)
{
	const struct secret_reference to_remove = reference_of("prod/to-remove");
	const struct secret_reference to_purge = reference_of("prod/to-purge");
	const struct secret_reference to_limit = reference_of("prod/to-limit");
	AUTO_SECRET text = { 0 };
	struct progress done = { 0 };
	uint64_t rewrapped;
	uint32_t number;

	if (store_open(f->directory, f->arena, &f->store, NULL) < 0)
		return done;
	if (store_unlock(f->store, SLOT_HOST_KEY, &f->host_key, NULL) == 0) {
		done.fresh = put_text(f, "prod/fresh", "fresh", false) == 0;
		done.staged = put_text(f, "prod/staged", "two", true) == 0;
		done.removed = store_remove(f->store, &to_remove, false, &number, NULL) == 0;
		done.purged = store_remove(f->store, &to_purge, true, &number, NULL) == 0;
		done.limited = store_keep(f->store, &to_limit, 1, &number, NULL) == 0;
		done.rotated = store_rotate_root_key(
				       f->store, &f->host_key, NULL, &text, &rewrapped, NULL) == 0;
	}
	fixture_close(f);
	return done;
}

/* R is the result of a get: the value DONE says is there, or the one before when it failed. */
static void assert_either(bool done, int with, int without, const char *what, long at)
{
	if (done)
		ck_assert_msg(with == 0, "%s: lost at call %ld", what, at);
	else
		ck_assert_msg(with == 0 || without == 0, "%s: half done at call %ld", what, at);
}

static void assert_whole(struct fixture *f, const struct progress *done, long at)
{
	int r;

	fixture_open(f);
	MUST(store_unlock(f->store, SLOT_HOST_KEY, &f->host_key, err));
	ck_assert_int_eq(get_text(f, "prod/untouched", VERSION_CURRENT, "untouched"), 0);
	r = get_text(f, "prod/fresh", VERSION_CURRENT, "fresh");
	assert_either(done->fresh, r, r + ENOENT, "put", at);
	assert_either(done->staged, get_text(f, "prod/staged", VERSION_CURRENT, "two"),
		get_text(f, "prod/staged", VERSION_CURRENT, "one"), "stage", at);
	r = get_text(f, "prod/to-remove", VERSION_CURRENT, "x");
	assert_either(done->removed, r + ENOENT, r, "remove", at);
	r = get_text(f, "prod/to-purge", VERSION_CURRENT, "x");
	assert_either(done->purged, r + ENOENT, r, "purge", at);
	r = get_text(f, "prod/to-limit", 1, "one");
	assert_either(done->limited, r + ENOENT, r, "keep", at);
	MUST(store_verify(f->store, &(uint64_t){ 0 }, err));
	fixture_close(f);
}

static void prepare_for_faults(struct fixture *f)
{
	fixture_begin_store(f);
	ck_assert_int_eq(put_text(f, "prod/untouched", "untouched", false), 0);
	ck_assert_int_eq(put_text(f, "prod/staged", "one", false), 0);
	ck_assert_int_eq(put_text(f, "prod/to-remove", "x", false), 0);
	ck_assert_int_eq(put_text(f, "prod/to-purge", "x", false), 0);
	ck_assert_int_eq(put_text(f, "prod/to-limit", "one", false), 0);
	ck_assert_int_eq(put_text(f, "prod/to-limit", "two", true), 0);
	fixture_close(f);
}

START_TEST(a_disk_that_fails_at_any_call_loses_nothing)
{
	struct fault_plan plan = { 0 };
	struct bytes before;
	struct fixture f;
	long at = 0;

	fault_vfs_install(&plan);
	prepare_for_faults(&f);
	before = bytes_read(fixture_path(&f, "store.db"));
	do {
		struct progress done;

		bytes_write(fixture_path(&f, "store.db"), &before);
		(void)unlink(fixture_path(&f, "store.db-wal"));
		plan = faults[_i].plan;
		plan.fails_at = ++at;
		done = work_on_failing_disk(&f);
		plan.calls = 0;
		assert_whole(&f, &done, at);
	} while (plan.has_failed);
	/* Otherwise nothing was tried. */
	ck_assert_msg(at > 3, "%s: only %ld calls", faults[_i].name, at);
	free(before.bytes);
	fixture_end(&f);
}
END_TEST

START_TEST(after_a_failed_sync_nothing_is_written_until_the_next_start)
{
	struct fault_plan plan = { 0 };
	const char *detail;
	struct fixture f;

	fault_vfs_install(&plan);
	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/a", "one", false), 0);
	(void)store_state(f.store, &detail);
	ck_assert_ptr_null(detail);
	plan = (struct fault_plan){ .calls = FAULT_SYNCS, .fails_at = 1 };
	ck_assert_int_eq(put_text(&f, "prod/b", "two", false), -EIO);
	ck_assert(plan.has_failed);
	ck_assert_int_eq(put_text(&f, "prod/b", "two", false), -EROFS);
	ck_assert_int_eq(put_text(&f, "prod/a", "one", false), 0);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "one"), 0);
	ck_assert_int_eq(get_text(&f, "prod/b", VERSION_CURRENT, ""), -ENOENT);
	ck_assert_int_eq(store_state(f.store, &detail), STORE_UNLOCKED);
	ck_assert_ptr_nonnull(strstr(detail, "read-only until the next start"));
	fixture_reopen_unlocked(&f);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "one"), 0);
	ck_assert_int_ge(put_text(&f, "prod/b", "two", false), 0);
	ck_assert_int_eq(get_text(&f, "prod/b", VERSION_CURRENT, "two"), 0);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	fixture_end(&f);
}
END_TEST

START_TEST(a_full_disk_refuses_and_is_forgotten_when_there_is_room)
{
	struct fault_plan plan = { 0 };
	struct fixture f;

	fault_vfs_install(&plan);
	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/a", "one", false), 0);
	plan = (struct fault_plan){
		.calls = FAULT_WRITES, .fails_at = 1, .stays = true, .disk_full = true
	};
	ck_assert_int_eq(put_text(&f, "prod/b", "two", false), -ENOSPC);
	ck_assert_int_eq(put_text(&f, "prod/b", "two", false), -ENOSPC);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "one"), 0);
	plan.calls = 0;
	ck_assert_int_eq(put_text(&f, "prod/b", "two", false), 0);
	fixture_reopen_unlocked(&f);
	ck_assert_int_eq(get_text(&f, "prod/b", VERSION_CURRENT, "two"), 0);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	fixture_end(&f);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, what_was_acknowledged_survives_kill);
	tcase_add_test(cases, a_killed_rotation_keeps_every_value);
	tcase_add_test(cases, a_killed_init_leaves_a_whole_store_or_none);
	tcase_add_loop_test(cases, a_disk_that_fails_at_any_call_loses_nothing, 0,
		sizeof faults / sizeof faults[0]);
	tcase_add_test(cases, after_a_failed_sync_nothing_is_written_until_the_next_start);
	tcase_add_test(cases, a_full_disk_refuses_and_is_forgotten_when_there_is_room);
}

int main(void)
{
	return unit_test_run("store_crash", add);
}
