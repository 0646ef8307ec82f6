#include "audit_fixture.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

/* A key that the tests look for: kept changed, so that they do not find their own copy. */
struct needle {
	unsigned char bytes[AUDIT_KEY_BYTES];
};

static struct needle remember(const struct secret *key)
{
	struct needle needle;

	for (size_t i = 0; i < sizeof needle.bytes; i++)
		needle.bytes[i] = key->bytes[i] ^ 0x5a;
	return needle;
}

static size_t count_in(const unsigned char *bytes, size_t length, const struct needle *needle)
{
	size_t count = 0, same;

	for (size_t i = 0; i + AUDIT_KEY_BYTES <= length; i++) {
		for (same = 0; same < AUDIT_KEY_BYTES; same++)
			if ((bytes[i + same] ^ 0x5a) != needle->bytes[same])
				break;
		count += same == AUDIT_KEY_BYTES;
	}
	return count;
}

static size_t count_in_files(const struct fixture *fixture, const struct needle *needle)
{
	char path[FIXTURE_PATH_SIZE * 2];
	DIR *const directory = opendir(fixture_path(fixture, "", path));
	const struct dirent *entry;
	size_t count = 0;

	while ((entry = readdir(directory))) {
		AUTO_FREE char *bytes = NULL;
		size_t length;

		if (entry->d_name[0] == '.')
			continue;
		bytes = fixture_read(fixture, entry->d_name, &length);
		count += count_in((const unsigned char *)bytes, length, needle);
		sodium_memzero(bytes, length);
	}
	(void)closedir(directory);
	return count;
}

/* Looks through everything that this process can write. Reads through /proc, so that the search
 * leaves no copies in places where it still has to look: its buffer is not in the list. */
static size_t count_in_memory(const struct needle *needle)
{
	static unsigned char buffer[1 << 20];
	FILE *const maps = fopen("/proc/self/maps", "re");
	AUTO_FD memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	unsigned long from, to;
	char line[512], rights[8];
	size_t count = 0;

	while (fgets(line, sizeof line, maps)) {
		if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) != 3 || rights[1] != 'w' ||
			to - from > 256UL << 20)
			continue;
		for (unsigned long at = from; at < to; at += sizeof buffer - AUDIT_KEY_BYTES) {
			const size_t wanted = to - at < sizeof buffer ? to - at : sizeof buffer;
			ssize_t n;

			if (at < (unsigned long)(buffer + sizeof buffer) &&
				at + wanted > (unsigned long)buffer)
				continue;
			n = pread(memory, buffer, wanted, (off_t)at);
			if (n > 0)
				count += count_in(buffer, (size_t)n, needle);
		}
	}
	(void)fclose(maps);
	return count;
}

START_TEST(a_key_that_has_passed_is_in_no_file_and_in_no_memory)
{
	struct fixture fixture;
	struct needle passed, present;

	fixture_make(&fixture);
	fixture_open(&fixture, 1000, 3);
	fixture_append(&fixture, 2);
	passed = remember(&fixture.audit->key.key);
	ck_assert_uint_eq(count_in_files(&fixture, &passed), 1);
	ck_assert_uint_ge(count_in_memory(&passed), 1);
	fixture_append(&fixture, 2);
	present = remember(&fixture.audit->key.key);
	ck_assert_mem_ne(passed.bytes, present.bytes, sizeof passed.bytes);
	ck_assert_uint_eq(count_in_files(&fixture, &passed), 0);
	ck_assert_uint_eq(count_in_memory(&passed), 0);
	ck_assert_uint_eq(count_in_files(&fixture, &present), 1);
	fixture_close(&fixture);
	ck_assert_uint_eq(count_in_memory(&present), 0);
	fixture_done(&fixture);
}
END_TEST

START_TEST(the_first_key_is_in_no_file_and_in_no_memory_once_it_is_sealed)
{
	struct fixture fixture;
	struct needle first;

	fixture_make(&fixture);
	fixture_open(&fixture, 0, 0);
	first = remember(&fixture.first_key);
	ck_assert_uint_eq(count_in_files(&fixture, &first), 1);
	fixture_append(&fixture, 2);
	ck_assert_int_eq(fixture_verify(&fixture, NULL), 0);
	ck_assert_int_eq(audit_first_key_sealed(fixture.audit, &fixture.err), 0);
	secret_done(&fixture.first_key);
	ck_assert_uint_eq(count_in_files(&fixture, &first), 0);
	ck_assert_uint_eq(count_in_memory(&first), 0);
	fixture_done(&fixture);
}
END_TEST

/* Verifying goes through all keys of the chain: none of them may stay. */
START_TEST(verifying_leaves_no_key_behind)
{
	struct fixture fixture;
	struct needle passed;
	struct secret key;

	fixture_make(&fixture);
	fixture_open(&fixture, 1000, 3);
	fixture_append(&fixture, 2);
	passed = remember(&fixture.audit->key.key);
	fixture_append(&fixture, 20);
	ck_assert_int_eq(fixture_verify(&fixture, NULL), 0);
	ck_assert_uint_eq(count_in_memory(&passed), 0);
	ck_assert_int_eq(audit_first_key(fixture.audit, &key, NULL), 0);
	secret_done(&key);
	ck_assert_uint_eq(arena_used_bytes(fixture.arena), 2 * (size_t)sysconf(_SC_PAGESIZE));
	fixture_done(&fixture);
}
END_TEST

static const char KEY_LIKE[128] = "mayfly audit key";

/* The file that held it is gone, but its blocks are not: here another name shows them. */
START_TEST(a_key_that_has_passed_is_overwritten)
{
	char from[FIXTURE_PATH_SIZE * 2], to[FIXTURE_PATH_SIZE * 2];
	static const char *const names[] = { AUDIT_KEY_FILE, AUDIT_FIRST_FILE };
	struct fixture fixture;
	size_t length;

	fixture_make(&fixture);
	fixture_open(&fixture, 0, 1);
	fixture_append(&fixture, 1);
	for (int i = 0; i < 2; i++) {
		AUTO_FREE char *bytes = NULL;

		fixture_path(&fixture, names[i], from);
		fixture_path(&fixture, "blocks", to);
		ck_assert_int_eq(link(from, to), 0);
		fixture_append(&fixture, 1);
		ck_assert_int_eq(audit_first_key_sealed(fixture.audit, &fixture.err), 0);
		bytes = fixture_read(&fixture, "blocks", &length);
		ck_assert_uint_eq(length, 128);
		ck_assert(sodium_is_zero((const unsigned char *)bytes, length));
		ck_assert_int_eq(unlink(to), 0);
		if (i == 0)
			fixture_write(&fixture, AUDIT_FIRST_FILE, KEY_LIKE, 128);
	}
	fixture_done(&fixture);
}
END_TEST

static const struct {
	const char *reads_as;
	uint64_t epoch_max_records;
	int records;
	int64_t ms_before_last; /* that the epoch has lasted before the last record */
	uint64_t epochs;
} ratchets[] = {
	{ "no record, no ratchet", 3, 0, 0, 0 },
	{ "as many records as an epoch has", 3, 3, 0, 0 },
	{ "one more", 3, 4, 0, 1 },
	{ "many more", 3, 30, 0, 9 },
	{ "an epoch of the size that it has in service", 0, AUDIT_EPOCH_MAX_RECORDS, 0, 0 },
	{ "one more than an epoch has in service", 0, AUDIT_EPOCH_MAX_RECORDS + 1, 0, 1 },
	{ "almost a minute", 0, 2, 59000, 0 },
	{ "a minute", 0, 2, 60000, 1 },
	{ "a minute without a record in it", 0, 1, 60000, 0 },
};

START_TEST(the_key_goes_on_after)
{
	struct audit_report report;
	struct fixture fixture;
	uint64_t epoch;

	fixture_make(&fixture);
	fixture_open(&fixture, 0, ratchets[_i].epoch_max_records);
	epoch = fixture.audit->key.epoch;
	if (ratchets[_i].records > 0)
		fixture_append(&fixture, ratchets[_i].records - 1);
	fixture.audit->epoch_start_ms -= ratchets[_i].ms_before_last;
	fixture_append(&fixture, ratchets[_i].records > 0);
	ck_assert_msg(fixture.audit->key.epoch - epoch == ratchets[_i].epochs, "%s: %ju",
		ratchets[_i].reads_as, (uintmax_t)(fixture.audit->key.epoch - epoch));
	ck_assert_int_eq(fixture_verify(&fixture, &report), 0);
	ck_assert_uint_eq(report.records, (uint64_t)ratchets[_i].records);
	fixture_done(&fixture);
}
END_TEST

START_TEST(an_append_of_nothing_lets_the_key_go_on)
{
	struct fixture fixture;
	uint64_t epoch;

	fixture_make(&fixture);
	fixture_open(&fixture, 0, 0);
	fixture_append(&fixture, 1);
	epoch = fixture.audit->key.epoch;
	ck_assert_int_eq(audit_append(fixture.audit, NULL, 0, &fixture.err), 0);
	ck_assert_uint_eq(fixture.audit->key.epoch, epoch);
	fixture.audit->epoch_start_ms -= AUDIT_EPOCH_MAX_MS;
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(audit_append(fixture.audit, NULL, 0, &fixture.err), 0);
		ck_assert_uint_eq(fixture.audit->key.epoch, epoch + 1);
	}
	fixture_append(&fixture, 1);
	ck_assert_int_eq(fixture_verify(&fixture, NULL), 0);
	fixture_done(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, a_key_that_has_passed_is_in_no_file_and_in_no_memory);
	tcase_add_test(cases, the_first_key_is_in_no_file_and_in_no_memory_once_it_is_sealed);
	tcase_add_test(cases, a_key_that_has_passed_is_overwritten);
	tcase_add_test(cases, verifying_leaves_no_key_behind);
	tcase_add_loop_test(cases, the_key_goes_on_after, 0, sizeof ratchets / sizeof ratchets[0]);
	tcase_add_test(cases, an_append_of_nothing_lets_the_key_go_on);
}

int main(void)
{
	return unit_test_run("audit_key", add);
}
