#include "client/cli/backup/opened_backup.h"

#include "client/cli/command_line/arguments.h"
#include "client/cli/terminal/text.h"
#include "proto/recovery_text.h"

#include <fcntl.h>
#include <string.h>

int recovery_key_read(struct cli *cli, const char *option, struct secret *ret_text,
	struct secret *ret_key, struct mayfly_error *err)
{
	AUTO_SECRET text = { 0 };
	int r = value_read(cli,
		&(struct value_request){ .prompt = "Recovery key",
			.from_file = argument_value(cli->arguments, option),
			.max_bytes = MAYFLY_PASSPHRASE_MAX_BYTES,
			.what = "recovery key" },
		&text, NULL, err);

	if (r == 0)
		r = recovery_text_read(&text, ret_key, err);
	if (r == 0)
		*ret_text = secret_take(&text);
	return r;
}

void opened_backup_done(struct opened_backup *backup)
{
	fd_close_p(&backup->fd);
	secret_done(&backup->recovery_text);
	secret_done(&backup->recovery_key);
	for (size_t i = 0; i < backup->files_count; i++) {
		free(backup->files[i].name);
		free(backup->files[i].text);
	}
	free(backup->files);
	*backup = OPENED_BACKUP_EMPTY;
}

static int on_info(void *data, const struct backup_info *info, struct mayfly_error *err)
{
	(void)err;
	((struct opened_backup *)data)->info = *info;
	return 0;
}

static int on_file(
	void *data, const char *name, const char *text, size_t length, struct mayfly_error *err)
{
	struct opened_backup *backup = data;
	struct backup_file *file;
	void *files = reallocarray(backup->files, backup->files_count + 1, sizeof backup->files[0]);

	if (!files)
		return error_errno(err, -ENOMEM, "keep '%s'", name);
	backup->files = files;
	file = &backup->files[backup->files_count];
	file->text = malloc(length + 1);
	if (!file->text)
		return error_errno(err, -ENOMEM, "keep '%s'", name);
	memcpy(file->text, text, length + 1);
	file->length = length;
	file->name = text_copy(name);
	backup->files_count++;
	return 0;
}

int opened_backup_open(struct cli *cli, const char *path, struct opened_backup *ret_backup,
	struct mayfly_error *err)
{
	MAYFLY_CLEANUP(opened_backup_done) struct opened_backup backup = OPENED_BACKUP_EMPTY;
	const struct backup_visitor visitor = {
		.on_info = on_info, .on_file = on_file, .data = &backup
	};
	struct arena *arena;
	int r = cli_arena(cli, &arena, err);

	if (r < 0)
		return r;
	backup.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (backup.fd < 0)
		return error_errno(err, -errno, "open '%s'", path);
	r = recovery_key_read(
		cli, "recovery-key", &backup.recovery_text, &backup.recovery_key, err);
	if (r < 0)
		return r;
	r = backup_read(arena, backup.fd, &backup.recovery_key, &visitor, &backup.counts, err);
	if (r < 0)
		return error_within(err, "'%s'", path);
	*ret_backup = backup;
	backup = OPENED_BACKUP_EMPTY;
	return 0;
}
