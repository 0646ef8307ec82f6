#include "proto/backup/backup_record.h"

#include "proto/cleanup.h"
#include "proto/recovery_text.h"
#include "unit_test.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

static struct arena *arena;

static struct secret secret_of(const void *bytes, size_t length)
{
	struct secret secret = { 0 };

	ck_assert_int_eq(secret_new(arena, length, &secret, NULL), 0);
	memcpy(secret.bytes, bytes, length);
	return secret;
}

static struct secret recovery_key(unsigned char filled_with)
{
	unsigned char bytes[RECOVERY_KEY_BYTES];

	memset(bytes, filled_with, sizeof bytes);
	return secret_of(bytes, sizeof bytes);
}

static void public_of(const struct secret *key, unsigned char *ret_public)
{
	AUTO_SECRET secret = { 0 };

	ck_assert_int_eq(backup_key_derive(key, ret_public, &secret, NULL), 0);
}

static int empty_file(void)
{
	const int fd = memfd_create("backup", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static const struct backup_info info = {
	.made_unix_s = 1700000000,
	.store = { 1, 2, 3 },
	.audit_seq = 42,
	.audit_mac = { 9 },
	.host = "db-1",
	.environment = "prod",
};

/* Writes a value of LENGTH bytes that NUMBER decides. */
static void write_version(
	struct backup_writer *writer, struct backup_counts *counts, uint32_t number, size_t length)
{
	const struct backup_version version = { .number = number, .created_unix_s = number };
	AUTO_SECRET value = { 0 };

	ck_assert_int_eq(secret_new(arena, length, &value, NULL), 0);
	memset(value.bytes, (int)number, length);
	ck_assert_int_eq(backup_write_version(writer, counts, &version, &value, NULL), 0);
}

/* A backup of one secret with two versions; the second one has LENGTH bytes. */
static int write_backup(size_t length)
{
	MAYFLY_CLEANUP(backup_writer_free_p) struct backup_writer *writer = NULL;
	const struct backup_secret secret = { .reference = { "prod", "shop/db" },
		.current = 3,
		.next = 4,
		.keep = 10,
		.changed_unix_s = 5 };
	AUTO_SECRET key = recovery_key(7), audit_key = secret_of("0123", 4);
	unsigned char public_key[BACKUP_KEY_BYTES];
	struct backup_counts counts = { 0 };
	const int fd = empty_file();

	public_of(&key, public_key);
	ck_assert_int_eq(backup_writer_new(arena, fd, public_key, &writer, NULL), 0);
	ck_assert_int_eq(backup_write_info(writer, &info, NULL), 0);
	ck_assert_int_eq(
		backup_write_file(writer, &counts, "policy.d/shop.json", "{}\n", 3, NULL), 0);
	ck_assert_int_eq(backup_write_audit_key(writer, &audit_key, NULL), 0);
	ck_assert_int_eq(backup_write_secret(writer, &counts, &secret, NULL), 0);
	write_version(writer, &counts, 2, 8);
	write_version(writer, &counts, 3, length);
	ck_assert_int_eq(backup_write_end(writer, &counts, NULL), 0);
	return fd;
}

struct seen {
	unsigned info, files, audit_keys, secrets, versions;
	size_t value_bytes;
};

static int see_info(void *data, const struct backup_info *got, struct mayfly_error *err)
{
	struct seen *seen = data;

	(void)err;
	ck_assert_int_eq(memcmp(got, &info, sizeof info), 0);
	seen->info++;
	return 0;
}

static int see_file(
	void *data, const char *name, const char *text, size_t length, struct mayfly_error *err)
{
	struct seen *seen = data;

	(void)err;
	ck_assert_str_eq(name, "policy.d/shop.json");
	ck_assert_str_eq(text, "{}\n");
	ck_assert_uint_eq(length, 3);
	seen->files++;
	return 0;
}

static int see_audit_key(void *data, const struct secret *key, struct mayfly_error *err)
{
	struct seen *seen = data;

	(void)err;
	ck_assert_uint_eq(key->length, 4);
	seen->audit_keys++;
	return 0;
}

static int see_secret(void *data, const struct backup_secret *secret, struct mayfly_error *err)
{
	struct seen *seen = data;

	(void)err;
	ck_assert_str_eq(secret->reference.set, "prod");
	ck_assert_str_eq(secret->reference.name, "shop/db");
	ck_assert_uint_eq(secret->current, 3);
	ck_assert_uint_eq(secret->next, 4);
	seen->secrets++;
	return 0;
}

static int see_version(void *data, const struct backup_version *version, const struct secret *value,
	struct mayfly_error *err)
{
	struct seen *seen = data;

	(void)err;
	/* All bytes are the same: each is what the one before it is. */
	ck_assert_uint_eq(value->bytes[0], version->number);
	ck_assert_int_eq(memcmp(value->bytes, value->bytes + 1, value->length - 1), 0);
	seen->versions++;
	seen->value_bytes += value->length;
	return 0;
}

static int read_backup(
	int fd, unsigned char filled_with, struct seen *seen, struct mayfly_error *err)
{
	const struct backup_visitor visitor = { see_info, see_file, see_audit_key, see_secret,
		see_version, seen };
	const struct backup_visitor nothing = { 0 };
	AUTO_SECRET key = recovery_key(filled_with);

	return backup_read(arena, fd, &key, seen ? &visitor : &nothing, NULL, err);
}

static size_t size_of(int fd)
{
	struct stat status;

	ck_assert_int_eq(fstat(fd, &status), 0);
	return (size_t)status.st_size;
}

START_TEST(what_was_written_is_read_whatever_its_length)
{
	/* Around the ends of pieces too: 65,536 bytes of content each. */
	static const size_t lengths[] = { 1, 100, 65000, MAYFLY_VALUE_MAX_BYTES };

	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0] + 300; i++) {
		const size_t length = i < 4 ? lengths[i] : 65536 - 300 + (i - 4);
		struct seen seen = { 0 };
		AUTO_FD fd = write_backup(length);
		struct mayfly_error err = { 0 };

		ck_assert_msg(read_backup(fd, 7, &seen, &err) == 0, "%zu: %s", length, err.text);
		ck_assert_uint_eq(seen.info + seen.files + seen.audit_keys + seen.secrets, 4);
		ck_assert_uint_eq(seen.versions, 2);
		ck_assert_uint_eq(seen.value_bytes, 8 + length);
	}
	ck_assert_uint_eq(arena_used_bytes(arena), 0);
}
END_TEST

START_TEST(damage_of_any_byte_is_found)
{
	AUTO_FD fd = write_backup(20);
	const size_t size = size_of(fd);

	for (size_t i = 0; i < size; i++)
		for (unsigned bit = 0; bit < 8; bit += 7) {
			struct mayfly_error err = { 0 };
			unsigned char byte, changed;

			ck_assert_int_eq(pread(fd, &byte, 1, (off_t)i), 1);
			changed = (unsigned char)(byte ^ (1U << bit));
			ck_assert_int_eq(pwrite(fd, &changed, 1, (off_t)i), 1);
			ck_assert_msg(read_backup(fd, 7, NULL, &err) < 0, "byte %zu", i);
			ck_assert(err.text[0]);
			ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)i), 1);
		}
	ck_assert_int_eq(read_backup(fd, 7, NULL, NULL), 0);
}
END_TEST

START_TEST(a_file_cut_at_any_length_or_continued_is_refused)
{
	AUTO_FD fd = write_backup(20);
	AUTO_FREE unsigned char *bytes = malloc(size_of(fd));
	const size_t size = size_of(fd);
	struct mayfly_error err = { 0 };

	ck_assert(bytes);
	ck_assert_int_eq(pread(fd, bytes, size, 0), (ssize_t)size);
	for (size_t length = 0; length < size; length++) {
		ck_assert_int_eq(ftruncate(fd, (off_t)length), 0);
		ck_assert_msg(read_backup(fd, 7, NULL, &err) < 0, "%zu bytes", length);
		ck_assert_int_eq(pwrite(fd, bytes, size, 0), (ssize_t)size);
	}
	ck_assert_int_eq(pwrite(fd, "x", 1, (off_t)size), 1);
	ck_assert_int_lt(read_backup(fd, 7, NULL, &err), 0);
}
END_TEST

START_TEST(pieces_that_are_exchanged_doubled_left_out_or_of_another_file_are_found)
{
	const size_t piece = BACKUP_PIECE_BYTES + BACKUP_PIECE_MORE;
	AUTO_FD fd = write_backup(300000), other = write_backup(300000);
	AUTO_FREE unsigned char *pieces = malloc(4 * piece);
	struct mayfly_error err = { 0 };

	ck_assert(pieces);
	ck_assert_int_eq(pread(fd, pieces, 4 * piece, BACKUP_HEADER_BYTES), (ssize_t)(4 * piece));
	/* A cut between two pieces: what is left is authentic, but not the end. */
	for (size_t i = 0; i < 4; i++) {
		AUTO_FD cut = write_backup(300000);

		ck_assert_int_eq(ftruncate(cut, (off_t)(BACKUP_HEADER_BYTES + i * piece)), 0);
		ck_assert_int_eq(read_backup(cut, 7, NULL, &err), -EBADMSG);
		ck_assert_str_eq(err.text, "the backup is cut off");
	}
	ck_assert_int_eq(pwrite(fd, pieces + piece, piece, BACKUP_HEADER_BYTES), (ssize_t)piece);
	ck_assert_int_eq(
		pwrite(fd, pieces, piece, (off_t)(BACKUP_HEADER_BYTES + piece)), (ssize_t)piece);
	ck_assert_int_eq(read_backup(fd, 7, NULL, &err), -EBADMSG);
	ck_assert_int_eq(pwrite(fd, pieces, piece, BACKUP_HEADER_BYTES), (ssize_t)piece);
	ck_assert_int_eq(read_backup(fd, 7, NULL, &err), -EBADMSG);
	ck_assert_int_eq(pwrite(other, pieces, piece, BACKUP_HEADER_BYTES), (ssize_t)piece);
	ck_assert_int_eq(read_backup(other, 7, NULL, &err), -EBADMSG);
}
END_TEST

START_TEST(bytes_behind_a_last_piece_that_is_full_are_found)
{
	const size_t piece = BACKUP_PIECE_BYTES + BACKUP_PIECE_MORE;
	unsigned full = 0;

	for (size_t length = 65536 - 300; length < 65536; length++) {
		AUTO_FD fd = write_backup(length);
		const size_t size = size_of(fd);
		struct mayfly_error err = { 0 };

		if ((size - BACKUP_HEADER_BYTES) % piece != 0)
			continue;
		full++;
		ck_assert_int_eq(read_backup(fd, 7, NULL, &err), 0);
		ck_assert_int_eq(pwrite(fd, "x", 1, (off_t)size), 1);
		ck_assert_int_eq(read_backup(fd, 7, NULL, &err), -EBADMSG);
		ck_assert_str_eq(err.text, "there are bytes behind the backup's end");
	}
	ck_assert_uint_eq(full, 1);
}
END_TEST

START_TEST(another_recovery_key_is_told_for_which_one_it_was_made)
{
	char text[BACKUP_KEY_TEXT_SIZE];
	unsigned char public_key[BACKUP_KEY_BYTES];
	AUTO_SECRET key = recovery_key(7);
	struct mayfly_error err = { 0 };
	AUTO_FD fd = write_backup(20);

	ck_assert_int_eq(read_backup(fd, 8, NULL, &err), -EKEYREJECTED);
	public_of(&key, public_key);
	backup_key_write(public_key, text);
	ck_assert_ptr_nonnull(strstr(err.text, text));
}
END_TEST

START_TEST(a_pipe_is_no_backup)
{
	int ends[2];
	struct mayfly_error err = { 0 };

	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(read_backup(ends[0], 7, NULL, &err), -EINVAL);
	(void)close(ends[0]);
	(void)close(ends[1]);
}
END_TEST

START_TEST(another_format_is_refused_naming_both)
{
	struct mayfly_error err = { 0 };
	AUTO_FD fd = write_backup(20);

	ck_assert_int_eq(pwrite(fd, "2", 1, 14), 1);
	ck_assert_int_eq(read_backup(fd, 7, NULL, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.text, "format '2'"));
	ck_assert_ptr_nonnull(strstr(err.text, "reads format 1"));
}
END_TEST

/* Writes what no broker writes, well encrypted: whoever has the public key can. */
static int write_strange(unsigned which)
{
	MAYFLY_CLEANUP(backup_writer_free_p) struct backup_writer *writer = NULL;
	struct backup_secret secret = {
		.reference = { "prod", "x" }, .current = 1, .next = 2, .keep = 10
	};
	AUTO_SECRET key = recovery_key(7), audit_key = secret_of("0123", 4);
	unsigned char public_key[BACKUP_KEY_BYTES];
	struct backup_counts counts = { 0 };
	const int fd = empty_file();

	public_of(&key, public_key);
	ck_assert_int_eq(backup_writer_new(arena, fd, public_key, &writer, NULL), 0);
	if (which != 0)
		ck_assert_int_eq(backup_write_info(writer, &info, NULL), 0);
	if (which == 1)
		ck_assert_int_eq(backup_write_info(writer, &info, NULL), 0);
	if (which != 2)
		ck_assert_int_eq(backup_write_audit_key(writer, &audit_key, NULL), 0);
	if (which == 3)
		write_version(writer, &counts, 1, 4);
	(void)snprintf(secret.reference.name, sizeof secret.reference.name, "%s",
		which == 4   ? "../x"
		: which == 5 ? ""
			     : "x");
	(void)snprintf(secret.reference.set, sizeof secret.reference.set, "%s",
		which == 6    ? "Prod"
		: which == 13 ? "prod/x"
			      : "prod");
	secret.keep = which == 7 ? 0 : which == 8 ? 101 : 10;
	secret.current = which == 9 ? 2 : 1;
	ck_assert_int_eq(backup_write_secret(writer, &counts, &secret, NULL), 0);
	write_version(writer, &counts, which == 10 ? 2 : 1, 4);
	if (which == 11)
		write_version(writer, &counts, 1, 4);
	if (which == 12)
		counts.secrets++;
	ck_assert_int_eq(backup_write_end(writer, &counts, NULL), 0);
	return fd;
}

START_TEST(a_whole_backup_that_says_what_no_broker_writes_is_refused)
{
	for (unsigned which = 0; which <= 13; which++) {
		struct mayfly_error err = { 0 };
		AUTO_FD fd = write_strange(which);

		ck_assert_msg(
			read_backup(fd, 7, NULL, &err) == -EBADMSG, "%u: %s", which, err.text);
		ck_assert_ptr_nonnull(strstr(err.text, "whole, but says"));
	}
	{
		AUTO_FD fd = write_strange(99);

		ck_assert_int_eq(read_backup(fd, 7, NULL, NULL), 0);
	}
	ck_assert_uint_eq(arena_used_bytes(arena), 0);
}
END_TEST

START_TEST(names_of_files_stay_where_they_belong)
{
	static const char *const good[] = { "mayflyd.json", "policy.d/a.json",
		"policy.d/shop web.json" };
	static const char *const bad[] = { "", "x", "policy.d/", "policy.d/.json", "policy.d/x",
		"policy.d/../mayflyd.json", "policy.d/a/b.json", "/etc/passwd", "host.key",
		"policy.d/a\n.json", "policy.d/..json" };

	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		ck_assert_msg(backup_file_name_is_good(good[i]), "%s", good[i]);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		ck_assert_msg(!backup_file_name_is_good(bad[i]), "%s", bad[i]);
}
END_TEST

START_TEST(a_key_is_read_as_it_was_written_and_a_slip_is_found)
{
	unsigned char public_key[BACKUP_KEY_BYTES], back[BACKUP_KEY_BYTES];
	char text[BACKUP_KEY_TEXT_SIZE];
	AUTO_SECRET key = recovery_key(7);
	struct mayfly_error err = { 0 };

	public_of(&key, public_key);
	backup_key_write(public_key, text);
	ck_assert_uint_eq(strlen(text), BACKUP_KEY_TEXT_SIZE - 1);
	ck_assert_int_eq(backup_key_read(text, back, &err), 0);
	ck_assert_int_eq(memcmp(public_key, back, sizeof back), 0);
	for (size_t i = 0; i < strlen(text); i++) {
		const char was = text[i];

		text[i] = was == 'x' ? 'y' : 'x';
		ck_assert_int_eq(backup_key_read(text, back, &err), -EINVAL);
		ck_assert_ptr_null(strstr(err.text, text + 20));
		text[i] = was;
	}
	ck_assert_int_eq(backup_key_read("", back, &err), -EINVAL);
	ck_assert_int_eq(backup_key_read("mayfly-backup-", back, &err), -EINVAL);
}
END_TEST

static void set_up(void)
{
	ck_assert_int_eq(arena_new((size_t)8 << 20, &arena, NULL), 0);
}

static void add(TCase *cases)
{
	tcase_add_checked_fixture(cases, set_up, NULL);
	tcase_add_test(cases, what_was_written_is_read_whatever_its_length);
	tcase_add_test(cases, damage_of_any_byte_is_found);
	tcase_add_test(cases, a_file_cut_at_any_length_or_continued_is_refused);
	tcase_add_test(
		cases, pieces_that_are_exchanged_doubled_left_out_or_of_another_file_are_found);
	tcase_add_test(cases, bytes_behind_a_last_piece_that_is_full_are_found);
	tcase_add_test(cases, another_recovery_key_is_told_for_which_one_it_was_made);
	tcase_add_test(cases, a_pipe_is_no_backup);
	tcase_add_test(cases, another_format_is_refused_naming_both);
	tcase_add_test(cases, a_whole_backup_that_says_what_no_broker_writes_is_refused);
	tcase_add_test(cases, names_of_files_stay_where_they_belong);
	tcase_add_test(cases, a_key_is_read_as_it_was_written_and_a_slip_is_found);
}

int main(void)
{
	return unit_test_run("backup", add);
}
