#include "daemon/broker/backup/backup.h"

#include "daemon/broker/config/file_text.h"
#include "proto/cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

void damaged_names_done(struct damaged_names *damaged)
{
	for (size_t i = 0; i < damaged->count; i++)
		free(damaged->names[i]);
	free(damaged->names);
	*damaged = (struct damaged_names){ 0 };
}

struct making {
	struct backup_writer *writer;
	struct backup_counts counts;
	struct damaged_names *damaged;
};

static int write_info(
	const struct backup_source *source, struct making *making, struct mayfly_error *err)
{
	struct backup_info info = { .made_unix_s = (int64_t)time(NULL) };
	struct utsname host;
	char mac[2 * BACKUP_MAC_BYTES + 1];
	int r = store_uuid(source->store, info.store, err);

	if (r < 0)
		return r;
	audit_head(source->audit, &info.audit_seq, mac);
	/* Hex that audit_head() has written. */
	(void)sodium_hex2bin(
		info.audit_mac, sizeof info.audit_mac, mac, strlen(mac), NULL, NULL, NULL);
	if (uname(&host) == 0)
		(void)snprintf(info.host, sizeof info.host, "%.*s", BACKUP_HOST_MAX, host.nodename);
	if (source->environment)
		(void)snprintf(
			info.environment, sizeof info.environment, "%s", source->environment);
	return backup_write_info(making->writer, &info, err);
}

/* A file that is not there is no error. */
static int write_file(
	int directory, const char *path, struct making *making, struct mayfly_error *err)
{
	AUTO_FREE char *text = NULL;
	size_t length;
	const int r = file_text_read(directory, path, &text, &length, err);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return backup_write_file(making->writer, &making->counts, path, text, length, err);
}

static int is_policy(const struct dirent *entry)
{
	char name[sizeof BACKUP_POLICY_PREFIX + sizeof entry->d_name];

	(void)snprintf(name, sizeof name, BACKUP_POLICY_PREFIX "%s", entry->d_name);
	return backup_file_name_is_good(name);
}

static int write_policy(int directory, struct making *making, struct mayfly_error *err)
{
	struct dirent **entries = NULL;
	const int count = scandirat(directory, "policy.d", &entries, is_policy, alphasort);
	int r = count < 0 && errno != ENOENT ? error_errno(err, -errno, "list the policy's files")
					     : 0;

	for (int i = 0; i < count; i++) {
		char path[sizeof BACKUP_POLICY_PREFIX + sizeof entries[i]->d_name];

		(void)snprintf(path, sizeof path, BACKUP_POLICY_PREFIX "%s", entries[i]->d_name);
		if (r == 0)
			r = write_file(directory, path, making, err);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int write_files(
	const struct backup_source *source, struct making *making, struct mayfly_error *err)
{
	AUTO_FREE char *path = NULL;
	AUTO_FD directory = -1;
	int r;

	if (asprintf(&path, "%s/etc/mayfly", source->root) < 0) {
		path = NULL;
		return error_errno(err, -ENOMEM, "make a backup");
	}
	directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return errno == ENOENT ? 0 : error_errno(err, -errno, "open '%s'", path);
	r = write_file(directory, BACKUP_CONFIG_NAME, making, err);
	return r < 0 ? r : write_policy(directory, making, err);
}

static int write_audit_key(
	const struct backup_source *source, struct making *making, struct mayfly_error *err)
{
	AUTO_SECRET key = { 0 };
	const int r = store_audit_key(source->store, &key, err);

	return r < 0 ? r : backup_write_audit_key(making->writer, &key, err);
}

static int on_secret(void *data, const struct backup_secret *secret, struct mayfly_error *err)
{
	struct making *making = data;

	return backup_write_secret(making->writer, &making->counts, secret, err);
}

static int on_version(void *data, const struct backup_version *version, const struct secret *value,
	struct mayfly_error *err)
{
	struct making *making = data;

	return backup_write_version(making->writer, &making->counts, version, value, err);
}

static void on_damaged(void *data, const char *what)
{
	struct damaged_names *damaged = ((struct making *)data)->damaged;
	char **names = reallocarray(damaged->names, damaged->count + 1, sizeof names[0]);

	if (!names)
		return;
	damaged->names = names;
	names[damaged->count] = strdup(what);
	if (names[damaged->count])
		damaged->count++;
}

int backup_make(const struct backup_source *source, int fd,
	const unsigned char public_key[BACKUP_KEY_BYTES], struct backup_counts *ret_counts,
	struct damaged_names *ret_damaged, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(backup_writer_free_p) struct backup_writer *writer = NULL;
	MAYFLY_CLEANUP(damaged_names_done) struct damaged_names damaged = { 0 };
	struct making making = { .damaged = &damaged };
	const struct store_export export = { on_secret, on_version, on_damaged, &making };
	int r = backup_writer_new(source->arena, fd, public_key, &writer, err);

	making.writer = writer;
	if (r == 0)
		r = write_info(source, &making, err);
	if (r == 0)
		r = write_files(source, &making, err);
	if (r == 0)
		r = write_audit_key(source, &making, err);
	if (r == 0)
		r = store_export(source->store, &export, err);
	if (r == 0)
		r = backup_write_end(writer, &making.counts, err);
	if (r < 0)
		return r;
	*ret_counts = making.counts;
	*ret_damaged = damaged;
	damaged = (struct damaged_names){ 0 };
	return 0;
}
