#include "daemon/broker/audit/audit_record.h"

#include "audit_fixture.h"
#include "unit_test.h"

#include <errno.h>
#include <string.h>

struct writing {
	struct arena *arena;
	struct secret key;
	struct audit_stamp stamp;
	struct audit_head head;
	struct audit_batch batch;
	struct mayfly_error err;
};

static void writing_make(struct writing *writing)
{
	*writing = (struct writing){ 0 };
	ck_assert_int_eq(arena_new(65536, &writing->arena, NULL), 0);
	ck_assert_int_eq(secret_new(writing->arena, 32, &writing->key, NULL), 0);
	audit_stamp_make(&writing->stamp, "00000000-1111-2222-3333-444444444444", 5);
}

static void writing_done(struct writing *writing)
{
	audit_batch_done(&writing->batch);
	secret_done(&writing->key);
	arena_free(writing->arena);
}

static int add_record(struct writing *writing, json_t *record)
{
	return audit_batch_add(&writing->batch, &writing->stamp, &writing->key, record,
		&writing->head, &writing->err);
}

static const struct {
	const char *reads_as;
	const char *record;  /* JSON */
	const char *members; /* as they are in the line */
} written[] = {
	{ "one member", "{\"action\":\"x\"}", ",\"action\":\"x\",\"mac\"" },
	{ "the order of the caller", "{\"z\":1,\"a\":[2, {\"b\": null}]}",
		",\"z\":1,\"a\":[2,{\"b\":null}],\"mac\"" },
	{ "a newline that would begin another record", "{\"action\":\"x\\n{\\\"seq\\\":9\"}",
		",\"action\":\"x\\n{\\\"seq\\\":9\",\"mac\"" },
	{ "a terminal's escape sequence", "{\"a\":\"\\u001b[2J\"}",
		",\"a\":\"\\u001B[2J\",\"mac\"" },
	{ "DEL", "{\"a\":\"x\x7fy\x7f\"}", ",\"a\":\"x\\u007fy\\u007f\",\"mac\"" },
	{ "NUL", "{\"a\":\"x\\u0000y\"}", ",\"a\":\"x\\u0000y\",\"mac\"" },
	{ "text that runs backwards on a terminal", "{\"a\":\"\\u202Ex\"}",
		",\"a\":\"\\u202Ex\",\"mac\"" },
	{ "letters that are not ASCII", "{\"a\":\"\xc3\xa9\"}", ",\"a\":\"\\u00E9\",\"mac\"" },
};

static void check_members(json_t *whole, json_t *record)
{
	const char *name;
	json_t *value;

	json_object_foreach (record, name, value)
		ck_assert(json_equal(value, json_object_get(whole, name)));
	ck_assert_uint_eq(json_object_size(whole), json_object_size(record) + 6);
}

START_TEST(a_record_is_written_as_one_line_of_ascii)
{
	json_t *const record = json_loads(written[_i].record, JSON_ALLOW_NUL, NULL);
	struct audit_line line;
	struct writing writing;
	json_t *again;

	writing_make(&writing);
	ck_assert_msg(record != NULL, "%s", written[_i].reads_as);
	ck_assert_int_eq(add_record(&writing, record), 0);
	ck_assert_int_eq(writing.batch.bytes[writing.batch.length - 1], '\n');
	for (size_t i = 0; i + 1 < writing.batch.length; i++)
		ck_assert_int_eq(
			writing.batch.bytes[i] >= 0x20 && writing.batch.bytes[i] < 0x7f, 1);
	ck_assert_msg(memmem(writing.batch.bytes, writing.batch.length, written[_i].members,
			      strlen(written[_i].members)) != NULL,
		"%s: %.*s", written[_i].reads_as, (int)writing.batch.length, writing.batch.bytes);
	ck_assert(audit_line_parse(writing.batch.bytes, writing.batch.length - 1, &line));
	ck_assert_uint_eq(line.epoch, 5);
	ck_assert_uint_eq(line.time_length, strlen("2026-01-02T03:04:05.678Z"));
	again = json_loadb(writing.batch.bytes, writing.batch.length,
		JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
	ck_assert_ptr_nonnull(again);
	check_members(again, record);
	json_decref(again);
	json_decref(record);
	writing_done(&writing);
}
END_TEST

static const struct {
	const char *reads_as;
	const char *record;
	int expect;
} refused[] = {
	{ "an array", "[1]", -EINVAL },
	{ "no members", "{}", -EINVAL },
	{ "a seq of its own", "{\"action\":\"x\",\"seq\":1}", -EINVAL },
	{ "a time of its own", "{\"time\":\"x\"}", -EINVAL },
	{ "a boot of its own", "{\"boot\":\"x\"}", -EINVAL },
	{ "an uptime of its own", "{\"uptime_ms\":1}", -EINVAL },
	{ "an epoch of its own", "{\"epoch\":1}", -EINVAL },
	{ "a mac of its own", "{\"mac\":\"x\"}", -EINVAL },
};

START_TEST(a_record_is_refused_with)
{
	json_t *const record = json_loads(refused[_i].record, 0, NULL);
	struct writing writing;

	writing_make(&writing);
	ck_assert_msg(
		add_record(&writing, record) == refused[_i].expect, "%s", refused[_i].reads_as);
	ck_assert_uint_eq(writing.batch.length, 0);
	ck_assert_uint_eq(writing.head.seq, 0);
	json_decref(record);
	writing_done(&writing);
}
END_TEST

/* Finds the longest text that still fits: its line is exactly as long as a reader takes. */
START_TEST(the_longest_line_is_as_long_as_a_reader_takes)
{
	size_t low = 0, high = AUDIT_LINE_MAX_BYTES;
	char *const text = malloc(high);
	struct writing writing;

	memset(text, 'x', high);
	writing_make(&writing);
	while (high - low > 1) {
		const size_t middle = (low + high) / 2;
		json_t *const record = json_pack("{s:s%}", "a", text, middle);
		const int r = add_record(&writing, record);

		ck_assert(r == 0 || r == -EMSGSIZE);
		if (r == 0)
			low = middle;
		else
			high = middle;
		json_decref(record);
		if (r == 0) {
			ck_assert_uint_le(writing.batch.length, AUDIT_LINE_MAX_BYTES);
			ck_assert(high - low > 1 || writing.batch.length == AUDIT_LINE_MAX_BYTES);
		}
		ck_assert(r == 0 || writing.batch.length == 0);
		writing.batch.length = 0;
	}
	ck_assert_uint_gt(low, AUDIT_LINE_MAX_BYTES - 512);
	writing_done(&writing);
	free(text);
}
END_TEST

START_TEST(a_batch_is_chained)
{
	struct audit_head head = { 0 };
	struct writing writing;
	char *at;

	writing_make(&writing);
	for (int i = 0; i < 3; i++) {
		json_t *const record = fixture_record(i);

		ck_assert_int_eq(add_record(&writing, record), 0);
		json_decref(record);
	}
	at = writing.batch.bytes;
	for (int i = 0; i < 3; i++) {
		char *const newline = strchr(at, '\n');
		struct audit_line line;

		ck_assert(audit_line_parse(at, (size_t)(newline - at), &line));
		ck_assert_ptr_null(audit_chain_check(&writing.key, &head, &line));
		/* The same line anywhere else in the chain is wrong. */
		head.mac[31] ^= 1;
		ck_assert_ptr_nonnull(audit_chain_check(&writing.key, &head, &line));
		head = audit_line_head(&line);
		ck_assert_ptr_nonnull(audit_chain_check(&writing.key, &head, &line));
		at = newline + 1;
	}
	ck_assert_mem_eq(head.mac, writing.head.mac, sizeof head.mac);
	ck_assert_uint_eq(writing.head.seq, 3);
	writing_done(&writing);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_record_is_written_as_one_line_of_ascii, 0,
		sizeof written / sizeof written[0]);
	tcase_add_loop_test(cases, a_record_is_refused_with, 0, sizeof refused / sizeof refused[0]);
	tcase_add_test(cases, the_longest_line_is_as_long_as_a_reader_takes);
	tcase_add_test(cases, a_batch_is_chained);
}

int main(void)
{
	return unit_test_run("audit_record", add);
}
