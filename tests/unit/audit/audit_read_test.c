#include "audit_fixture.h"

#include "unit_test.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define TIME "2026-03-04T05:06:07.500Z"

static const char RECORD[] =
	"{\"seq\":1,\"time\":\"" TIME "\",\"action\":\"release\",\"decision\":\"granted\","
	"\"container\":\"shop-web-1\",\"container_id\":\"4f1c2a\",\"set\":\"prod\","
	"\"name\":\"db/password\",\"secrets\":[{\"set\":\"prod\",\"name\":\"api-key\"},"
	"{\"set\":\"dev\",\"name\":\"x\",\"version\":3},\"odd\"]}";
static const char REFUSED[] =
	"{\"time\":\"" TIME "\",\"action\":\"open\",\"decision\":\"refused\"}";
static const char ODD[] = "{\"time\":1,\"action\":[],\"decision\":null,\"container\":{},"
			  "\"secrets\":{\"set\":\"prod\"},\"set\":7}";

static const struct {
	const char *reads_as;
	const char *record;
	struct audit_filter filter;
	bool fits;
} filters[] = {
	{ "an empty filter fits", RECORD, { 0 }, true },
	{ "an empty filter fits anything", ODD, { 0 }, true },
	{ "the time itself is not before since", RECORD, { .since = TIME }, true },
	{ "the second of the time is before it", RECORD, { .since = "2026-03-04T05:06:07Z" },
		true },
	{ "the next second is behind it", RECORD, { .since = "2026-03-04T05:06:08Z" }, false },
	{ "the next millisecond is behind it", RECORD, { .since = "2026-03-04T05:06:07.501Z" },
		false },
	{ "the time itself is not before until", RECORD, { .until = TIME }, false },
	{ "the second of the time is no good until", RECORD, { .until = "2026-03-04T05:06:07Z" },
		false },
	{ "the next second is a good until", RECORD, { .until = "2026-03-04T05:06:08Z" }, true },
	{ "a day is a good since", RECORD, { .since = "2026-03-04" }, true },
	{ "the next day is a good until", RECORD, { .until = "2026-03-05" }, true },
	{ "both ends fit", RECORD, { .since = "2026-03-04", .until = "2026-03-05" }, true },
	{ "a secret by set and name", RECORD, { .secret = "prod/db/password" }, true },
	{ "a secret of the list", RECORD, { .secret = "prod/api-key" }, true },
	{ "a later secret of the list", RECORD, { .secret = "dev/x" }, true },
	{ "a secret's set alone", RECORD, { .secret = "prod" }, false },
	{ "a secret's set with a slash", RECORD, { .secret = "prod/" }, false },
	{ "a secret's beginning", RECORD, { .secret = "prod/db" }, false },
	{ "a secret with more behind it", RECORD, { .secret = "prod/db/password2" }, false },
	{ "a secret of another set", RECORD, { .secret = "dev/api-key" }, false },
	{ "a secret where none is named", REFUSED, { .secret = "prod/x" }, false },
	{ "the empty secret where none is named", REFUSED, { .secret = "/" }, false },
	{ "a secret of an odd record", ODD, { .secret = "prod/x" }, false },
	{ "a container by name", RECORD, { .container = "shop-web-1" }, true },
	{ "a container by the beginning of its name", RECORD, { .container = "shop" }, false },
	{ "a container by id", RECORD, { .container = "4f1c2a" }, true },
	{ "a container by the beginning of its id", RECORD, { .container = "4f1" }, true },
	{ "a container by the middle of its id", RECORD, { .container = "1c2" }, false },
	{ "a container by more than its id", RECORD, { .container = "4f1c2ab" }, false },
	{ "a container of an odd record", ODD, { .container = "x" }, false },
	{ "the empty container fits no record with one", RECORD, { .container = "" }, false },
	{ "an action", RECORD, { .action = "release" }, true },
	{ "another action", RECORD, { .action = "revoke" }, false },
	{ "the beginning of an action", RECORD, { .action = "rel" }, false },
	{ "a refusal", REFUSED, { .refused_only = true }, true },
	{ "a grant is no refusal", RECORD, { .refused_only = true }, false },
	{ "an odd record is no refusal", ODD, { .refused_only = true }, false },
	{ "one of two does not fit", RECORD, { .action = "release", .container = "other" }, false },
};

START_TEST(a_filter_fits)
{
	json_t *const record = json_loads(filters[_i].record, 0, NULL);

	ck_assert_msg(audit_filter_fits(&filters[_i].filter, record) == filters[_i].fits, "%s",
		filters[_i].reads_as);
	json_decref(record);
}
END_TEST

#define RECORDS 100

struct seen {
	uint64_t seqs[RECORDS + 1];
	size_t count;
	size_t stop_after;
};

static bool see(json_t *record, void *data)
{
	struct seen *seen = data;

	seen->seqs[seen->count++] = (uint64_t)json_integer_value(json_object_get(record, "seq"));
	return seen->count != seen->stop_after;
}

/* RECORDS records, each third of them a refusal, in many segments. */
static void make_chain(struct fixture *fixture)
{
	fixture_make(fixture);
	fixture_open(fixture, 4000, 7);
	for (int i = 1; i <= RECORDS; i++) {
		json_t *const record = json_pack("{s:s,s:s,s:i}", "action", "x", "decision",
			i % 3 == 0 ? "refused" : "granted", "n", i);

		ck_assert_int_eq(audit_append(fixture->audit, &record, 1, &fixture->err), 0);
		json_decref(record);
	}
}

static const struct {
	const char *reads_as;
	uint64_t after;
	struct audit_filter filter;
	size_t stop_after;
	uint64_t first, last, count;
} readings[] = {
	{ "everything", 0, { 0 }, 0, 1, 100, 100 },
	{ "behind a record", 40, { 0 }, 0, 41, 100, 60 },
	{ "behind the last record", 100, { 0 }, 0, 0, 0, 0 },
	{ "behind what is still to come", UINT64_MAX, { 0 }, 0, 0, 0, 0 },
	{ "the last one", 0, { .last = 1 }, 0, 100, 100, 1 },
	{ "the last of several segments", 0, { .last = 37 }, 0, 64, 100, 37 },
	{ "the last of more than there are", 0, { .last = 1000 }, 0, 1, 100, 100 },
	{ "the last of as many as there are", 0, { .last = 100 }, 0, 1, 100, 100 },
	{ "the last behind a record", 90, { .last = 5 }, 0, 96, 100, 5 },
	{ "the last behind a record, of fewer", 97, { .last = 5 }, 0, 98, 100, 3 },
	{ "the refusals", 0, { .refused_only = true }, 0, 3, 99, 33 },
	{ "the last refusals", 0, { .refused_only = true, .last = 20 }, 0, 42, 99, 20 },
	{ "the last refusals behind a record", 50, { .refused_only = true, .last = 5 }, 0, 87, 99,
		5 },
	{ "until the caller has enough", 0, { 0 }, 4, 1, 4, 4 },
	{ "until the caller has enough of the last", 0, { .last = 50 }, 4, 51, 54, 4 },
	{ "none of another action", 0, { .action = "y" }, 0, 0, 0, 0 },
	{ "none of another action, the last", 0, { .action = "y", .last = 3 }, 0, 0, 0, 0 },
};

START_TEST(reading_finds)
{
	struct seen seen = { .stop_after = readings[_i].stop_after };
	struct fixture fixture;

	make_chain(&fixture);
	ck_assert_int_eq(audit_read(fixture.audit, readings[_i].after, &readings[_i].filter, see,
				 &seen, &fixture.err),
		0);
	ck_assert_msg(
		seen.count == readings[_i].count, "%s: %zu", readings[_i].reads_as, seen.count);
	if (seen.count > 0) {
		ck_assert_msg(seen.seqs[0] == readings[_i].first, "%s", readings[_i].reads_as);
		ck_assert_msg(seen.seqs[seen.count - 1] == readings[_i].last, "%s",
			readings[_i].reads_as);
	}
	for (size_t i = 1; i < seen.count; i++)
		ck_assert_uint_gt(seen.seqs[i], seen.seqs[i - 1]);
	fixture_done(&fixture);
}
END_TEST

START_TEST(reading_behind_every_record_of_a_long_segment_starts_there)
{
	const struct audit_filter all = { 0 };
	struct fixture fixture;
	char text[2000];

	memset(text, 'x', sizeof text);
	fixture_make(&fixture);
	fixture_open(&fixture, 0, 0);
	for (int i = 0; i < 200; i++) {
		/* Lines of many lengths: the bisection meets them anywhere. */
		json_t *const record = json_pack("{s:s%}", "action", text, (size_t)(i * 37 % 2000));

		ck_assert_int_eq(audit_append(fixture.audit, &record, 1, &fixture.err), 0);
		json_decref(record);
	}
	for (uint64_t after = 0; after <= 200; after++) {
		struct seen seen = { .stop_after = 1 };

		ck_assert_int_eq(audit_read(fixture.audit, after, &all, see, &seen, NULL), 0);
		ck_assert_uint_eq(seen.count, after < 200);
		ck_assert(seen.count == 0 || seen.seqs[0] == after + 1);
	}
	fixture_done(&fixture);
}
END_TEST

START_TEST(reading_stops_at_what_is_no_record)
{
	struct seen seen = { 0 };
	const struct audit_filter all = { 0 };
	struct fixture fixture;
	char *bytes;
	size_t length;

	make_chain(&fixture);
	bytes = fixture_read(&fixture, "audit-00000000000000000001.jsonl", &length);
	strstr(bytes, "{\"seq\":3")[0] = '[';
	fixture_write(&fixture, "audit-00000000000000000001.jsonl", bytes, length);
	ck_assert_int_eq(audit_read(fixture.audit, 0, &all, see, &seen, &fixture.err), -EBADMSG);
	ck_assert_msg(strstr(fixture.err.text, "audit-00000000000000000001.jsonl"), "%s",
		fixture.err.text);
	ck_assert_uint_eq(seen.count, 2);
	free(bytes);
	fixture_done(&fixture);
}
END_TEST

struct writer {
	struct fixture *fixture;
	atomic_bool is_done;
	atomic_int written;
};

static void *write_many(void *data)
{
	struct writer *writer = data;

	for (int i = 0; i < 400; i++) {
		json_t *records[3];

		for (int j = 0; j < 3; j++)
			records[j] = fixture_record(i * 3 + j);
		if (audit_append(writer->fixture->audit, records, (size_t)(i % 3 + 1), NULL) == 0)
			atomic_fetch_add(&writer->written, i % 3 + 1);
		for (int j = 0; j < 3; j++)
			json_decref(records[j]);
	}
	atomic_store(&writer->is_done, true);
	return NULL;
}

static bool follow(json_t *record, void *data)
{
	uint64_t *last = data;

	/* Nothing missing, nothing twice; half a line would not have come here. */
	ck_assert_uint_eq((uint64_t)json_integer_value(json_object_get(record, "seq")), *last + 1);
	(*last)++;
	return true;
}

START_TEST(a_reader_follows_a_writer_through_segments)
{
	const struct audit_filter all = { 0 };
	struct audit_report report;
	struct fixture fixture;
	struct writer writer = { .fixture = &fixture };
	uint64_t last = 0;
	pthread_t thread;
	bool is_done;

	fixture_make(&fixture);
	fixture_open(&fixture, 4000, 16);
	ck_assert_int_eq(pthread_create(&thread, NULL, write_many, &writer), 0);
	do {
		uint64_t seq;
		char mac[65];

		is_done = atomic_load(&writer.is_done);
		audit_head(fixture.audit, &seq, mac);
		ck_assert_int_eq(
			audit_read(fixture.audit, last, &all, follow, &last, &fixture.err), 0);
		ck_assert_uint_ge(last, seq);
		ck_assert_msg(fixture_verify(&fixture, &report) == 0, "%s", fixture.err.text);
		ck_assert_uint_ge(report.records, last);
	} while (!is_done);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_eq(last, 799);
	ck_assert_int_eq(atomic_load(&writer.written), 799);
	fixture_done(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_filter_fits, 0, sizeof filters / sizeof filters[0]);
	tcase_add_loop_test(cases, reading_finds, 0, sizeof readings / sizeof readings[0]);
	tcase_add_test(cases, reading_behind_every_record_of_a_long_segment_starts_there);
	tcase_add_test(cases, reading_stops_at_what_is_no_record);
	tcase_add_test(cases, a_reader_follows_a_writer_through_segments);
}

int main(void)
{
	return unit_test_run("audit_read", add);
}
