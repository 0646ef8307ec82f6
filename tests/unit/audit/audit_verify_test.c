#include "audit_fixture.h"

#include "unit_test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RECORDS 40

/* A chain of RECORDS records in several segments and epochs, open. */
static void make_chain(struct fixture *fixture)
{
	fixture_make(fixture);
	fixture_open(fixture, 3000, 3);
	fixture_append(fixture, RECORDS);
}

struct page {
	char name[AUDIT_NAME_SIZE];
	char *bytes;
	char *lines[FIXTURE_LINES_MAX];
	int count;
};

/* Segment INDEX of the chain, oldest first; -1 is the present one, -2 the one before it. */
static void load_page(const struct fixture *fixture, int index, struct page *ret_page)
{
	struct audit_view view;
	struct page page = { 0 };
	size_t length;

	ck_assert_int_eq(
		audit_view_make(fixture->audit->directory, fixture->audit->file.fd, 0, &view, NULL),
		0);
	ck_assert_uint_ge(view.count, 4);
	strcpy(page.name, view.segments[index < 0 ? (int)view.count + index : index].name);
	audit_view_done(&view);
	page.bytes = fixture_read(fixture, page.name, &length);
	for (char *at = page.bytes; *at; at = strchr(at, '\n') + 1)
		page.lines[page.count++] = at;
	*ret_page = page;
}

/* Writes the lines as they are listed. */
static void save_page(const struct fixture *fixture, const struct page *page)
{
	char *const bytes = calloc(FIXTURE_LINES_MAX, 1024);
	size_t length = 0;

	for (int i = 0; i < page->count; i++) {
		const size_t line = strcspn(page->lines[i], "\n") + 1;

		memcpy(bytes + length, page->lines[i], line);
		length += line;
	}
	fixture_write(fixture, page->name, bytes, length);
	free(bytes);
}

static void put_line(struct page *page, int at, char *line)
{
	memmove(page->lines + at + 1, page->lines + at,
		(size_t)(page->count - at) * sizeof page->lines[0]);
	page->lines[at] = line;
	page->count++;
}

static char *take_line(struct page *page, int at)
{
	char *const line = page->lines[at];

	memmove(page->lines + at, page->lines + at + 1,
		(size_t)(page->count - at - 1) * sizeof page->lines[0]);
	page->count--;
	return line;
}

enum change {
	DELETE_LINE,
	EXCHANGE_LINES,
	REPEAT_LINE,
	INSERT_OTHER,
	MOVE_TO_NEXT,
	EXCHANGE_SEGMENTS,
	COPY_SEGMENT,
	EMPTY_SEGMENT,
	REMOVE_SEGMENT,
	ADD_SEGMENT,
	APPEND_BYTE,
	CUT_BYTE,
	RENAME_AWAY,
	REPLACE_FILE,
	OTHER_CHAIN,
};

static const struct {
	const char *reads_as;
	enum change change;
	int segment, line;
	bool only_alive; /* who has only the files cannot see it */
} changes[] = {
	{ "the first record of all is deleted", DELETE_LINE, 0, 0, false },
	{ "the first record of a segment is deleted", DELETE_LINE, 1, 0, false },
	{ "a record in the middle is deleted", DELETE_LINE, 1, 2, false },
	{ "the last record of an old segment is deleted", DELETE_LINE, 1, -1, false },
	{ "the first record of the present segment is deleted", DELETE_LINE, -1, 0, false },
	{ "the last record of all is deleted", DELETE_LINE, -1, -1, false },
	{ "two records change places", EXCHANGE_LINES, 1, 1, false },
	{ "two records of the present segment change places", EXCHANGE_LINES, -1, 0, false },
	{ "a record is there twice", REPEAT_LINE, 1, 1, false },
	{ "the last record is there twice", REPEAT_LINE, -1, -1, false },
	{ "the last record of a segment is there twice", REPEAT_LINE, 1, -1, false },
	{ "a record of an older segment is inserted", INSERT_OTHER, 2, 1, false },
	{ "a record of an older segment comes last", INSERT_OTHER, -1, -1, false },
	{ "a record is moved into the next segment", MOVE_TO_NEXT, 1, -1, false },
	/* The chain is whole all the same, and the present segment's name says no seq. */
	{ "a record is moved into the present segment", MOVE_TO_NEXT, -2, -1, true },
	{ "two segments change names", EXCHANGE_SEGMENTS, 1, 0, false },
	{ "the present segment is one of an older epoch", COPY_SEGMENT, -1, 0, false },
	{ "a segment is the one before it", COPY_SEGMENT, 2, 0, false },
	{ "a segment is empty", EMPTY_SEGMENT, 1, 0, false },
	{ "the oldest segment is empty", EMPTY_SEGMENT, 0, 0, false },
	{ "the present segment is empty", EMPTY_SEGMENT, -1, 0, false },
	{ "the oldest segment is missing", REMOVE_SEGMENT, 0, 0, false },
	{ "a segment is missing", REMOVE_SEGMENT, 1, 0, false },
	{ "the last old segment is missing", REMOVE_SEGMENT, -2, 0, false },
	{ "the present segment is missing", REMOVE_SEGMENT, -1, 0, false },
	{ "a segment comes behind the present one", ADD_SEGMENT, 0, 0, false },
	{ "a byte comes behind the last record", APPEND_BYTE, -1, 0, false },
	{ "a byte comes behind an old segment", APPEND_BYTE, 1, 0, false },
	{ "the last newline is missing", CUT_BYTE, -1, 0, false },
	{ "the last newline of an old segment is missing", CUT_BYTE, 1, 0, false },
	{ "the present segment has another name", RENAME_AWAY, -1, 0, false },
	{ "the present segment is a copy of itself", REPLACE_FILE, -1, 0, true },
	{ "the files are those of another chain", OTHER_CHAIN, 0, 0, false },
};

static void change_lines(struct fixture *fixture, struct page *page, enum change change, int line)
{
	struct page other;

	load_page(fixture, 0, &other);
	if (change == DELETE_LINE)
		(void)take_line(page, line);
	else if (change == EXCHANGE_LINES)
		put_line(page, line, take_line(page, line + 1));
	else if (change == REPEAT_LINE)
		put_line(page, line, page->lines[line]);
	else if (change == INSERT_OTHER)
		put_line(page, line, other.lines[1]);
	save_page(fixture, page);
	free(other.bytes);
}

static void change_pages(
	struct fixture *fixture, struct page *page, enum change change, int segment)
{
	char name[AUDIT_NAME_SIZE];
	struct page other;

	load_page(fixture, change == COPY_SEGMENT ? 1 : segment + 1, &other);
	memcpy(name, page->name, sizeof name);
	if (change == MOVE_TO_NEXT)
		put_line(&other, 0, take_line(page, page->count - 1));
	if (change == EXCHANGE_SEGMENTS)
		memcpy(page->name, other.name, sizeof name);
	if (change != MOVE_TO_NEXT)
		memcpy(other.name, name, sizeof name);
	save_page(fixture, &other);
	if (change != COPY_SEGMENT)
		save_page(fixture, page);
	free(other.bytes);
}

static void change_file(struct fixture *fixture, const struct page *page, enum change change)
{
	char from[FIXTURE_PATH_SIZE * 2], to[FIXTURE_PATH_SIZE * 2];
	const size_t length = strlen(page->bytes);

	fixture_path(fixture, page->name, from);
	fixture_path(fixture, "elsewhere", to);
	if (change == EMPTY_SEGMENT)
		fixture_write(fixture, page->name, "", 0);
	else if (change == REMOVE_SEGMENT)
		ck_assert_int_eq(unlink(from), 0);
	else if (change == ADD_SEGMENT)
		fixture_write(fixture, "audit-00000000000000000041.jsonl", page->bytes, length);
	else if (change == APPEND_BYTE)
		fixture_write(fixture, page->name, page->bytes, length + 1);
	else if (change == CUT_BYTE)
		fixture_write(fixture, page->name, page->bytes, length - 1);
	else if (change == RENAME_AWAY)
		ck_assert_int_eq(rename(from, to), 0);
	else if (change == REPLACE_FILE) {
		fixture_write(fixture, "elsewhere", page->bytes, length);
		ck_assert_int_eq(rename(to, from), 0);
	}
}

/* Overwrites every file with that of a chain with another key and the same records. */
static void replace_chain(struct fixture *fixture)
{
	struct fixture other;

	make_chain(&other);
	for (int i = 0; i < 4; i++) {
		struct page page;

		load_page(&other, i < 3 ? i : -1, &page);
		fixture_write(fixture, page.name, page.bytes, strlen(page.bytes));
		free(page.bytes);
	}
	fixture_done(&other);
}

static void apply(struct fixture *fixture, int row)
{
	const enum change change = changes[row].change;
	int line = changes[row].line;
	struct page page;

	load_page(fixture, changes[row].segment, &page);
	if (line < 0)
		line += page.count;
	if (change <= INSERT_OTHER)
		change_lines(fixture, &page, change, line);
	else if (change <= COPY_SEGMENT)
		change_pages(fixture, &page, change, changes[row].segment);
	else if (change == OTHER_CHAIN)
		replace_chain(fixture);
	else
		change_file(fixture, &page, change);
	free(page.bytes);
}

START_TEST(a_changed_chain_does_not_verify)
{
	struct fixture fixture;

	make_chain(&fixture);
	ck_assert_msg(fixture_verify(&fixture, NULL) == 0, "%s", fixture.err.text);
	ck_assert(fixture_python_agrees(&fixture));
	apply(&fixture, _i);
	ck_assert_msg(fixture_verify(&fixture, NULL) == -EBADMSG, "%s", changes[_i].reads_as);
	ck_assert_msg(fixture_python_agrees(&fixture) == changes[_i].only_alive, "%s",
		changes[_i].reads_as);
	fixture_done(&fixture);
}
END_TEST

/* What the living process cannot be told from outside must be found in the records: here it takes
 * up the changed files, so that neither length nor file gives them away. */
START_TEST(a_chain_changed_while_it_was_closed_is_found_by_its_head)
{
	struct fixture fixture;
	uint64_t seq, seq_before;
	char mac[65], mac_before[65];
	int r;

	make_chain(&fixture);
	audit_head(fixture.audit, &seq_before, mac_before);
	apply(&fixture, _i);
	fixture_close(&fixture);
	r = audit_open(fixture.directory, fixture.arena, &fixture.audit, &fixture.err);
	if (r == 0 && fixture_verify(&fixture, NULL) == 0) {
		audit_head(fixture.audit, &seq, mac);
		ck_assert_msg(changes[_i].only_alive || strcmp(mac, mac_before) != 0, "%s",
			changes[_i].reads_as);
	}
	fixture_done(&fixture);
}
END_TEST

START_TEST(every_flipped_byte_is_found)
{
	struct fixture fixture;

	struct page page;
	size_t length;

	make_chain(&fixture);
	load_page(&fixture, _i - 1, &page);
	length = strlen(page.bytes);
	for (size_t i = 0; i < length; i++) {
		/* Each bit is tried somewhere, and 0x20 too, which makes capital letters. */
		const char before = page.bytes[i];

		page.bytes[i] ^= (char)(1 << (i % 8));
		fixture_write(&fixture, page.name, page.bytes, length);
		ck_assert_msg(
			fixture_verify(&fixture, NULL) == -EBADMSG, "byte %zu of %s", i, page.name);
		page.bytes[i] = before;
	}
	fixture_write(&fixture, page.name, page.bytes, length);
	free(page.bytes);
	ck_assert_msg(fixture_verify(&fixture, NULL) == 0, "%s", fixture.err.text);
	fixture_done(&fixture);
}
END_TEST

START_TEST(the_report_tells_what_was_verified)
{
	struct audit_report report;
	struct fixture fixture;
	uint64_t seq;
	char mac[65];

	fixture_make(&fixture);
	fixture_open(&fixture, 3000, 3);
	ck_assert_int_eq(fixture_verify(&fixture, &report), 0);
	ck_assert_uint_eq(report.records, 0);
	ck_assert_uint_eq(report.head_seq, 0);
	ck_assert_str_eq(report.first_time, "");
	ck_assert_str_eq(report.last_time, "");
	fixture_append(&fixture, RECORDS);
	ck_assert_int_eq(fixture_verify(&fixture, &report), 0);
	audit_head(fixture.audit, &seq, mac);
	ck_assert_uint_eq(report.records, RECORDS);
	ck_assert_uint_eq(report.head_seq, RECORDS);
	ck_assert_uint_eq(seq, RECORDS);
	ck_assert_str_eq(report.head_mac, mac);
	ck_assert_uint_eq(strlen(report.first_time), 24);
	ck_assert_int_le(strcmp(report.first_time, report.last_time), 0);
	ck_assert(fixture_python_agrees(&fixture));
	fixture_done(&fixture);
}
END_TEST

START_TEST(the_fault_is_named)
{
	struct fixture fixture;
	struct page page;

	make_chain(&fixture);
	load_page(&fixture, 1, &page);
	page.lines[2][20] ^= 1;
	fixture_write(&fixture, page.name, page.bytes, strlen(page.bytes));
	ck_assert_int_eq(fixture_verify(&fixture, NULL), -EBADMSG);
	ck_assert_msg(strstr(fixture.err.text, page.name) && strstr(fixture.err.text, "line 3"),
		"%s", fixture.err.text);
	free(page.bytes);
	fixture_done(&fixture);
}
END_TEST

START_TEST(another_first_key_does_not_verify)
{
	struct fixture fixture;

	make_chain(&fixture);
	fixture.first_key.bytes[7] ^= 4;
	ck_assert_int_eq(fixture_verify(&fixture, NULL), -EBADMSG);
	ck_assert_msg(strstr(fixture.err.text, "another chain"), "%s", fixture.err.text);
	secret_shorten(&fixture.first_key, 31);
	ck_assert_int_eq(fixture_verify(&fixture, NULL), -EINVAL);
	fixture_done(&fixture);
}
END_TEST

/* With nothing behind it, and no file open that could tell: the head does. */
START_TEST(a_cut_of_the_last_old_segment_is_found)
{
	char from[FIXTURE_PATH_SIZE * 2], to[FIXTURE_PATH_SIZE * 2], name[AUDIT_NAME_SIZE];
	struct fixture fixture;
	struct page page;

	make_chain(&fixture);
	(void)snprintf(
		name, sizeof name, AUDIT_SEGMENT_FORMAT, (uintmax_t)fixture.audit->file.first_seq);
	fixture_close(&fixture);
	ck_assert_int_eq(
		rename(fixture_path(&fixture, AUDIT_FILE, from), fixture_path(&fixture, name, to)),
		0);
	fixture_open(&fixture, 0, 0);
	ck_assert_int_eq(fixture_verify(&fixture, NULL), 0);
	load_page(&fixture, -1, &page);
	ck_assert_str_eq(page.name, name);
	(void)take_line(&page, page.count - 1);
	save_page(&fixture, &page);
	ck_assert_int_eq(fixture_verify(&fixture, NULL), -EBADMSG);
	ck_assert_msg(
		strstr(fixture.err.text, "this process wrote up to 40"), "%s", fixture.err.text);
	free(page.bytes);
	fixture_done(&fixture);
}
END_TEST

/* Who has taken the present key can write what follows, not what came before. */
START_TEST(the_present_key_does_not_make_an_older_record)
{
	struct audit_line line;
	struct fixture fixture;
	struct page page;
	unsigned char mac[AUDIT_MAC_BYTES];
	char tail[AUDIT_LINE_TAIL_BYTES + 1];
	int last;

	make_chain(&fixture);
	load_page(&fixture, 0, &page);
	/* Record 1 is rewritten with the stolen key and a mac that fits it. */
	last = (int)strcspn(page.lines[0], "\n");
	ck_assert(audit_line_parse(page.lines[0], (size_t)last, &line));
	strstr(page.lines[0], "granted")[0] = 'G';
	memset(mac, 0, sizeof mac);
	audit_chain_mac(&fixture.audit->key.key, mac, page.lines[0], line.body_length, mac);
	audit_chain_tail(mac, tail);
	memcpy(page.lines[0] + line.body_length, tail, AUDIT_LINE_TAIL_BYTES);
	fixture_write(&fixture, page.name, page.bytes, strlen(page.bytes));
	ck_assert_int_eq(fixture_verify(&fixture, NULL), -EBADMSG);
	ck_assert_msg(strstr(fixture.err.text, "line 1"), "%s", fixture.err.text);
	free(page.bytes);
	fixture_done(&fixture);
}
END_TEST

/* The living process refuses to go on over a file that somebody touched. */
START_TEST(an_append_to_a_touched_file_fails)
{
	static const int rows[] = { CUT_BYTE, APPEND_BYTE, RENAME_AWAY, REPLACE_FILE,
		EMPTY_SEGMENT };
	json_t *record = fixture_record(1);
	struct fixture fixture;
	struct page page;

	make_chain(&fixture);
	load_page(&fixture, -1, &page);
	change_file(&fixture, &page, (enum change)rows[_i]);
	ck_assert_int_eq(audit_append(fixture.audit, &record, 1, &fixture.err), -EBADMSG);
	ck_assert_msg(strstr(fixture.err.text, "somebody"), "%s", fixture.err.text);
	free(page.bytes);
	json_decref(record);
	fixture_done(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	const int rows = sizeof changes / sizeof changes[0];

	tcase_add_loop_test(cases, a_changed_chain_does_not_verify, 0, rows);
	tcase_add_loop_test(
		cases, a_chain_changed_while_it_was_closed_is_found_by_its_head, 0, rows);
	tcase_add_loop_test(cases, every_flipped_byte_is_found, 0, 4);
	tcase_add_test(cases, the_report_tells_what_was_verified);
	tcase_add_test(cases, the_fault_is_named);
	tcase_add_test(cases, another_first_key_does_not_verify);
	tcase_add_test(cases, the_present_key_does_not_make_an_older_record);
	tcase_add_test(cases, a_cut_of_the_last_old_segment_is_found);
	tcase_add_loop_test(cases, an_append_to_a_touched_file_fails, 0, 5);
}

int main(void)
{
	return unit_test_run("audit_verify", add);
}
