/* Backups: the bytes of a file, and, well encrypted, what is in one: everyone who knows the public key
 * can write that. */
#include "proto/backup/backup_record.h"
#include "proto/cleanup.h"
#include "proto/recovery_text.h"
#include "tests/fuzz/fuzz.h"

#include <sys/mman.h>

static int on_info(void *data, const struct backup_info *info, struct mayfly_error *err)
{
	(void)data;
	(void)err;
	assert(strlen(info->host) <= BACKUP_HOST_MAX && info->made_unix_s >= 0);
	return 0;
}

static int on_file(
	void *data, const char *name, const char *text, size_t length, struct mayfly_error *err)
{
	(void)data;
	(void)err;
	assert(backup_file_name_is_good(name) && !strstr(name, "/../") && text[length] == '\0');
	return 0;
}

static int on_secret(void *data, const struct backup_secret *secret, struct mayfly_error *err)
{
	(void)data;
	assert(set_name_check(secret->reference.set, err) == 0);
	assert(secret_name_check(secret->reference.name, err) == 0);
	return 0;
}

static int on_version(void *data, const struct backup_version *version, const struct secret *value,
	struct mayfly_error *err)
{
	(void)data;
	(void)err;
	assert(version->number > 0 && value->length > 0 && value->length <= MAYFLY_VALUE_MAX_BYTES);
	return 0;
}

static void read_it(struct arena *arena, int fd, const struct secret *key)
{
	const struct backup_visitor visitor = { .on_info = on_info,
		.on_file = on_file,
		.on_secret = on_secret,
		.on_version = on_version };
	struct mayfly_error err = { 0 };

	if (backup_read(arena, fd, key, &visitor, NULL, &err) < 0)
		assert(err.text[0]);
}

static void write_content(
	struct arena *arena, int fd, const struct secret *key, const uint8_t *bytes, size_t size)
{
	MAYFLY_CLEANUP(backup_writer_free_p) struct backup_writer *writer = NULL;
	unsigned char public_key[BACKUP_KEY_BYTES];
	AUTO_SECRET secret_key = { 0 };
	struct mayfly_error err;

	assert(backup_key_derive(key, public_key, &secret_key, &err) == 0);
	assert(backup_writer_new(arena, fd, public_key, &writer, &err) == 0);
	assert(backup_writer_put(writer, bytes, size, &err) == 0);
	assert(backup_writer_end(writer, &err) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const int raw = memfd_create("raw", MFD_CLOEXEC), made = memfd_create("made", MFD_CLOEXEC);
	static struct arena *arena;
	struct secret key = { 0 };
	struct mayfly_error err;

	if (!arena)
		assert(arena_new((size_t)8 << 20, &arena, &err) == 0);
	assert(raw >= 0 && made >= 0);
	assert(secret_new(arena, RECOVERY_KEY_BYTES, &key, &err) == 0);
	assert(write(raw, bytes, size) == (ssize_t)size);
	read_it(arena, raw, &key);
	write_content(arena, made, &key, bytes, size);
	read_it(arena, made, &key);
	secret_done(&key);
	assert(arena_used_bytes(arena) == 0);
	(void)close(raw);
	(void)close(made);
	return 0;
}
