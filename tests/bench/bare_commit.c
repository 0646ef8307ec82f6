#include "bare_commit.h"

#include <stdio.h>
#include <stdlib.h>

static void must(int result, int wanted, const char *what)
{
	if (result == wanted)
		return;
	(void)fprintf(stderr, "%s: %s\n", what, sqlite3_errstr(result));
	exit(EXIT_FAILURE);
}

void bare_commits_open(struct bare_commits *commits, const char *directory)
{
	char path[4096];

	(void)snprintf(path, sizeof path, "%s/bare.db", directory);
	must(sqlite3_open(path, &commits->file), SQLITE_OK, "open");
	must(sqlite3_exec(commits->file,
		     "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; "
		     "PRAGMA synchronous = FULL; "
		     "CREATE TABLE t (id INTEGER PRIMARY KEY, b BLOB) STRICT",
		     NULL, NULL, NULL),
		SQLITE_OK, "prepare the bare file");
	must(sqlite3_prepare_v2(
		     commits->file, "INSERT INTO t (b) VALUES (?1)", -1, &commits->insert, NULL),
		SQLITE_OK, "prepare");
}

void bare_commits_close(struct bare_commits *commits)
{
	(void)sqlite3_finalize(commits->insert);
	(void)sqlite3_close(commits->file);
}

void bare_commit(struct bare_commits *commits, const void *bytes, size_t length)
{
	must(sqlite3_bind_blob(commits->insert, 1, bytes, (int)length, SQLITE_STATIC), SQLITE_OK,
		"bind");
	must(sqlite3_step(commits->insert), SQLITE_DONE, "insert");
	must(sqlite3_reset(commits->insert), SQLITE_OK, "reset");
}
