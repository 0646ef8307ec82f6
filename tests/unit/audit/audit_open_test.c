#include "audit_fixture.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define RECORDS 10

/* A chain of RECORDS records in segments and epochs, closed. The last epoch has records. */
static void make_closed(struct fixture *fixture)
{
	fixture_make(fixture);
	fixture_open(fixture, 1500, 4);
	fixture_append(fixture, RECORDS);
	fixture_close(fixture);
}

static int open_again(struct fixture *fixture)
{
	return audit_open(fixture->directory, fixture->arena, &fixture->audit, &fixture->err);
}

/* Puts LENGTH bytes behind the records. */
static void add_tail(struct fixture *fixture, const char *tail, size_t length)
{
	AUTO_FREE char *bytes = NULL, *whole = NULL;
	size_t before;

	bytes = fixture_read(fixture, AUDIT_FILE, &before);
	whole = malloc(before + length);
	memcpy(whole, bytes, before);
	memcpy(whole + before, tail, length);
	fixture_write(fixture, AUDIT_FILE, whole, before + length);
}

static bool keep_last(json_t *record, void *data)
{
	json_t **last = data;

	json_decref(*last);
	*last = json_incref(record);
	return true;
}

/* The last record must say that BYTES were cut off. */
static void check_note(struct fixture *fixture, size_t bytes)
{
	const struct audit_filter all = { 0 };
	json_t *last = NULL;

	ck_assert_int_eq(audit_read(fixture->audit, 0, &all, keep_last, &last, NULL), 0);
	ck_assert_str_eq(json_string_value(json_object_get(last, "action")), "audit-cut");
	ck_assert_int_eq(json_integer_value(json_object_get(last, "bytes")), (json_int_t)bytes);
	json_decref(last);
}

#define HALF "{\"seq\":11,\"time\":\"2026-01-02T03:04:05.678Z\",\"bo"
#define HOLE "\0\0\0\0\0\0\0\0"

static const struct {
	const char *reads_as;
	const char *tail;
	size_t length;
} torn[] = {
	{ "one byte", "{", 1 },
	{ "half a record", HALF, sizeof HALF - 1 },
	{ "zeros", HOLE, 8 },
	{ "half a record and zeros", HALF HOLE, sizeof HALF + 7 },
	{ "a record with a hole", HALF HOLE "\"}\n", sizeof HALF + 10 },
	{ "a hole with records behind it", HOLE "\"}\n" HALF "\n" HALF "\n",
		8 + 3 + 2 * sizeof HALF },
};

START_TEST(the_rest_of_an_unfinished_write_is_cut_off_and_noted)
{
	struct audit_report report;
	struct fixture fixture;

	make_closed(&fixture);
	add_tail(&fixture, torn[_i].tail, torn[_i].length);
	ck_assert_msg(open_again(&fixture) == 0, "%s: %s", torn[_i].reads_as, fixture.err.text);
	check_note(&fixture, torn[_i].length);
	ck_assert_msg(fixture_verify(&fixture, &report) == 0, "%s", fixture.err.text);
	ck_assert_uint_eq(report.records, RECORDS + 1);
	ck_assert(fixture_python_agrees(&fixture));
	fixture_append(&fixture, RECORDS);
	ck_assert_int_eq(fixture_verify(&fixture, NULL), 0);
	fixture_done(&fixture);
}
END_TEST

START_TEST(a_hole_longer_than_any_record_is_cut_off)
{
	const size_t length = AUDIT_LINE_MAX_BYTES * 3;
	char *const zeros = calloc(1, length);
	struct fixture fixture;

	make_closed(&fixture);
	add_tail(&fixture, zeros, length);
	ck_assert_msg(open_again(&fixture) == 0, "%s", fixture.err.text);
	check_note(&fixture, length);
	ck_assert_int_eq(fixture_verify(&fixture, NULL), 0);
	fixture_done(&fixture);
	free(zeros);
}
END_TEST

/* Every beginning of a write that a stop left over: the records before it are there, and the whole
 * ones of it too, which is no harm: nobody was told that they are not. */
START_TEST(a_write_stopped_at_any_byte_is_taken_up)
{
	struct fixture fixture, copy;
	size_t before, after;
	char *bytes;

	fixture_make(&fixture);
	fixture_open(&fixture, 0, 0);
	fixture_append(&fixture, 3);
	before = (size_t)fixture.audit->file.size;
	fixture_append(&fixture, 2);
	fixture_close(&fixture);
	bytes = fixture_read(&fixture, AUDIT_FILE, &after);
	for (size_t length = before; length <= after; length++) {
		struct audit_report report;

		fixture_copy(&fixture, &copy);
		fixture_write(&copy, AUDIT_FILE, bytes, length);
		fixture_open(&copy, 0, 0);
		ck_assert_msg(fixture_verify(&copy, &report) == 0, "%s", copy.err.text);
		ck_assert_uint_ge(report.records, 3);
		fixture_done(&copy);
	}
	free(bytes);
	fixture_done(&fixture);
}
END_TEST

enum damage {
	FLIP_LAST,
	FLIP_IN_EPOCH,
	GARBAGE_LINE,
	CUT_EPOCH,
	HOLE_IN_FRONT,
	NO_SEGMENTS,
	NO_PRESENT,
	TORN_OLD,
	KEY_MISSING,
	KEY_EMPTY,
	KEY_SHORT,
	KEY_LONG,
	KEY_FLIPPED,
	KEY_ZEROS,
	KEY_OF_OTHER,
	KEY_OLDER,
	KEY_FIRST,
	KEY_NEWER,
};

static const struct {
	const char *reads_as;
	enum damage damage;
	const char *says;
} damaged[] = {
	{ "the last record is changed", FLIP_LAST, "behind record 9: its mac does not fit" },
	{ "a record of the last epoch is changed", FLIP_IN_EPOCH, "its mac does not fit" },
	{ "a line that is no record stands at the end", GARBAGE_LINE, "no audit record" },
	{ "the last epoch is cut off", CUT_EPOCH, "the records end before it" },
	{ "there are zeros before the last epoch", HOLE_IN_FRONT, "" },
	{ "all records are missing", NO_SEGMENTS, "the records end before it" },
	{ "the present segment is missing", NO_PRESENT, "the records end before it" },
	{ "an old segment is torn", TORN_OLD, "it is no audit record" },
	{ "audit.key is missing", KEY_MISSING, "'audit.key' is missing" },
	{ "audit.key is empty", KEY_EMPTY, "it has 0 bytes, a key file has 128" },
	{ "audit.key is cut short", KEY_SHORT, "it has 127 bytes, a key file has 128" },
	{ "audit.key is too long", KEY_LONG, "it has 129 bytes, a key file has 128" },
	{ "audit.key is damaged", KEY_FLIPPED, "'audit.key': it is damaged" },
	{ "audit.key is zeros", KEY_ZEROS, "'audit.key' is missing" },
	{ "audit.key is of another chain", KEY_OF_OTHER, "the key is of another chain" },
	{ "audit.key is an older copy", KEY_OLDER, "the key is older than this record" },
	{ "audit.key is the first key", KEY_FIRST, "the key is older than this record" },
	{ "the records are older than audit.key", KEY_NEWER, "the records end before it" },
};

/* The present segment, which begins with FIRST_SEQ, gets half a record and then its later name, as
 * if a change of segments had just been stopped. */
static void tear_old(struct fixture *fixture, uint64_t first_seq)
{
	char from[FIXTURE_PATH_SIZE * 2], to[FIXTURE_PATH_SIZE * 2], name[AUDIT_NAME_SIZE];

	add_tail(fixture, HALF, sizeof HALF - 1);
	(void)snprintf(name, sizeof name, AUDIT_SEGMENT_FORMAT, (uintmax_t)first_seq);
	ck_assert_int_eq(
		rename(fixture_path(fixture, AUDIT_FILE, from), fixture_path(fixture, name, to)),
		0);
}

static void damage_records(struct fixture *fixture, enum damage damage)
{
	char path[FIXTURE_PATH_SIZE * 2];
	AUTO_FREE char *bytes = NULL;
	size_t length;

	bytes = fixture_read(fixture, AUDIT_FILE, &length);
	if (damage == FLIP_LAST)
		bytes[length - 5] = bytes[length - 5] == '0' ? '1' : '0';
	else if (damage == FLIP_IN_EPOCH)
		strstr(strstr(bytes, "{\"seq\":9,"), "granted")[2] ^= 1;
	else if (damage == CUT_EPOCH || damage == HOLE_IN_FRONT)
		memset(bytes, 0, length);
	fixture_write(fixture, AUDIT_FILE, bytes, damage == CUT_EPOCH ? 0 : length);
	if (damage == TORN_OLD)
		tear_old(fixture, strtoull(bytes + strlen("{\"seq\":"), NULL, 10));
	if (damage == GARBAGE_LINE)
		add_tail(fixture, "garbage\n", 8);
	if (damage == NO_PRESENT)
		ck_assert_int_eq(remove(fixture_path(fixture, AUDIT_FILE, path)), 0);
}

static void damage_key(struct fixture *fixture, enum damage damage)
{
	unsigned char bytes[129] = { 0 };
	char path[FIXTURE_PATH_SIZE * 2];
	struct fixture other;
	AUTO_FREE char *key = NULL;
	size_t length;

	key = fixture_read(
		fixture, damage == KEY_FIRST ? AUDIT_FIRST_FILE : AUDIT_KEY_FILE, &length);
	if (damage == KEY_OF_OTHER) {
		make_closed(&other);
		free(ptr_take(&key));
		key = fixture_read(&other, AUDIT_KEY_FILE, &length);
		fixture_done(&other);
	}
	memcpy(bytes, key, length);
	if (damage == KEY_FLIPPED)
		bytes[70] ^= 1;
	if (damage == KEY_ZEROS)
		memset(bytes, 0, sizeof bytes);
	length = damage == KEY_SHORT   ? 127
		 : damage == KEY_LONG  ? 129
		 : damage == KEY_EMPTY ? 0
				       : 128;
	fixture_write(fixture, AUDIT_KEY_FILE, bytes, length);
	if (damage == KEY_MISSING)
		ck_assert_int_eq(remove(fixture_path(fixture, AUDIT_KEY_FILE, path)), 0);
}

static void remove_segments(struct fixture *fixture)
{
	struct audit_view view;
	char path[FIXTURE_PATH_SIZE * 2];
	const int directory = open(fixture_path(fixture, "", path), O_RDONLY | O_DIRECTORY);

	ck_assert_int_eq(audit_view_make(directory, directory, 0, &view, NULL), 0);
	for (size_t i = 0; i < view.count; i++)
		ck_assert_int_eq(unlinkat(directory, view.segments[i].name, 0), 0);
	audit_view_done(&view);
	(void)close(directory);
}

/* A copy of the key, or of the records, from before the last epoch. */
static void put_back_older(struct fixture *fixture, enum damage damage)
{
	const char *const name = damage == KEY_OLDER ? AUDIT_KEY_FILE : AUDIT_FILE;
	AUTO_FREE char *bytes = NULL;
	size_t length;

	bytes = fixture_read(fixture, name, &length);
	fixture_open(fixture, 0, 0);
	fixture_append(fixture, RECORDS);
	fixture_close(fixture);
	if (damage == KEY_NEWER) {
		fixture_open(fixture, 0, 0);
		fixture_append(fixture, 1);
		fixture_close(fixture);
	}
	fixture_write(fixture, name, bytes, length);
}

START_TEST(key_and_records_that_do_not_belong_together_are_refused)
{
	const enum damage damage = damaged[_i].damage;
	struct fixture fixture;

	make_closed(&fixture);
	if (damage == KEY_OLDER || damage == KEY_NEWER)
		put_back_older(&fixture, damage);
	else if (damage == NO_SEGMENTS)
		remove_segments(&fixture);
	else if (damage >= KEY_MISSING)
		damage_key(&fixture, damage);
	else
		damage_records(&fixture, damage);
	for (int i = 0; i < 2; i++) {
		/* Twice: nothing that is evidence may go by trying. */
		ck_assert_msg(open_again(&fixture) == -EBADMSG, "%s", damaged[_i].reads_as);
		ck_assert_msg(strstr(fixture.err.text, damaged[_i].says) &&
				      strstr(fixture.err.text, "move the directory 'audit'"),
			"%s: %s", damaged[_i].reads_as, fixture.err.text);
	}
	fixture_done(&fixture);
}
END_TEST

START_TEST(moving_the_directory_away_begins_a_chain)
{
	char from[FIXTURE_PATH_SIZE * 2], to[FIXTURE_PATH_SIZE * 2];
	struct fixture fixture;
	struct secret key;

	make_closed(&fixture);
	(void)snprintf(to, sizeof to, "%s/audit-of-yesterday", fixture.directory);
	ck_assert_int_eq(rename(fixture_path(&fixture, "", from), to), 0);
	ck_assert_int_eq(open_again(&fixture), 0);
	ck_assert_int_eq(audit_first_key(fixture.audit, &key, NULL), 0);
	ck_assert(!secret_equal(&key, &fixture.first_key));
	secret_done(&key);
	/* And the sealed key of the old chain does not pass for the one of this. */
	ck_assert_int_eq(fixture_verify(&fixture, NULL), -EBADMSG);
	fixture_done(&fixture);
}
END_TEST

START_TEST(a_change_of_segments_may_stop_behind_the_rename)
{
	char from[FIXTURE_PATH_SIZE * 2], to[FIXTURE_PATH_SIZE * 2];
	struct fixture fixture;

	fixture_make(&fixture);
	fixture_open(&fixture, 0, 0);
	fixture_append(&fixture, RECORDS);
	fixture_close(&fixture);
	fixture_path(&fixture, AUDIT_FILE, from);
	fixture_path(&fixture, "audit-00000000000000000001.jsonl", to);
	ck_assert_int_eq(rename(from, to), 0);
	fixture_open(&fixture, 0, 0);
	ck_assert_int_eq(fixture_verify(&fixture, NULL), 0);
	fixture_append(&fixture, 1);
	ck_assert_int_eq(fixture_verify(&fixture, NULL), 0);
	ck_assert(fixture_python_agrees(&fixture));
	fixture_done(&fixture);
}
END_TEST

START_TEST(epochs_without_records_verify)
{
	struct audit_report report;
	struct fixture fixture;

	fixture_make(&fixture);
	for (int i = 0; i < 12; i++) {
		fixture_open(&fixture, 1000, 0);
		if (i % 3 == 2)
			fixture_append(&fixture, i);
		fixture_close(&fixture);
	}
	fixture_open(&fixture, 0, 0);
	ck_assert_uint_eq(fixture.audit->key.epoch, 13);
	ck_assert_int_eq(fixture_verify(&fixture, &report), 0);
	ck_assert_uint_eq(report.records, 2 + 5 + 8 + 11);
	ck_assert(fixture_python_agrees(&fixture));
	fixture_done(&fixture);
}
END_TEST

START_TEST(the_first_key_is_given_until_it_is_sealed)
{
	static const char zeros[128];
	char path[FIXTURE_PATH_SIZE * 2];
	struct fixture fixture;
	struct secret key;

	make_closed(&fixture);
	fixture_open(&fixture, 0, 0);
	ck_assert_int_eq(audit_first_key(fixture.audit, &key, NULL), 0);
	ck_assert(secret_equal(&key, &fixture.first_key));
	secret_done(&key);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(audit_first_key_sealed(fixture.audit, &fixture.err), 0);
		ck_assert_int_eq(access(fixture_path(&fixture, "first.key", path), F_OK), -1);
		ck_assert_int_eq(audit_first_key(fixture.audit, &key, &fixture.err), -ENOENT);
	}
	/* A stop between overwriting and removing. */
	fixture_write(&fixture, "first.key", zeros, sizeof zeros);
	ck_assert_int_eq(audit_first_key(fixture.audit, &key, &fixture.err), -ENOENT);
	fixture_close(&fixture);
	fixture_open(&fixture, 0, 0);
	ck_assert_int_eq(fixture_verify(&fixture, NULL), 0);
	fixture_done(&fixture);
}
END_TEST

START_TEST(a_chain_that_had_only_its_first_key_begins_with_it)
{
	char path[FIXTURE_PATH_SIZE * 2];
	struct fixture fixture;
	struct secret key;

	fixture_make(&fixture);
	fixture_open(&fixture, 0, 0);
	fixture_close(&fixture);
	ck_assert_int_eq(remove(fixture_path(&fixture, AUDIT_KEY_FILE, path)), 0);
	fixture_open(&fixture, 0, 0);
	ck_assert_int_eq(audit_first_key(fixture.audit, &key, NULL), 0);
	ck_assert(secret_equal(&key, &fixture.first_key));
	secret_done(&key);
	fixture_append(&fixture, 1);
	ck_assert_int_eq(fixture_verify(&fixture, NULL), 0);
	fixture_done(&fixture);
}
END_TEST

START_TEST(a_second_writer_is_refused)
{
	struct fixture fixture;
	struct audit *second = NULL;

	make_closed(&fixture);
	fixture_open(&fixture, 0, 0);
	ck_assert_int_eq(
		audit_open(fixture.directory, fixture.arena, &second, &fixture.err), -EBUSY);
	ck_assert_msg(strstr(fixture.err.text, "another broker"), "%s", fixture.err.text);
	fixture_append(&fixture, 1);
	fixture_close(&fixture);
	ck_assert_int_eq(open_again(&fixture), 0);
	fixture_done(&fixture);
}
END_TEST

START_TEST(a_directory_that_others_may_write_is_refused)
{
	char path[FIXTURE_PATH_SIZE * 2];
	struct fixture fixture;

	make_closed(&fixture);
	ck_assert_int_eq(chmod(fixture_path(&fixture, "", path), 0770), 0);
	ck_assert_int_eq(open_again(&fixture), -EPERM);
	ck_assert_int_eq(chmod(path, 0750), 0);
	ck_assert_int_eq(open_again(&fixture), 0);
	fixture_done(&fixture);
}
END_TEST

START_TEST(what_is_no_directory_or_no_file_is_refused)
{
	char path[FIXTURE_PATH_SIZE * 2];
	struct fixture fixture;
	struct audit *audit;

	fixture_make(&fixture);
	(void)snprintf(path, sizeof path, "%s/audit", fixture.directory);
	ck_assert_int_eq(symlink("/", path), 0);
	ck_assert_int_lt(open_again(&fixture), 0);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(audit_open("/nowhere", fixture.arena, &audit, &fixture.err), -ENOENT);
	fixture_open(&fixture, 0, 0);
	fixture_close(&fixture);
	ck_assert_int_eq(mkfifo(fixture_path(&fixture, AUDIT_FILE, path), 0600), 0);
	ck_assert_int_eq(open_again(&fixture), -EBADMSG);
	ck_assert_int_eq(remove(path), 0);
	ck_assert_int_eq(symlink("/etc/passwd", path), 0);
	ck_assert_int_eq(open_again(&fixture), -ELOOP);
	fixture_done(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, the_rest_of_an_unfinished_write_is_cut_off_and_noted, 0,
		sizeof torn / sizeof torn[0]);
	tcase_add_test(cases, a_hole_longer_than_any_record_is_cut_off);
	tcase_add_test(cases, a_write_stopped_at_any_byte_is_taken_up);
	tcase_add_loop_test(cases, key_and_records_that_do_not_belong_together_are_refused, 0,
		sizeof damaged / sizeof damaged[0]);
	tcase_add_test(cases, moving_the_directory_away_begins_a_chain);
	tcase_add_test(cases, a_change_of_segments_may_stop_behind_the_rename);
	tcase_add_test(cases, epochs_without_records_verify);
	tcase_add_test(cases, the_first_key_is_given_until_it_is_sealed);
	tcase_add_test(cases, a_chain_that_had_only_its_first_key_begins_with_it);
	tcase_add_test(cases, a_second_writer_is_refused);
	tcase_add_test(cases, a_directory_that_others_may_write_is_refused);
	tcase_add_test(cases, what_is_no_directory_or_no_file_is_refused);
}

int main(void)
{
	return unit_test_run("audit_open", add);
}
