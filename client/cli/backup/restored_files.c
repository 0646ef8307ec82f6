/* The files of a backup below ROOT/etc/mayfly. What this host says itself is never written over. */
#include "client/cli/backup/opened_backup.h"
#include "client/cli/files/config_edit.h"
#include "client/cli/files/edited_file.h"
#include "client/cli/files/json_file.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <string.h>

static bool is_config(const struct backup_file *file)
{
	return strcmp(file->name, BACKUP_CONFIG_NAME) == 0;
}

static int open_file(struct cli *cli, const struct backup_file *file, struct edited_file *ret_file,
	struct mayfly_error *err)
{
	return is_config(file)
		       ? edited_file_open(cli->root, "etc/mayfly", file->name, true, ret_file, err)
		       : edited_file_open(cli->root, "etc/mayfly/policy.d",
				 file->name + strlen(BACKUP_POLICY_PREFIX), true, ret_file, err);
}

static bool is_same(const struct edited_file *there, const struct backup_file *file)
{
	return there->old_text && there->old_length == file->length &&
	       memcmp(there->old_text, file->text, file->length) == 0;
}

/* A mayflyd.json that a package brought, in which nothing was decided yet. */
static bool is_undecided(const struct edited_file *there)
{
	AUTO_JSON json_t *config = NULL;

	return !there->old_text ||
	       (json_file_parse(there->path, there->old_text, there->old_length, &config, NULL) ==
			       0 &&
		       !json_object_get(config, "environment") && !json_object_get(config, "sets"));
}

int restored_files_check(
	struct cli *cli, const struct opened_backup *backup, struct mayfly_error *err)
{
	for (size_t i = 0; i < backup->files_count; i++) {
		MAYFLY_CLEANUP(edited_file_done) struct edited_file there = EDITED_FILE_EMPTY;
		const int r = open_file(cli, &backup->files[i], &there, err);

		if (r < 0)
			return r;
		if (!is_config(&backup->files[i]) && there.old_text &&
			!is_same(&there, &backup->files[i]))
			return error_set(err, -EEXIST,
				"%s says something else than the backup\nmove it away first",
				there.path);
	}
	return 0;
}

/* What the secrets and the policy were made for. Engines, users and groups are this host's own. */
static int take_over(json_t *config, json_t *from)
{
	static const char *const keys[] = { "environment", "sets" };
	int changed = 0;

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		json_t *value = json_object_get(from, keys[i]);

		if (value) {
			(void)json_object_set(config, keys[i], value);
			changed = 1;
		}
	}
	return changed;
}

/* 1: written, 0: nothing to say. */
static int write_config(
	struct edited_file *there, const struct backup_file *file, struct mayfly_error *err)
{
	AUTO_JSON json_t *config = NULL, *from = NULL;
	AUTO_FREE char *text = NULL;
	size_t length;
	int r = json_file_parse(there->path, there->old_text, there->old_length, &config, err);

	if (r == 0)
		r = json_file_parse(file->name, file->text, file->length, &from, err);
	if (r < 0 || !take_over(config, from))
		return r;
	text = json_file_text(config, &length);
	r = edited_file_write(there, text, length, err);
	return r < 0 ? r : 1;
}

/* 1: written, 0: left as it is. */
static int write_file(struct cli *cli, const struct backup_file *file, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(edited_file_done) struct edited_file there = EDITED_FILE_EMPTY;
	int r = open_file(cli, file, &there, err);

	if (r < 0 || is_same(&there, file))
		return r;
	if (is_config(file) ? !is_undecided(&there) : there.old_text != NULL) {
		say_aside("%s stays as it is; the backup's own comes out with --to-dir\n",
			there.path);
		return 0;
	}
	if (is_config(file))
		return write_config(&there, file, err);
	r = edited_file_write(&there, file->text, file->length, err);
	return r < 0 ? r : 1;
}

static void take_back(struct cli *cli, const struct backup_file *file)
{
	MAYFLY_CLEANUP(edited_file_done) struct edited_file there = EDITED_FILE_EMPTY;
	struct mayfly_error err;

	if (open_file(cli, file, &there, &err) < 0 || edited_file_remove(&there, &err) < 0)
		say_aside("%s could not be taken back: %s\n", file->name, err.text);
}

int restored_files_write(
	struct cli *cli, const struct opened_backup *backup, struct mayfly_error *err)
{
	AUTO_FREE bool *written = calloc(backup->files_count + 1, sizeof *written);
	int r = 0;

	if (!written)
		return error_errno(err, -ENOMEM, "restore the policy");
	for (size_t i = 0; r >= 0 && i < backup->files_count; i++) {
		r = write_file(cli, &backup->files[i], err);
		written[i] = r == 1;
	}
	if (r >= 0)
		r = config_reload(cli, NULL, err);
	/* The configuration stays: it is what the policy was written for. */
	for (size_t i = 0; r < 0 && i < backup->files_count; i++)
		if (written[i] && !is_config(&backup->files[i]))
			take_back(cli, &backup->files[i]);
	return r < 0 ? r : 0;
}
