/* What sqlite_db.c and sqlite_open.c share; nobody else includes it. */
#pragma once

#include "daemon/broker/store/sqlite/sqlite_db.h"

struct db {
	sqlite3 *handle;
	const struct db_format *format;
	char *path;
	bool is_read_only;
	bool has_deleted; /* what was deleted may still stand in the log */
	char refusal[512];
	sqlite3_stmt *statements[]; /* as many as the format has */
};

/* Sets ERR to "DOING in 'PATH': why" for SQLite's RESULT. Returns the errno. */
int db_failed(struct db *db, int result, const char *doing, struct mayfly_error *err);
