#include "audit_fixture.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

void fixture_make_at(struct fixture *fixture, const char *directory)
{
	*fixture = (struct fixture){ 0 };
	(void)snprintf(fixture->directory, sizeof fixture->directory, "%s", directory);
	ck_assert_int_eq(arena_new((size_t)1 << 20, &fixture->arena, &fixture->err), 0);
}

static void make_below(struct fixture *fixture, const char *top)
{
	char directory[FIXTURE_PATH_SIZE];

	(void)snprintf(directory, sizeof directory, "%s/audit-test-XXXXXX", top);
	ck_assert_msg(mkdtemp(directory) != NULL, "make %s", directory);
	fixture_make_at(fixture, directory);
}

void fixture_make(struct fixture *fixture)
{
	make_below(fixture, "/dev/shm");
}

void fixture_make_on_disk(struct fixture *fixture)
{
	const char *const top = getenv("TMPDIR");

	make_below(fixture, top ? top : "/tmp");
}

void fixture_open(struct fixture *fixture, int64_t segment_max_bytes, uint64_t epoch_max_records)
{
	const int r =
		audit_open(fixture->directory, fixture->arena, &fixture->audit, &fixture->err);

	ck_assert_msg(r == 0, "%s", fixture->err.text);
	if (segment_max_bytes > 0)
		fixture->audit->segment_max_bytes = segment_max_bytes;
	if (epoch_max_records > 0)
		fixture->audit->epoch_max_records = epoch_max_records;
	if (!fixture->first_key.bytes)
		ck_assert_int_eq(
			audit_first_key(fixture->audit, &fixture->first_key, &fixture->err), 0);
}

void fixture_close(struct fixture *fixture)
{
	audit_close(fixture->audit);
	fixture->audit = NULL;
}

json_t *fixture_record(int number)
{
	json_t *const record = json_pack(
		"{s:s,s:s,s:i}", "action", "release", "decision", "granted", "number", number);

	ck_assert_ptr_nonnull(record);
	return record;
}

void fixture_append(struct fixture *fixture, int count)
{
	for (int i = 0; i < count; i++) {
		json_t *const record = fixture_record(i);
		const int r = audit_append(fixture->audit, &record, 1, &fixture->err);

		ck_assert_msg(r == 0, "%s", fixture->err.text);
		json_decref(record);
	}
}

struct numbers {
	unsigned char *seen;
	size_t size;
};

static bool count_number(json_t *record, void *data)
{
	json_t *const number = json_object_get(record, "number");
	struct numbers *numbers = data;

	if (number && (size_t)json_integer_value(number) < numbers->size)
		numbers->seen[json_integer_value(number)]++;
	return true;
}

void fixture_numbers(struct fixture *fixture, unsigned char *seen, size_t size)
{
	struct numbers numbers = { seen, size };
	const struct audit_filter all = { 0 };
	int r;

	memset(seen, 0, size);
	r = audit_read(fixture->audit, 0, &all, count_number, &numbers, &fixture->err);
	ck_assert_msg(r == 0, "%s", fixture->err.text);
}

int fixture_verify(struct fixture *fixture, struct audit_report *ret_report)
{
	struct audit_report report;

	return audit_verify(fixture->audit, &fixture->first_key, ret_report ? ret_report : &report,
		&fixture->err);
}

const char *fixture_path(
	const struct fixture *fixture, const char *name, char buffer[FIXTURE_PATH_SIZE * 2])
{
	(void)snprintf(buffer, FIXTURE_PATH_SIZE * 2, "%s/audit/%s", fixture->directory, name);
	return buffer;
}

char *fixture_read(const struct fixture *fixture, const char *name, size_t *ret_length)
{
	char path[FIXTURE_PATH_SIZE * 2];
	AUTO_FD fd = open(fixture_path(fixture, name, path), O_RDONLY | O_CLOEXEC);
	struct stat status;
	char *bytes;

	ck_assert_msg(fd >= 0, "open %s", path);
	ck_assert_int_eq(fstat(fd, &status), 0);
	bytes = calloc(1, (size_t)status.st_size + 1);
	ck_assert_int_eq(pread(fd, bytes, (size_t)status.st_size, 0), status.st_size);
	*ret_length = (size_t)status.st_size;
	return bytes;
}

void fixture_write(
	const struct fixture *fixture, const char *name, const void *bytes, size_t length)
{
	char path[FIXTURE_PATH_SIZE * 2];
	AUTO_FD fd = open(fixture_path(fixture, name, path), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_msg(fd >= 0, "open %s", path);
	ck_assert_int_eq(pwrite(fd, bytes, length, 0), (ssize_t)length);
	ck_assert_int_eq(ftruncate(fd, (off_t)length), 0);
}

static int run(char *const *arguments, int output)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int status;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
	ck_assert_int_eq(posix_spawnp(&pid, arguments[0], &actions, NULL, arguments, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

bool fixture_python_agrees(struct fixture *fixture)
{
	const char *const python = getenv("PYTHON"), *const script = getenv("VERIFY_AUDIT");
	char directory[FIXTURE_PATH_SIZE * 2], key[FIXTURE_PATH_SIZE * 2], expected[128], mac[65];
	AUTO_FD output = memfd_create("output", MFD_CLOEXEC);
	AUTO_FREE char *text = NULL;
	uint64_t seq;
	off_t length;

	ck_assert_msg(python && script, "PYTHON and VERIFY_AUDIT must be set");
	fixture_path(fixture, "first.key", key);
	fixture_path(fixture, "", directory);
	char *const arguments[] = { (char *)python, (char *)script, directory, key, NULL };
	const int status = run(arguments, output);

	length = lseek(output, 0, SEEK_END);
	text = calloc(1, (size_t)length + 1);
	ck_assert_int_eq(pread(output, text, (size_t)length, 0), length);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		ck_assert_msg(strstr(text, "wrong: "), "%s", text);
		return false;
	}
	audit_head(fixture->audit, &seq, mac);
	(void)snprintf(expected, sizeof expected, "ok %ju %s\n", (uintmax_t)seq, mac);
	return strstr(text, expected) != NULL;
}

void fixture_copy(const struct fixture *from, struct fixture *ret_to)
{
	static const char *const keys[] = { AUDIT_KEY_FILE, AUDIT_FIRST_FILE };
	struct audit_view view;
	char path[FIXTURE_PATH_SIZE * 2];
	char *bytes;
	size_t length;

	fixture_make(ret_to);
	ck_assert_int_eq(secret_new(ret_to->arena, AUDIT_KEY_BYTES, &ret_to->first_key, NULL), 0);
	memcpy(ret_to->first_key.bytes, from->first_key.bytes, AUDIT_KEY_BYTES);
	ck_assert_int_eq(mkdir(fixture_path(ret_to, "", path), 0700), 0);
	for (size_t i = 0; i < 2; i++) {
		bytes = fixture_read(from, keys[i], &length);
		fixture_write(ret_to, keys[i], bytes, length);
		free(bytes);
	}
	const int directory = open(fixture_path(from, "", path), O_RDONLY | O_DIRECTORY);
	ck_assert_int_eq(audit_view_make(directory, directory, 0, &view, NULL), 0);
	for (size_t i = 0; i < view.count; i++) {
		bytes = fixture_read(from, view.segments[i].name, &length);
		fixture_write(ret_to, view.segments[i].name, bytes, length);
		free(bytes);
	}
	audit_view_done(&view);
	(void)close(directory);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
	(void)status;
	(void)type;
	(void)ftw;
	return remove(path);
}

void fixture_done(struct fixture *fixture)
{
	fixture_close(fixture);
	secret_done(&fixture->first_key);
	arena_free(fixture->arena);
	(void)nftw(fixture->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}
