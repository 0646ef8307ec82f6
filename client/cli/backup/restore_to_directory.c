/* Values as files, where the daemon is gone and they are needed now. In memory only: a value on a
 * disk stays there whatever is removed afterwards. */
#include "client/cli/backup/opened_backup.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

struct writing {
	int directory;
	struct backup_secret secret;
	bool is_written; /* the secret's current version */
	unsigned long long secrets, removed, without_current;
};

static int check_memory(int directory, const char *path, struct mayfly_error *err)
{
	struct statfs status;

	if (fstatfs(directory, &status) != 0)
		return error_errno(err, -errno, "look at '%s'", path);
	if (status.f_type == TMPFS_MAGIC || status.f_type == RAMFS_MAGIC)
		return 0;
	return error_set(err, -EPERM,
		"'%s' is on a disk, where values would stay\ngive a directory in memory, as "
		"/dev/shm/restored",
		path);
}

static int check_empty(int directory, const char *path, struct mayfly_error *err)
{
	const int copy = fcntl(directory, F_DUPFD_CLOEXEC, 0);
	DIR *listed = copy >= 0 ? fdopendir(copy) : NULL;
	const struct dirent *entry;
	bool is_empty = true;

	if (!listed)
		return error_errno(err, -errno, "list '%s'", path);
	while ((entry = readdir(listed)))
		is_empty = is_empty &&
			   (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
	(void)closedir(listed); /* was only read */
	return is_empty ? 0 : error_set(err, -ENOTEMPTY, "'%s' is not empty", path);
}

/* Made if it is not there; removed again if it turns out to be on a disk. */
static int open_directory(const char *path, int *ret_directory, struct mayfly_error *err)
{
	const bool is_made = mkdir(path, 0700) == 0;
	AUTO_FD directory = -1;
	int r;

	if (!is_made && errno != EEXIST)
		return error_errno(err, -errno, "make '%s'", path);
	directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (directory < 0)
		return error_errno(err, -errno, "open '%s'", path);
	r = check_memory(directory, path, err);
	if (r == 0)
		r = check_empty(directory, path, err);
	if (r == 0 && fchmod(directory, 0700) != 0)
		r = error_errno(err, -errno, "close '%s' to others", path);
	if (r < 0) {
		if (is_made)
			(void)rmdir(path); /* the first error counts */
		return r;
	}
	*ret_directory = fd_take(&directory);
	return 0;
}

/* Directory NAME below PARENT, made if it is not there. A secret of that name makes it "NAME~",
 * which no secret is called. */
static int enter(int parent, const char *name, int *ret_directory, struct mayfly_error *err)
{
	AUTO_FREE char *other = text_format("%s~", name);
	const char *const names[] = { name, other };

	for (size_t i = 0; i < 2; i++) {
		if (mkdirat(parent, names[i], 0700) != 0 && errno != EEXIST)
			return error_errno(err, -errno, "make '%s'", names[i]);
		*ret_directory =
			openat(parent, names[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (*ret_directory >= 0)
			return 0;
	}
	return error_errno(err, -errno, "open '%s'", other);
}

static int create(int parent, const char *name, int *ret_fd, struct mayfly_error *err)
{
	AUTO_FREE char *other = text_format("%s~", name);

	*ret_fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
	/* A directory for secrets with longer names is there already. */
	if (*ret_fd < 0 && errno == EEXIST)
		*ret_fd = openat(parent, other, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
	return *ret_fd >= 0 ? 0 : error_errno(err, -errno, "make '%s'", name);
}

/* The file of PATH below DIRECTORY, whose parts were checked when the backup was read. */
static int create_below(int directory, const char *path, int *ret_fd, struct mayfly_error *err)
{
	AUTO_FREE char *parts = text_copy(path);
	AUTO_FD parent = fcntl(directory, F_DUPFD_CLOEXEC, 0);
	char *part = parts, *slash;

	if (parent < 0)
		return error_errno(err, -errno, "make '%s'", path);
	while ((slash = strchr(part, '/'))) {
		int below = -1, r;

		*slash = '\0';
		r = enter(parent, part, &below, err);
		if (r < 0)
			return r;
		fd_close_p(&parent);
		parent = below;
		part = slash + 1;
	}
	return create(parent, part, ret_fd, err);
}

static int write_value(
	int directory, const char *path, const struct secret *value, struct mayfly_error *err)
{
	AUTO_FD fd = -1;
	int r = create_below(directory, path, &fd, err);

	if (r == 0)
		r = value_write(fd, value, false, err);
	return r < 0 ? error_within(err, "'%s'", path) : 0;
}

static int write_text(
	int directory, const char *path, const char *text, size_t length, struct mayfly_error *err)
{
	AUTO_FD fd = -1;
	int r = create_below(directory, path, &fd, err);

	if (r < 0)
		return r;
	while (length > 0) {
		const ssize_t n = write(fd, text, length);

		if (n <= 0)
			return error_errno(err, n < 0 ? -errno : -EIO, "write '%s'", path);
		text += n;
		length -= (size_t)n;
	}
	return 0;
}

static void count_last(struct writing *writing)
{
	if (!writing->secret.next)
		return;
	if (writing->secret.is_removed)
		writing->removed++;
	else if (writing->is_written)
		writing->secrets++;
	else
		writing->without_current++;
}

static int on_secret(void *data, const struct backup_secret *secret, struct mayfly_error *err)
{
	struct writing *writing = data;

	(void)err;
	count_last(writing);
	writing->secret = *secret;
	writing->is_written = false;
	return 0;
}

static int on_version(void *data, const struct backup_version *version, const struct secret *value,
	struct mayfly_error *err)
{
	struct writing *writing = data;
	const struct backup_secret *secret = &writing->secret;
	AUTO_FREE char *path = NULL;

	if (secret->is_removed || version->number != secret->current)
		return 0;
	path = text_format("secrets/%s/%s", secret->reference.set, secret->reference.name);
	writing->is_written = true;
	return write_value(writing->directory, path, value, err);
}

static int on_audit_key(void *data, const struct secret *key, struct mayfly_error *err)
{
	return write_value(((struct writing *)data)->directory, "audit-first.key", key, err);
}

static int write_audit_head(int directory, const struct backup_info *info, struct mayfly_error *err)
{
	char mac[2 * sizeof info->audit_mac + 1], store[2 * sizeof info->store + 1];
	AUTO_FREE char *text = NULL;

	(void)sodium_bin2hex(mac, sizeof mac, info->audit_mac, sizeof info->audit_mac);
	(void)sodium_bin2hex(store, sizeof store, info->store, sizeof info->store);
	text = text_format("{\"seq\": %llu, \"mac\": \"%s\", \"store\": \"%s\", \"host\": \"%s\", "
			   "\"made_unix_s\": %lld}\n",
		(unsigned long long)info->audit_seq, mac, store, info->host,
		(long long)info->made_unix_s);
	return write_text(directory, "audit-head.json", text, strlen(text), err);
}

static int tell(struct cli *cli, const struct writing *writing, const char *directory)
{
	if (cli->json)
		return print_json(json_made(json_pack("{s:s, s:I, s:I, s:I}", "directory",
			directory, "secrets", (json_int_t)writing->secrets, "removed",
			(json_int_t)writing->removed, "without_current",
			(json_int_t)writing->without_current)));
	say("%llu secret%s in %s/secrets, beside policy and audit head\n", writing->secrets,
		plural((long long)writing->secrets), directory);
	if (writing->removed)
		say("%llu that had been removed and older versions are not written\n",
			writing->removed);
	if (writing->without_current)
		say_aside("%llu had no readable current version when the backup was made\n",
			writing->without_current);
	say("These are plain values: `rm -r %s` when you are done.\n", directory);
	return CLI_DONE;
}

int restore_to_directory(struct cli *cli, const struct opened_backup *backup, const char *directory,
	struct mayfly_error *err)
{
	struct writing writing = { .directory = -1 };
	const struct backup_visitor visitor = { .on_audit_key = on_audit_key,
		.on_secret = on_secret,
		.on_version = on_version,
		.data = &writing };
	AUTO_FD fd = -1;
	int r = open_directory(directory, &fd, err);

	writing.directory = fd;
	for (size_t i = 0; r == 0 && i < backup->files_count; i++)
		r = write_text(fd, backup->files[i].name, backup->files[i].text,
			backup->files[i].length, err);
	if (r == 0)
		r = write_audit_head(fd, &backup->info, err);
	if (r == 0)
		r = backup_read(cli->arena, backup->fd, &backup->recovery_key, &visitor, NULL, err);
	if (r < 0)
		return error_within(err, "restore to '%s'", directory);
	count_last(&writing);
	return tell(cli, &writing, directory);
}
