/* A disk that is really full: a small tmpfs in a mount namespace of its own. */
#include "audit_fixture.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>

static int write_text(const char *path, const char *text)
{
	AUTO_FD fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

/* A mount namespace in which we may mount: ours as root, else one of a user namespace. */
static int enter_namespace(void)
{
	char map[64];

	if (unshare(CLONE_NEWNS) == 0)
		return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	(void)snprintf(map, sizeof map, "0 %d 1\n", (int)geteuid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0)
		return -1;
	return write_text("/proc/self/uid_map", map);
}

static void make_on_tmpfs(struct fixture *fixture, const char *size)
{
	fixture_make(fixture);
	ck_assert_int_eq(mount("tmpfs", fixture->directory, "tmpfs", 0, size), 0);
}

static void fill_disk(const struct fixture *fixture)
{
	static const char zeros[4096];
	char path[FIXTURE_PATH_SIZE * 2];
	AUTO_FD fd = -1;

	(void)snprintf(path, sizeof path, "%s/filling", fixture->directory);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	while (write(fd, zeros, sizeof zeros) > 0)
		;
	ck_assert_int_eq(errno, ENOSPC);
}

static void empty_disk(const struct fixture *fixture)
{
	char path[FIXTURE_PATH_SIZE * 2];

	(void)snprintf(path, sizeof path, "%s/filling", fixture->directory);
	ck_assert_int_eq(unlink(path), 0);
}

/* Appends until the disk is full. Returns how many were acknowledged. */
static int append_until_full(struct fixture *fixture, int first, int batch)
{
	int number = first, r = 0;

	while (r == 0) {
		json_t *records[8];

		for (int i = 0; i < batch; i++)
			records[i] = fixture_record(number + i);
		r = audit_append(fixture->audit, records, (size_t)batch, &fixture->err);
		for (int i = 0; i < batch; i++)
			json_decref(records[i]);
		number += r == 0 ? batch : 0;
		ck_assert_int_lt(number - first, 2000);
	}
	ck_assert_msg(r == -ENOSPC, "%s", fixture->err.text);
	return number - first;
}

static const struct {
	const char *reads_as;
	int batch;
	int64_t segment_max_bytes;
	uint64_t epoch_max_records;
} rows[] = {
	{ "in the middle of a segment", 1, 0, 0 },
	{ "in the middle of a batch", 8, 0, 0 },
	{ "where segments change", 1, 2000, 0 },
	{ "where keys change", 1, 0, 1 },
	{ "where both change", 5, 2000, 2 },
};

START_TEST(a_full_disk_stops_the_audit_until_there_is_space)
{
	int64_t size;
	struct fixture fixture;
	struct audit_report report;
	json_t *record = fixture_record(1);
	int count;

	make_on_tmpfs(&fixture, "size=128k");
	fixture_open(&fixture, rows[_i].segment_max_bytes, rows[_i].epoch_max_records);
	fixture_append(&fixture, 20);
	fill_disk(&fixture);
	count = append_until_full(&fixture, 20, rows[_i].batch);
	/* As often as one tries, and the file is as long as its records. */
	size = fixture.audit->file.size;
	for (int i = 0; i < 3; i++) {
		const int r = audit_append(fixture.audit, &record, 1, &fixture.err);

		/* One record may still fit where a batch does not. */
		count += r == 0;
		size = fixture.audit->file.size;
		ck_assert(r == 0 || r == -ENOSPC);
		ck_assert(!fixture.audit->file.has_rest);
		ck_assert_int_eq(lseek(fixture.audit->file.fd, 0, SEEK_END), size);
		ck_assert_msg(fixture_verify(&fixture, &report) == 0, "%s", fixture.err.text);
		ck_assert_uint_eq(report.records, (uint64_t)count + 20);
	}
	empty_disk(&fixture);
	fixture_append(&fixture, 20);
	ck_assert_msg(fixture_verify(&fixture, &report) == 0, "%s: %s", rows[_i].reads_as,
		fixture.err.text);
	ck_assert_uint_eq(report.records, (uint64_t)count + 40);
	fixture_close(&fixture);
	fixture_open(&fixture, 0, 0);
	ck_assert_int_eq(fixture_verify(&fixture, &report), 0);
	ck_assert_uint_eq(report.records, (uint64_t)count + 40);
	ck_assert_int_eq(umount2(fixture.directory, MNT_DETACH), 0);
	json_decref(record);
	fixture_done(&fixture);
}
END_TEST

START_TEST(a_full_disk_is_named_when_the_chain_is_opened)
{
	struct fixture fixture;
	int r;

	make_on_tmpfs(&fixture, "size=64k");
	fixture_open(&fixture, 0, 0);
	fixture_append(&fixture, 20);
	fixture_close(&fixture);
	fill_disk(&fixture);
	r = audit_open(fixture.directory, fixture.arena, &fixture.audit, &fixture.err);
	ck_assert_msg(
		r == -ENOSPC && strstr(fixture.err.text, "audit.key"), "%s", fixture.err.text);
	empty_disk(&fixture);
	fixture_open(&fixture, 0, 0);
	ck_assert_int_eq(fixture_verify(&fixture, NULL), 0);
	ck_assert_int_eq(umount2(fixture.directory, MNT_DETACH), 0);
	fixture_done(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_full_disk_stops_the_audit_until_there_is_space, 0,
		sizeof rows / sizeof rows[0]);
	tcase_add_test(cases, a_full_disk_is_named_when_the_chain_is_opened);
}

int main(void)
{
	if (enter_namespace() != 0) {
		(void)printf("1..0 # SKIP needs CAP_SYS_ADMIN or user namespaces\n");
		return getenv("MAYFLY_TESTS_MUST_RUN") ? EXIT_FAILURE : EXIT_SUCCESS;
	}
	return unit_test_run("audit_full_disk", add);
}
