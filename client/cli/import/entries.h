/* What an import found: names and where their values are; what it left out, and why.
 * Values of one file lie one behind the other in one run of the arena; those of a directory stay in
 * their files until they are asked for. Messages never repeat what a file says but valid names. */
#pragma once

#include "client/cli/cli.h"
#include "client/cli/terminal/text.h"
#include "include/mayfly/limits.h"
#include "proto/secret.h"

#include <stddef.h>

/* The text, its values, one of them and a file that is searched for it fit into the arena together;
 * a file of variables has a few thousand bytes. */
#define ENTRIES_BYTES_MAX ((size_t)1024 * 1024)
#define IMPORT_FILE_MAX	  ((size_t)1024 * 1024)

struct entry {
	char *name; /* as the file says it: not checked */
	char *path; /* its value is that file, or NULL */
	size_t offset, length;
	unsigned line;
};

struct entries {
	struct secret values; /* ENTRIES_BYTES_MAX, of which USED */
	size_t used;
	struct entry *items;
	size_t count;
	struct text_list left_out; /* "line 3: FOO is empty" */
};

void entry_done(struct entry *entry);
/* Moves ownership out of ENTRY, which becomes empty. */
struct entry entry_take(struct entry *entry);

int entries_init(struct arena *arena, struct entries *ret_entries, struct mayfly_error *err);
void entries_done(struct entries *entries);

/* A value is begun, written part by part, and becomes the entry NAME, whose earlier one goes, as in
 * a file of variables the last one counts. -E2BIG. */
static inline size_t entries_begin(const struct entries *entries)
{
	return entries->used;
}
int entries_put(
	struct entries *entries, const void *bytes, size_t length, struct mayfly_error *err);
int entries_add(struct entries *entries, const char *name, size_t name_length, size_t begun,
	unsigned line, struct mayfly_error *err);
struct entry *entries_find(const struct entries *entries, const char *name, size_t length);

/* Reads LENGTH bytes of TEXT by the rules that Docker Compose reads .env files by (its release 5,
 * compose-go 2.16), with one difference: a variable that the file does not set is an error and not
 * a look into the environment. Pure but for ENTRIES. -EINVAL with the line. */
int env_file_parse(
	const char *text, size_t length, struct entries *entries, struct mayfly_error *err);
/* Replaces $NAME, ${NAME}, ${NAME:-WORD} and the like in TEXT by earlier ENTRIES and $$ by $, and
 * puts what comes of it. */
int env_expand(struct entries *entries, const char *text, size_t length, unsigned line,
	struct mayfly_error *err);

/* Reads one JSON object: strings, and objects of them, whose names are joined by "/"; numbers, true
 * and false as they are written. */
int json_values_parse(
	const char *text, size_t length, struct entries *entries, struct mayfly_error *err);

/* Every file below PATH is a value; names are their paths below it. Hidden ones are left out. */
int value_directory_read(const char *path, struct entries *entries, struct mayfly_error *err);

/* ENTRY's value, the caller's. Of a file by the newline rule, as `put --from-file` reads it. */
int entry_value(struct cli *cli, const struct entries *entries, const struct entry *entry,
	struct secret *ret_value, struct mayfly_error *err);

/* Files beside PATH, and it itself, that one of the values stands in: "FILE: NAME, NAME". */
int plain_text_find(struct cli *cli, const char *path, const struct entries *entries,
	struct text_list *ret_lines, struct mayfly_error *err);
