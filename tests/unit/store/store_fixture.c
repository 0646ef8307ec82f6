#include "store_fixture.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void fixture_begin(struct fixture *fixture, const char *base)
{
	*fixture = (struct fixture){ 0 };
	snprintf(fixture->directory, sizeof fixture->directory, "%s/mayfly-store-XXXXXX",
		base ? base : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(fixture->directory));
	MUST(arena_new((size_t)16 * 1024 * 1024, &fixture->arena, err));
	MUST(secret_new(fixture->arena, HOST_KEY_BYTES, &fixture->host_key, err));
	randombytes_buf(fixture->host_key.bytes, HOST_KEY_BYTES);
}

void fixture_begin_store(struct fixture *fixture)
{
	struct secret audit_key;
	struct store_init_args args;

	fixture_begin(fixture, NULL);
	fixture_open(fixture);
	audit_key = secret_of(fixture, "0123456789abcdef0123456789abcdef", 32);
	args = (struct store_init_args){ .host_key = &fixture->host_key, .audit_key = &audit_key };
	MUST(store_init(fixture->store, &args, &fixture->recovery_text, err));
	secret_done(&audit_key);
}

void fixture_close(struct fixture *fixture)
{
	store_close(fixture->store);
	fixture->store = NULL;
}

void fixture_open(struct fixture *fixture)
{
	MUST(store_open(fixture->directory, fixture->arena, &fixture->store, err));
}

void fixture_reopen_unlocked(struct fixture *fixture)
{
	fixture_close(fixture);
	fixture_open(fixture);
	MUST(store_unlock(fixture->store, SLOT_HOST_KEY, &fixture->host_key, err));
}

void fixture_end(struct fixture *fixture)
{
	DIR *directory;

	fixture_close(fixture);
	secret_done(&fixture->host_key);
	secret_done(&fixture->recovery_text);
	ck_assert_uint_eq(arena_used_bytes(fixture->arena), 0);
	arena_free(fixture->arena);
	directory = opendir(fixture->directory);
	ck_assert_ptr_nonnull(directory);
	for (const struct dirent *entry; (entry = readdir(directory));)
		if (entry->d_name[0] != '.')
			ck_assert_int_eq(unlinkat(dirfd(directory), entry->d_name, 0), 0);
	closedir(directory);
	ck_assert_int_eq(rmdir(fixture->directory), 0);
}

const char *fixture_path(const struct fixture *fixture, const char *name)
{
	static char paths[4][256];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", fixture->directory, name);
	return path;
}

struct secret_reference reference_of(const char *text)
{
	struct secret_reference reference;

	MUST(secret_reference_parse(text, &reference, err));
	return reference;
}

struct secret secret_of(struct fixture *fixture, const void *bytes, size_t length)
{
	struct secret secret;

	MUST(secret_new(fixture->arena, length, &secret, err));
	if (length > 0)
		memcpy(secret.bytes, bytes, length);
	return secret;
}

struct secret secret_of_text(struct fixture *fixture, const char *text)
{
	return secret_of(fixture, text, strlen(text));
}

int put_text(struct fixture *fixture, const char *text_reference, const char *text, bool stage)
{
	const struct secret_reference reference = reference_of(text_reference);
	AUTO_SECRET value = secret_of_text(fixture, text);
	enum put_outcome outcome;
	uint32_t version;

	return store_put(fixture->store, &reference, &value, stage, &outcome, &version, NULL);
}

int get_text(
	struct fixture *fixture, const char *text_reference, uint32_t version, const char *text)
{
	const struct secret_reference reference = reference_of(text_reference);
	AUTO_SECRET value = { 0 };
	const int r = store_get(fixture->store, &reference, version, &value, NULL, NULL);

	if (r < 0)
		return r;
	return value.length != strlen(text) || memcmp(value.bytes, text, value.length) != 0;
}

sqlite3 *file_open(const struct fixture *fixture)
{
	sqlite3 *file;

	ck_assert_int_eq(sqlite3_open(fixture_path(fixture, "store.db"), &file), SQLITE_OK);
	return file;
}

void file_run(sqlite3 *file, const char *format, ...)
{
	char sql[1024], *error = NULL;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(sql, sizeof sql, format, arguments);
	va_end(arguments);
	ck_assert_msg(
		sqlite3_exec(file, sql, NULL, NULL, &error) == SQLITE_OK, "%s: %s", sql, error);
}

long long file_number(sqlite3 *file, const char *sql)
{
	sqlite3_stmt *query;
	long long number;

	ck_assert_int_eq(sqlite3_prepare_v2(file, sql, -1, &query, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(query), SQLITE_ROW);
	number = sqlite3_column_int64(query, 0);
	sqlite3_finalize(query);
	return number;
}

struct bytes bytes_read(const char *path)
{
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	struct bytes bytes = { 0 };
	struct stat status;

	ck_assert_msg(fd >= 0 && fstat(fd, &status) == 0, "%s: %s", path, strerror(errno));
	bytes.length = (size_t)status.st_size;
	bytes.bytes = malloc(bytes.length + 1);
	ck_assert_ptr_nonnull(bytes.bytes);
	ck_assert_int_eq(read(fd, bytes.bytes, bytes.length), status.st_size);
	return bytes;
}

void bytes_write(const char *path, const struct bytes *bytes)
{
	AUTO_FD fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes->bytes, bytes->length), (ssize_t)bytes->length);
}

bool bytes_contain(const struct bytes *bytes, const void *what, size_t length)
{
	return memmem(bytes->bytes, bytes->length, what, length) != NULL;
}
