/* A backup that this command reads itself: opened, its recovery key asked for, all of it checked,
 * and what is no secret of it kept. */
#pragma once

#include "client/cli/cli.h"
#include "client/cli/value/value.h"
#include "proto/backup/backup_record.h"

struct backup_file {
	char *name; /* mayflyd.json, policy.d/NAME.json */
	char *text;
	size_t length;
};

struct opened_backup {
	int fd;
	struct secret recovery_text; /* as typed */
	struct secret recovery_key;
	struct backup_info info;
	struct backup_counts counts;
	struct backup_file *files;
	size_t files_count;
};

#define OPENED_BACKUP_EMPTY ((struct opened_backup){ .fd = -1 })

/* Asks for the recovery key (option --recovery-key) and reads PATH to its end before it returns 0.
 */
int opened_backup_open(struct cli *cli, const char *path, struct opened_backup *ret_backup,
	struct mayfly_error *err);
void opened_backup_done(struct opened_backup *backup);

/* The recovery key as typed, from the file of option OPTION or a prompt, and as bytes. */
int recovery_key_read(struct cli *cli, const char *option, struct secret *ret_text,
	struct secret *ret_key, struct mayfly_error *err);

/* Restoring with the broker: the files that are to go to ROOT/etc/mayfly. */
/* Refuses, before anything is changed, when a file there says something else. */
int restored_files_check(
	struct cli *cli, const struct opened_backup *backup, struct mayfly_error *err);
/* Writes what is not there, has the broker read it; takes it back if the broker refuses. */
int restored_files_write(
	struct cli *cli, const struct opened_backup *backup, struct mayfly_error *err);

/* Restoring without the broker: everything into DIRECTORY, an empty one in memory, or a new one. */
int restore_to_directory(struct cli *cli, const struct opened_backup *backup, const char *directory,
	struct mayfly_error *err);
