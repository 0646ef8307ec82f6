#include "daemon/broker/audit/audit_key.h"

#include "daemon/broker/audit/audit.h"
#include "proto/cleanup.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define MAGIC_BYTES	 16
#define EPOCH_OFFSET	 16
#define SEQ_OFFSET	 24
#define MAC_OFFSET	 32
#define KEY_OFFSET	 64
#define CHECK_OFFSET	 96
#define CHECK_BYTES	 32
#define KEY_FILE_BYTES	 128
#define TEMPORARY_ENDING ".new"

static const char MAGIC[MAGIC_BYTES + 1] = "mayfly audit key";

void audit_key_done(struct audit_key *key)
{
	secret_done(&key->key);
	*key = (struct audit_key){ 0 };
}

struct audit_key audit_key_take(struct audit_key *key)
{
	const struct audit_key taken = *key;

	*key = (struct audit_key){ 0 };
	return taken;
}

int audit_key_make(struct arena *arena, struct audit_key *ret_key, struct mayfly_error *err)
{
	struct audit_key key = { 0 };
	const int r = secret_new(arena, AUDIT_KEY_BYTES, &key.key, err);

	if (r < 0)
		return r;
	randombytes_buf(key.key.bytes, key.key.length);
	*ret_key = key;
	return 0;
}

int audit_key_copy(const struct audit_key *key, struct audit_key *ret_key, struct mayfly_error *err)
{
	struct audit_key copy = { .epoch = key->epoch, .anchor = key->anchor };
	const int r = secret_new(key->key.arena, key->key.length, &copy.key, err);

	if (r < 0)
		return r;
	memcpy(copy.key.bytes, key->key.bytes, copy.key.length);
	*ret_key = copy;
	return 0;
}

int audit_key_next(const struct audit_key *key, const struct audit_head *head,
	struct audit_key *ret_key, struct mayfly_error *err)
{
	struct audit_key next = { 0 };
	const int r = audit_key_copy(key, &next, err);

	if (r < 0)
		return r;
	next.epoch++;
	next.anchor = *head;
	audit_chain_ratchet(&next.key);
	*ret_key = next;
	return 0;
}

static void make_check(const unsigned char *bytes, unsigned char ret_check[CHECK_BYTES])
{
	crypto_generichash_state state;

	/* These fail for lengths out of range only, and all of them are constants. */
	(void)crypto_generichash_init(&state, NULL, 0, CHECK_BYTES);
	(void)crypto_generichash_update(&state, bytes, CHECK_OFFSET);
	(void)crypto_generichash_final(&state, ret_check, CHECK_BYTES);
	sodium_memzero(&state, sizeof state);
}

static void encode(const struct audit_key *key, unsigned char *bytes)
{
	const uint64_t epoch = htole64(key->epoch), seq = htole64(key->anchor.seq);

	memcpy(bytes, MAGIC, MAGIC_BYTES);
	memcpy(bytes + EPOCH_OFFSET, &epoch, sizeof epoch);
	memcpy(bytes + SEQ_OFFSET, &seq, sizeof seq);
	memcpy(bytes + MAC_OFFSET, key->anchor.mac, AUDIT_MAC_BYTES);
	memcpy(bytes + KEY_OFFSET, key->key.bytes, AUDIT_KEY_BYTES);
	make_check(bytes, bytes + CHECK_OFFSET);
}

/* Fills all of KEY but its secret, which is there already. */
static bool decode(const unsigned char *bytes, struct audit_key *key)
{
	unsigned char check[CHECK_BYTES];
	uint64_t epoch, seq;

	make_check(bytes, check);
	if (memcmp(bytes, MAGIC, MAGIC_BYTES) != 0 ||
		sodium_memcmp(check, bytes + CHECK_OFFSET, CHECK_BYTES) != 0)
		return false;
	memcpy(&epoch, bytes + EPOCH_OFFSET, sizeof epoch);
	memcpy(&seq, bytes + SEQ_OFFSET, sizeof seq);
	memcpy(key->anchor.mac, bytes + MAC_OFFSET, AUDIT_MAC_BYTES);
	memcpy(key->key.bytes, bytes + KEY_OFFSET, AUDIT_KEY_BYTES);
	key->epoch = le64toh(epoch);
	key->anchor.seq = le64toh(seq);
	return true;
}

int audit_key_load(int directory, const char *name, struct arena *arena, struct audit_key *ret_key,
	struct mayfly_error *err)
{
	MAYFLY_CLEANUP(audit_key_done) struct audit_key key = { 0 };
	AUTO_SECRET bytes = { 0 };
	AUTO_FD fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	struct stat status;
	ssize_t n;
	int r;

	if (fd < 0)
		return error_errno(err, -errno, "open '%s'", name);
	r = secret_new(arena, KEY_FILE_BYTES, &bytes, err);
	if (r == 0)
		r = secret_new(arena, AUDIT_KEY_BYTES, &key.key, err);
	if (r < 0)
		return error_within(err, "read '%s'", name);
	n = pread(fd, bytes.bytes, bytes.length, 0);
	if (n < 0 || fstat(fd, &status) != 0)
		return error_errno(err, -errno, "read '%s'", name);
	/* Erased, but a stop came before its name went. */
	if (n == KEY_FILE_BYTES && sodium_is_zero(bytes.bytes, bytes.length))
		return error_errno(err, -ENOENT, "read '%s'", name);
	if (n != KEY_FILE_BYTES || status.st_size != KEY_FILE_BYTES)
		return error_set(err, -EBADMSG, "read '%s': it has %jd bytes, a key file has %d",
			name, (intmax_t)status.st_size, KEY_FILE_BYTES);
	if (!decode(bytes.bytes, &key))
		return error_set(err, -EBADMSG, "read '%s': it is damaged", name);
	*ret_key = audit_key_take(&key);
	return 0;
}

/* Overwrites what a key file of ours, open as FD, has in its blocks. */
static int overwrite(int fd)
{
	static const unsigned char zeros[KEY_FILE_BYTES];

	if (pwrite(fd, zeros, sizeof zeros, 0) != (ssize_t)sizeof zeros || fdatasync(fd) != 0)
		return -1;
	return 0;
}

static int write_whole(
	int directory, const char *name, const struct secret *bytes, struct mayfly_error *err)
{
	AUTO_FD fd = openat(
		directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	ssize_t n;

	if (fd < 0)
		return error_errno(err, -errno, "create '%s'", name);
	n = pwrite(fd, bytes->bytes, bytes->length, 0);
	if (n != (ssize_t)bytes->length)
		return error_errno(err, n < 0 ? -errno : -ENOSPC, "write '%s'", name);
	if (fsync(fd) != 0)
		return error_errno(err, -errno, "write '%s' to the disk", name);
	return 0;
}

int audit_key_store(
	const struct audit_key *key, int directory, const char *name, struct mayfly_error *err)
{
	/* Held over the rename: the only way to the old key's blocks afterwards. */
	AUTO_FD old = openat(directory, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	AUTO_SECRET bytes = { 0 };
	char temporary[32];
	int r;

	/* Fits: both names are constants of this module. */
	(void)snprintf(temporary, sizeof temporary, "%s" TEMPORARY_ENDING, name);
	r = secret_new(key->key.arena, KEY_FILE_BYTES, &bytes, err);
	if (r < 0)
		return error_within(err, "store '%s'", name);
	encode(key, bytes.bytes);
	r = write_whole(directory, temporary, &bytes, err);
	if (r < 0)
		return r;
	if (renameat(directory, temporary, directory, name) != 0)
		return error_errno(err, -errno, "put '%s' in place", name);
	if (fsync(directory) != 0)
		return error_errno(err, -errno, "put '%s' in place on the disk", name);
	if (old >= 0)
		/* The old key has no name any more; not reaching its blocks costs only the care
		 * against who reads the bare disk later. Before fsync() a power cut could bring
		 * its name back, and with it a key of zeros. */
		(void)overwrite(old);
	return 0;
}

int audit_key_erase(int directory, const char *name, struct mayfly_error *err)
{
	AUTO_FD fd = openat(directory, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && errno != ENOENT)
		return error_errno(err, -errno, "open '%s' to erase it", name);
	if (fd >= 0 && (overwrite(fd) != 0 || unlinkat(directory, name, 0) != 0))
		return error_errno(err, -errno, "erase '%s'", name);
	if (fsync(directory) != 0)
		return error_errno(err, -errno, "erase '%s' on the disk", name);
	return 0;
}
