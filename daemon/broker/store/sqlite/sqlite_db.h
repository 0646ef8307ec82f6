/* One SQLite file of ours: opened and checked, created, written in transactions, its errors turned
 * into errno. What stands in it is the caller's business; no secret byte comes here in clear.
 *
 * Glossary
 *   format    what a file must be to be ours: application_id, version, the exact schema
 *   refusal   why this file is not written to until it is opened again
 *
 * One caller at a time. Blocks on disk. The file is locked while it is open (locking_mode
 * EXCLUSIVE): a second process gets -EBUSY, and there is no shared memory file. Nothing else in
 * this process may open and close the file meanwhile: that drops the lock (fcntl(2)). */
#pragma once

#include "proto/cleanup.h"
#include "proto/error.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct db;

struct db_format {
	const char *file_name; /* "store.db" */
	const char *kind;      /* "secret store", for messages */
	uint32_t application_id;
	uint32_t version;
	const char *const *schema; /* CREATE statements, NULL behind the last */
	const char *const *statements;
	size_t statement_count;
	unsigned cache_kib; /* of pages, at most */
};

/* Opens DIRECTORY/file_name. *RET_DB is the caller's until db_close().
 * -ENOENT; -EUCLEAN for a file that is none of FORMAT, which is left as it was; -EBUSY when it is
 * in use; what the disk says. A file or disk that is read-only opens for reading. */
int db_open(const char *directory, const struct db_format *format, struct db **ret_db,
	struct mayfly_error *err);

/* Makes DIRECTORY/file_name, whole or not at all: FILL (NULL is fine) writes its first rows while
 * it lies under another name. -EEXIST when there is one. */
int db_create(const char *directory, const struct db_format *format,
	int (*fill)(struct db *db, void *context, struct mayfly_error *err), void *context,
	struct mayfly_error *err);

void db_close(struct db *db); /* NULL is fine */

const char *db_path(const struct db *db);

/* Why nothing is written any more, or NULL. Valid until db_close(); never changes once set. */
const char *db_refusal(const struct db *db);

/* A transaction: *OPEN is DB until it ends. AUTO_TRANSACTION rolls back what was not committed.
 * db_begin(): -EROFS with the refusal. db_commit(): when it fails, nothing was changed, as far as
 * the disk tells; then, but for a full disk (nothing was synced), no more is written until the file
 * is opened again, because the next fsync may claim what this one could not do. */
int db_begin(struct db *db, struct db **ret_open, struct mayfly_error *err);
int db_commit(struct db **open, struct mayfly_error *err);
void db_rollback_p(struct db **open);
#define AUTO_TRANSACTION MAYFLY_CLEANUP(db_rollback_p) struct db

/* Statement number INDEX of the format, unbound. AUTO_STATEMENT resets it at the end of the scope,
 * before the buffers that were declared above it die. */
sqlite3_stmt *db_statement(struct db *db, size_t index);
void statement_reset_p(sqlite3_stmt **statement);
#define AUTO_STATEMENT MAYFLY_CLEANUP(statement_reset_p) sqlite3_stmt

/* Bound bytes and text are not copied: they live until the statement is reset. */
void bind_number(sqlite3_stmt *statement, int index, int64_t number);
void bind_bytes(sqlite3_stmt *statement, int index, const void *bytes, size_t length);
void bind_text(sqlite3_stmt *statement, int index, const char *text);

/* Copies the blob of exactly LENGTH bytes in COLUMN. False when it is something else. */
bool column_bytes(sqlite3_stmt *statement, int column, void *ret_bytes, size_t length);

/* One step: 1 with a row, 0 without, or the error, "DOING in 'PATH': why". */
int db_next(struct db *db, sqlite3_stmt *statement, const char *doing, struct mayfly_error *err);
/* A step that gives no row. 0 or the error. */
int db_run(struct db *db, sqlite3_stmt *statement, const char *doing, struct mayfly_error *err);
/* SQL without parameters and rows. */
int db_execute(struct db *db, const char *sql, const char *doing, struct mayfly_error *err);

/* Rows that the last statement changed. */
uint64_t db_changes(const struct db *db);

/* Moves the log into the file and empties it, so that what was deleted is nowhere. When that does
 * not work (a full disk), it is tried again after the next commit and when the file is closed. */
void db_forget_deleted(struct db *db);

/* A copy of the whole file beside it, under a name of its own, with what others write meanwhile,
 * too: as it is when the last step is done. Nothing of an earlier copy is kept. */
struct db_copy;
int db_copy_new(
	struct db *db, const char *directory, struct db_copy **ret_copy, struct mayfly_error *err);
/* Copies at most PAGES: 1 when there are more, 0. The caller keeps others from DB. */
int db_copy_step(struct db_copy *copy, int pages, struct mayfly_error *err);
/* Opens what COPY, which is finished, has copied. Its file has no name any more. */
int db_copy_open(struct db_copy *copy, struct db **ret_db, struct mayfly_error *err);
void db_copy_free_p(struct db_copy **copy); /* NULL is fine; removes the file */
/* Behind the name of the file; a process that is killed leaves it. */
#define DB_COPY_SUFFIX ".copy"

/* SQLite's own check of all pages and indexes. -EUCLEAN with the first finding. */
int db_check(struct db *db, struct mayfly_error *err);
