/* A SQLite file that does the least a durable commit can be: what our own commits are compared
 * with.
 */
#pragma once

#include <sqlite3.h>
#include <stddef.h>

struct bare_commits {
	sqlite3 *file;
	sqlite3_stmt *insert;
};

/* Makes DIRECTORY/bare.db: WAL, synchronous=FULL, one table. Ends the program on failure. */
void bare_commits_open(struct bare_commits *commits, const char *directory);
void bare_commits_close(struct bare_commits *commits);

/* One row of LENGTH bytes, durable when it returns. */
void bare_commit(struct bare_commits *commits, const void *bytes, size_t length);
