/* The files of ROOT/etc/mayfly/policy.d: all of them, read; one of them, changed; the broker asked
 * before and after. A grant is looked for in every file, so that a hand-written one is found. */
#pragma once

#include "client/cli/cli.h"

#include <jansson.h>
#include <stddef.h>

#define POLICY_FOLDER "etc/mayfly/policy.d"

struct policy_file {
	char *name; /* "shop-web.json" */
	char *text; /* as it is on disk */
	json_t *json;
};

struct policy_files {
	struct policy_file *items;
	size_t count;
};

/* Reads every *.json, in the order of names. No folder: no files. -EINVAL for a file that is no
 * JSON. */
int policy_files_read(const char *root, struct policy_files *ret_files, struct mayfly_error *err);
void policy_files_done(struct policy_files *files);

/* The file that has grant NAME, or NULL; the grant in *RET_GRANT (borrowed), its place among the
 * file's grants in *RET_INDEX (may be NULL). */
struct policy_file *policy_files_find(
	struct policy_files *files, const char *name, json_t **ret_grant, size_t *ret_index);

/* The file NAME, added empty if there is none. The pointer is good until the next addition. */
struct policy_file *policy_files_get(struct policy_files *files, const char *name);

/* The `grants` of FILE, made if they are missing; NULL if they are no array. Borrowed. */
json_t *policy_file_grants(struct policy_file *file);

/* True when nothing is in FILE any more but, at most, a note. */
bool policy_file_is_empty(const struct policy_file *file);

/* Has the broker check FILES as they are in memory. Complaints are printed; notes too. 0, or the
 * broker's refusal. A policy too long for one message is 0: Reload checks it as well. */
int policy_files_check(struct cli *cli, const struct policy_files *files, struct mayfly_error *err);

/* Writes FILE (removes it if it is empty), has the broker reload, and puts the old file back if it
 * refuses. -EBUSY if somebody else has changed it since it was read. */
int policy_file_commit(struct cli *cli, const struct policy_file *file, struct mayfly_error *err);

/* Prints notes (array of Complaint) on standard error. */
void policy_notes_print(json_t *notes);
