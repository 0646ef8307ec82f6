/* A store in a directory of its own, and what every test of it asks. */
#pragma once

#include "daemon/broker/store/store.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

struct fixture {
	char directory[128];
	struct arena *arena;
	struct store *store;
	struct secret host_key;
	struct secret recovery_text; /* as store_init() gave it */
};

/* An empty directory and an arena; no store yet. BASE NULL: /tmp. */
void fixture_begin(struct fixture *fixture, const char *base);
/* And a store in it, made with a host key and unlocked. */
void fixture_begin_store(struct fixture *fixture);
/* Closes what is open and removes the directory. */
void fixture_end(struct fixture *fixture);

/* Closes the store, as a clean stop does, and opens it again: locked. */
void fixture_close(struct fixture *fixture);
void fixture_open(struct fixture *fixture);
void fixture_reopen_unlocked(struct fixture *fixture);

/* The path of NAME in the directory; good until the next call but three. */
const char *fixture_path(const struct fixture *fixture, const char *name);

struct secret_reference reference_of(const char *text);
struct secret secret_of(struct fixture *fixture, const void *bytes, size_t length);
struct secret secret_of_text(struct fixture *fixture, const char *text);

/* store_put() and store_get() with text; the results of the call. */
int put_text(struct fixture *fixture, const char *reference, const char *text, bool stage);
/* Compares with TEXT too: the call's error, or 0, or 1 when the value is another. */
int get_text(struct fixture *fixture, const char *reference, uint32_t version, const char *text);

/* Fails the test when it is not 0, with ERR's words. */
#define MUST(call)                                                                         \
	do {                                                                               \
		struct mayfly_error must_err_ = { 0 };                                     \
		struct mayfly_error *err = &must_err_;                                     \
		const int must_r_ = (call);                                                \
		ck_assert_msg(must_r_ == 0, "%s: %d, %s", #call, must_r_, must_err_.text); \
	} while (0)

/* The closed file, for tests that change it. */
sqlite3 *file_open(const struct fixture *fixture);
void file_run(sqlite3 *file, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The number that SQL gives. */
long long file_number(sqlite3 *file, const char *sql);

/* A whole file in memory, and back. */
struct bytes {
	unsigned char *bytes;
	size_t length;
};
struct bytes bytes_read(const char *path);
void bytes_write(const char *path, const struct bytes *bytes);
bool bytes_contain(const struct bytes *bytes, const void *what, size_t length);
