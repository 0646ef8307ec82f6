#include "daemon/broker/store/sqlite_db_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

void db_close(struct db *db)
{
	if (!db)
		return;
	for (size_t i = 0; i < db->format->statement_count; i++)
		(void)sqlite3_finalize(db->statements[i]);
	/* What is committed stands in the log; moving it into the file may wait for the next start.
	 */
	(void)sqlite3_close(db->handle);
	free(db->path);
	free(db);
}

const char *db_path(const struct db *db)
{
	return db->path;
}

const char *db_refusal(const struct db *db)
{
	return db->refusal[0] ? db->refusal : NULL;
}

/* SQLite's result in our words. The one place that knows both. */
static int errno_of(sqlite3 *handle, int result)
{
	const int system = handle ? sqlite3_system_errno(handle) : 0;

	switch (result & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
	case SQLITE_TOOBIG:
	case SQLITE_SCHEMA:
	case SQLITE_ERROR:
		return -EUCLEAN;
	case SQLITE_IOERR:
		return result == SQLITE_IOERR_NOMEM ? -ENOMEM : system > 0 ? -system : -EIO;
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return system > 0 ? -system : -EACCES;
	default:
		return -EIO;
	}
}

int db_failed(struct db *db, int result, const char *doing, struct mayfly_error *err)
{
	const int code = errno_of(db->handle, result);

	const char *says = db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(result);

	switch (code) {
	case -EBUSY:
		says = "another process has it open (a second broker?)";
		break;
	case -ENOSPC:
		says = "the disk is full";
		break;
	case -EACCES:
		says = "permission denied; it must belong to the user who owns its directory";
		break;
	case -EUCLEAN:
		break;
	default:
		return error_errno(
			err, code ? code : -EIO, "%s in '%s': %s", doing, db->path, says);
	}
	return error_set(err, code, "%s in '%s': %s", doing, db->path, says);
}

sqlite3_stmt *db_statement(struct db *db, size_t index)
{
	assert(index < db->format->statement_count);
	return db->statements[index];
}

void statement_reset_p(sqlite3_stmt **statement)
{
	/* The result is that of the last step, which was seen there. */
	(void)sqlite3_reset(*statement);
	(void)sqlite3_clear_bindings(*statement);
}

void bind_number(sqlite3_stmt *statement, int index, int64_t number)
{
	const int result = sqlite3_bind_int64(statement, index, number);

	assert(result == SQLITE_OK);
}

void bind_bytes(sqlite3_stmt *statement, int index, const void *bytes, size_t length)
{
	const int result =
		sqlite3_bind_blob64(statement, index, bytes, (sqlite3_uint64)length, SQLITE_STATIC);

	assert(result == SQLITE_OK);
}

void bind_text(sqlite3_stmt *statement, int index, const char *text)
{
	const int result = sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);

	assert(result == SQLITE_OK);
}

bool column_bytes(sqlite3_stmt *statement, int column, void *ret_bytes, size_t length)
{
	if (sqlite3_column_type(statement, column) != SQLITE_BLOB ||
		(size_t)sqlite3_column_bytes(statement, column) != length)
		return false;
	memcpy(ret_bytes, sqlite3_column_blob(statement, column), length);
	return true;
}

int db_next(struct db *db, sqlite3_stmt *statement, const char *doing, struct mayfly_error *err)
{
	const int result = sqlite3_step(statement);

	if (result == SQLITE_ROW)
		return 1;
	return result == SQLITE_DONE ? 0 : db_failed(db, result, doing, err);
}

int db_run(struct db *db, sqlite3_stmt *statement, const char *doing, struct mayfly_error *err)
{
	const int result = sqlite3_step(statement);

	return result == SQLITE_DONE ? 0 : db_failed(db, result, doing, err);
}

int db_execute(struct db *db, const char *sql, const char *doing, struct mayfly_error *err)
{
	const int result = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

	return result == SQLITE_OK ? 0 : db_failed(db, result, doing, err);
}

uint64_t db_changes(const struct db *db)
{
	return (uint64_t)sqlite3_changes64(db->handle);
}

int db_begin(struct db *db, struct db **ret_open, struct mayfly_error *err)
{
	int r;

	if (db->refusal[0])
		return error_set(err, -EROFS, "%s", db->refusal);
	r = db_execute(db, "BEGIN IMMEDIATE", "begin to write", err);
	if (r == 0)
		*ret_open = db;
	return r;
}

static void refuse_writing(struct db *db, const struct mayfly_error *why)
{
	(void)snprintf(db->refusal, sizeof db->refusal,
		"'%s' is read-only until the next start: %.300s", db->path, why->text);
}

int db_commit(struct db **open, struct mayfly_error *err)
{
	struct mayfly_error why = { 0 };
	struct db *db = *open;
	const int result = sqlite3_exec(db->handle, "COMMIT", NULL, NULL, NULL);

	if (result == SQLITE_OK) {
		*open = NULL;
		if (db->has_deleted)
			db_forget_deleted(db);
		return 0;
	}
	(void)db_failed(db, result, "commit", &why);
	if ((result & 0xff) != SQLITE_FULL)
		refuse_writing(db, &why);
	return error_set(err, why.code, "%s", why.text);
}

void db_rollback_p(struct db **open)
{
	struct db *db = *open;

	if (!db)
		return;
	*open = NULL;
	/* SQLite rolls back by itself after some errors. */
	if (sqlite3_get_autocommit(db->handle) ||
		sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL) == SQLITE_OK)
		return;
	if (db->refusal[0])
		return;
	/* What is left of it would become part of the next transaction. */
	(void)snprintf(db->refusal, sizeof db->refusal,
		"'%s' is read-only until the next start: a change could not be rolled back",
		db->path);
}

void db_forget_deleted(struct db *db)
{
	db->has_deleted = sqlite3_wal_checkpoint_v2(db->handle, NULL, SQLITE_CHECKPOINT_TRUNCATE,
				  NULL, NULL) != SQLITE_OK;
}

int db_check(struct db *db, struct mayfly_error *err)
{
	sqlite3_stmt *check = NULL;
	char shown[200];
	const char *finding;
	int r;

	r = sqlite3_prepare_v2(db->handle, "PRAGMA integrity_check(1)", -1, &check, NULL);
	if (r != SQLITE_OK)
		return db_failed(db, r, "check the pages", err);
	r = db_next(db, check, "check the pages", err);
	finding = r == 1 ? (const char *)sqlite3_column_text(check, 0) : NULL;
	if (r == 1 && (!finding || strcmp(finding, "ok") != 0))
		r = error_set(err, -EUCLEAN, "'%s' is damaged: %s", db->path,
			finding ? error_quote(shown, sizeof shown, finding, strlen(finding))
				: "its check says nothing");
	/* Its result is that of the step. */
	(void)sqlite3_finalize(check);
	return r < 0 ? r : 0;
}
