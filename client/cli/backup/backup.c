/* `mayfly backup`: the broker writes, encrypted, into a file that becomes FILE when all of it is on
 * the disk. */
#include "client/cli/backup/backup_verbs.h"
#include "client/cli/command_line/arguments.h"
#include "client/cli/operator/link.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"
#include "proto/backup/backup_key.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* FILE on its way. */
struct arriving {
	char *path, *directory;
	int fd;
	char *temporary; /* its name until then */
	bool is_named;
};

static void arriving_done(struct arriving *file)
{
	if (file->is_named)
		/* Nothing can be done about a part of a backup that cannot be removed. */
		(void)unlink(file->temporary);
	fd_close_p(&file->fd);
	free(file->temporary);
	free(file->path);
	free(file->directory);
}

/* A backup may be replaced by a newer one; anything else was not meant. */
static int check_target(const char *path, struct mayfly_error *err)
{
	static const char magic[] = "mayfly backup ";
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	char head[sizeof magic - 1];

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return error_errno(err, -errno, "look at '%s'", path);
	if (read(fd, head, sizeof head) == sizeof head && memcmp(head, magic, sizeof head) == 0)
		return 0;
	return error_set(err, -EEXIST,
		"'%s' is there and is no backup\ngive another name or remove it", path);
}

static int begin(const char *path, struct arriving *ret_file, struct mayfly_error *err)
{
	AUTO_FREE char *copy = text_copy(path);
	int r = check_target(path, err);

	if (r < 0)
		return r;
	ret_file->path = text_copy(path);
	ret_file->directory = text_copy(dirname(copy));
	ret_file->temporary = text_format("%s.%ld.new", path, (long)getpid());
	/* Without a name it is gone however this ends; not every file system can do that. */
	ret_file->fd = open(ret_file->directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (ret_file->fd >= 0)
		return 0;
	ret_file->fd = open(
		ret_file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (ret_file->fd < 0)
		return error_errno(err, -errno, "make '%s'", ret_file->temporary);
	ret_file->is_named = true;
	return 0;
}

static int name_it(struct arriving *file, struct mayfly_error *err)
{
	char itself[32];

	if (file->is_named)
		return 0;
	(void)snprintf(itself, sizeof itself, "/proc/self/fd/%d", file->fd);
	if (linkat(AT_FDCWD, itself, AT_FDCWD, file->temporary, AT_SYMLINK_FOLLOW) != 0)
		return error_errno(err, -errno, "make '%s'", file->temporary);
	file->is_named = true;
	return 0;
}

/* On the disk first, then under its name: whatever happens, FILE is whole. */
static int arrive(struct arriving *file, struct mayfly_error *err)
{
	AUTO_FD directory = open(file->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (directory < 0)
		return error_errno(err, -errno, "open '%s'", file->directory);
	if (fsync(file->fd) != 0)
		return error_errno(err, -errno, "write '%s' to the disk", file->path);
	r = name_it(file, err);
	if (r < 0)
		return r;
	if (rename(file->temporary, file->path) != 0)
		return error_errno(err, -errno, "make '%s'", file->path);
	file->is_named = false;
	if (fsync(directory) != 0)
		return error_errno(err, -errno, "write '%s' to the disk", file->directory);
	return 0;
}

static int tell(struct cli *cli, const char *path, const char *key, json_t *reply)
{
	json_t *damaged = json_object_get(reply, "damaged"), *name;
	const long long secrets = json_number(reply, "secrets");
	const long long versions = json_number(reply, "versions");
	const int status = json_array_size(damaged) > 0 ? CLI_REFUSED : CLI_DONE;
	size_t i;

	json_array_foreach (damaged, i, name)
		say_aside("damaged, and not in the backup: %s\n", json_string_value(name));
	if (cli->json) {
		(void)print_json(json_incref(reply));
		return status;
	}
	say("%s: %lld secret%s (%lld version%s), policy and audit head\n"
	    "  read by `mayfly restore` with the recovery key of %s\n",
		path, secrets, plural(secrets), versions, plural(versions), key);
	return status;
}

int backup_run(struct cli *cli, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(arriving_done) struct arriving file = { .fd = -1 };
	const char *path = cli->arguments->words[0];
	const char *key = argument_value(cli->arguments, "to");
	unsigned char public_key[BACKUP_KEY_BYTES];
	AUTO_JSON json_t *reply = NULL;
	int r;

	if (!key)
		return error_set(err, CLI_ERROR_USAGE,
			"for whom is the backup?\ngive --to KEY; `mayfly key backup` prints the "
			"KEY of your recovery key");
	if (backup_key_read(key, public_key, err) < 0)
		return cli_usage(err);
	r = operator_reach(cli, err);
	if (r == 0)
		r = begin(path, &file, err);
	if (r == 0)
		r = operator_call(cli,
			&(struct operator_call){ .method = "Backup",
				.parameters = json_made(
					json_pack("{s:s, s:i}", "key", key, "file_fd", 0)),
				.fds = &file.fd,
				.fds_count = 1,
				.timeout_ms = OPERATOR_PATIENT_MS },
			&reply, err);
	if (r == 0)
		r = arrive(&file, err);
	return r < 0 ? r : tell(cli, path, key, reply);
}
