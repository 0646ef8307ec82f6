#include "daemon/engine/facts/container_table.h"

#include "engine_fixture.h"
#include "unit_test.h"

#include <errno.h>
#include <time.h>

static void load_all(struct container_table *table)
{
	size_t cursor = 0;

	ck_assert(container_table_load(table, &cursor, INT64_MAX));
}

static void scan(struct container_table *table, enum scan_kind kind)
{
	struct mayfly_error error;

	ck_assert_msg(container_table_scan(table, kind, &error) == 0, "%s", error.text);
	load_all(table);
}

static void put(const struct fixture *fixture, const char *id, const char *volume, const char *host)
{
	const struct fixture_container container = {
		.id = id, .name = id, .volume = volume, .host = host
	};

	fixture_container(fixture, &container);
}

START_TEST(containers_come_and_go)
{
	struct container_table table = { 0 };
	struct fixture fixture;

	fixture_open(&fixture);
	table.place = &fixture.place;
	ck_assert_int_eq(container_table_scan(&table, SCAN_IF_CHANGED, NULL), -ENOENT);
	put(&fixture, ID_B, "v", NULL);
	put(&fixture, ID_A, NULL, NULL);
	fixture_text(&fixture, "data/containers/not-an-id/config.v2.json", "{}");
	scan(&table, SCAN_IF_CHANGED);
	ck_assert_uint_eq(table.count, 2);
	/* It has just changed: another change could leave the same time stamp. */
	ck_assert(!table.directory_is_quiet);
	ck_assert_str_eq(table.entries[0]->id, ID_A);
	ck_assert(container_entry_uses_volume(container_table_find(&table, ID_B), "v"));
	ck_assert(!container_entry_uses_volume(container_table_find(&table, ID_B), "w"));
	ck_assert(!container_entry_uses_volume(container_table_find(&table, ID_A), "v"));
	ck_assert_ptr_null(container_table_find(&table, ID_C));
	/* In the same tick of the clock as the scan. */
	put(&fixture, ID_C, "v", NULL);
	scan(&table, SCAN_IF_CHANGED);
	ck_assert_uint_eq(table.count, 3);
	container_table_forget(&table, ID_B);
	ck_assert_uint_eq(table.count, 2);
	ck_assert_ptr_null(container_table_find(&table, ID_B));
	ck_assert_ptr_nonnull(container_table_find(&table, ID_C));
	container_table_forget(&table, ID_B);
	ck_assert_ptr_nonnull(container_table_announce(&table, ID_B));
	ck_assert_str_eq(table.entries[1]->id, ID_B);
	container_table_done(&table);
	fixture_close(&fixture);
}
END_TEST

/* A scan of a directory that has been left alone for a while costs one look. */
START_TEST(a_quiet_directory_is_not_listed_again)
{
	struct container_table table = { 0 };
	struct fixture fixture;
	const struct timespec a_while = { .tv_nsec = 200000000 };

	fixture_open(&fixture);
	table.place = &fixture.place;
	put(&fixture, ID_A, NULL, NULL);
	nanosleep(&a_while, NULL);
	scan(&table, SCAN_IF_CHANGED);
	scan(&table, SCAN_IF_CHANGED);
	ck_assert_uint_eq(table.scans, 1);
	put(&fixture, ID_B, NULL, NULL);
	scan(&table, SCAN_IF_CHANGED);
	ck_assert_uint_eq(table.count, 2);
	scan(&table, SCAN_PRESUMING);
	ck_assert_uint_eq(table.scans, 3);
	container_table_done(&table);
	fixture_close(&fixture);
}
END_TEST

static const struct {
	const char *reads_as;
	int age_s; /* of the container when it is found; -1: a date that cannot be read */
	int has_been_started;
	enum scan_kind kind;
	bool expect;
} ages[] = {
	{ "a fresh one that a request finds", 0, 0, SCAN_IF_CHANGED, false },
	{ "one of 30 s that a request finds", 30, 0, SCAN_IF_CHANGED, false },
	{ "one of two minutes", 130, 0, SCAN_IF_CHANGED, true },
	{ "one that has run before", 0, 1, SCAN_IF_CHANGED, true },
	{ "a fresh one that is there when we begin", 3, 0, SCAN_PRESUMING, false },
	{ "one of 30 s that is there when we begin", 30, 0, SCAN_PRESUMING, true },
	{ "one from the future", -1000, 0, SCAN_PRESUMING, false },
	{ "one whose date cannot be read", -1, 0, SCAN_PRESUMING, false },
};

START_TEST(announced_is)
{
	const time_t now = time(NULL), then = now - ages[_i].age_s;
	struct container_table table = { 0 };
	struct container_entry *entry;
	struct fixture fixture;
	struct tm parts;
	char created[40] = "yesterday";

	if (ages[_i].age_s != -1)
		strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%S.123456789Z",
			gmtime_r(&then, &parts));
	fixture_open(&fixture);
	table.place = &fixture.place;
	fixture_container(&fixture, &(struct fixture_container){ .id = ID_A,
					    .name = "a",
					    .created = created,
					    .has_been_started = ages[_i].has_been_started });
	scan(&table, ages[_i].kind);
	entry = container_table_find(&table, ID_A);
	ck_assert_msg(container_entry_is_announced(entry, now) == ages[_i].expect, "%s",
		ages[_i].reads_as);
	ck_assert_msg(entry->is_settled == ages[_i].expect, "%s", ages[_i].reads_as);
	ck_assert_ptr_eq(container_table_announce(&table, ID_A), entry);
	ck_assert(container_entry_is_announced(entry, now) && entry->is_settled);
	container_table_done(&table);
	fixture_close(&fixture);
}
END_TEST

START_TEST(one_that_is_being_created_is_read_until_it_is_announced)
{
	struct container_table table = { 0 };
	struct container_entry *entry;
	struct fixture fixture;
	time_t now = time(NULL);
	struct tm parts;
	char created[40];

	strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
	fixture_open(&fixture);
	table.place = &fixture.place;
	fixture_parents(&fixture, "data/containers/" ID_A "/");
	scan(&table, SCAN_IF_CHANGED);
	entry = container_table_find(&table, ID_A);
	ck_assert(entry->is_absent && !entry->is_settled);
	fixture_container(&fixture,
		&(struct fixture_container){ .id = ID_A, .name = "a", .created = created });
	load_all(&table);
	ck_assert(!entry->is_absent && !entry->is_settled &&
		  !container_entry_uses_volume(entry, "v"));
	fixture_container(
		&fixture, &(struct fixture_container){
				  .id = ID_A, .name = "a", .created = created, .volume = "v" });
	load_all(&table);
	ck_assert(container_entry_uses_volume(entry, "v"));
	container_table_done(&table);
	fixture_close(&fixture);
}
END_TEST

static const struct {
	const char *reads_as;
	const char *mode;
	bool expect;
} joins[] = {
	{ "by name", "container:web", true },
	{ "by name with a slash", "container:/web", true },
	{ "by id", "container:" ID_A, true },
	{ "by the beginning of an id", "container:aaaaaaaaaaaa", true },
	{ "another container", "container:web2", false },
	{ "nobody", "container:", false },
	{ "the host", "host", false },
};

START_TEST(a_pid_namespace_is_joined)
{
	struct container_table table = { 0 };
	struct fixture fixture;
	char host[128];

	(void)snprintf(host, sizeof host, ",\"PidMode\":\"%s\"", joins[_i].mode);
	fixture_open(&fixture);
	table.place = &fixture.place;
	fixture_container(&fixture, &(struct fixture_container){ .id = ID_A, .name = "web" });
	fixture_container(
		&fixture, &(struct fixture_container){ .id = ID_B, .name = "guest", .host = host });
	scan(&table, SCAN_PRESUMING);
	ck_assert_msg(container_table_is_joined(&table, container_table_find(&table, ID_A)) ==
			      joins[_i].expect,
		"%s", joins[_i].reads_as);
	ck_assert(!container_table_is_joined(&table, container_table_find(&table, ID_B)));
	container_table_done(&table);
	fixture_close(&fixture);
}
END_TEST

static void put_wide(const struct fixture *fixture, const char *id)
{
	static const char end[] = "\"}";
	char labels[12000] = "{\"a\":\"";

	memset(labels + strlen(labels), 'x', sizeof labels - strlen(labels) - sizeof end);
	memcpy(labels + sizeof labels - sizeof end, end, sizeof end);
	fixture_container(fixture, &(struct fixture_container){
					   .id = id, .name = id, .volume = "v", .labels = labels });
}

START_TEST(facts_are_kept_within_a_limit_and_read_again)
{
	struct container_table table = { 0 };
	struct fixture fixture;
	char id[CONTAINER_ID_LENGTH + 1] = ID_A;
	size_t kept = 0;

	fixture_open(&fixture);
	table.place = &fixture.place;
	for (int i = 0; i < 200; i++) {
		(void)snprintf(id + 56, 9, "%08x", i);
		put_wide(&fixture, id);
	}
	scan(&table, SCAN_PRESUMING);
	ck_assert_uint_eq(table.count, 200);
	for (size_t i = 0; i < table.count; i++)
		kept += table.entries[i]->record.facts ? table.entries[i]->record.config_mark.size
						       : 0;
	ck_assert_uint_eq(kept, table.facts_bytes);
	ck_assert_uint_le(kept, TABLE_FACTS_MAX_BYTES);
	ck_assert_uint_gt(kept, 0);
	for (size_t i = 0; i < table.count; i++) {
		ck_assert_int_eq(container_entry_refresh(&table, table.entries[i], true), 0);
		ck_assert_ptr_nonnull(table.entries[i]->record.facts);
		ck_assert_uint_le(table.facts_bytes, TABLE_FACTS_MAX_BYTES + 16384);
	}
	table.facts_bytes += TABLE_FACTS_MAX_BYTES;
	container_table_trim(&table);
	ck_assert_uint_eq(table.facts_bytes, TABLE_FACTS_MAX_BYTES);
	table.facts_bytes = 0;
	for (size_t i = 0; i < table.count; i++)
		ck_assert_ptr_null(table.entries[i]->record.facts);
	container_table_done(&table);
	fixture_close(&fixture);
}
END_TEST

START_TEST(loading_stops_when_its_time_is_up)
{
	struct container_table table = { 0 };
	struct fixture fixture;
	size_t cursor = 0;

	fixture_open(&fixture);
	table.place = &fixture.place;
	put(&fixture, ID_A, NULL, NULL);
	put(&fixture, ID_B, NULL, NULL);
	ck_assert_int_eq(container_table_scan(&table, SCAN_IF_CHANGED, NULL), 0);
	ck_assert(!container_table_load(&table, &cursor, 0));
	ck_assert_uint_eq(cursor, 0);
	ck_assert(container_table_load(&table, &cursor, INT64_MAX));
	cursor = 0;
	/* All are settled: nothing is left that takes time. */
	ck_assert(container_table_load(&table, &cursor, 0));
	container_table_done(&table);
	fixture_close(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, containers_come_and_go);
	tcase_add_test(cases, a_quiet_directory_is_not_listed_again);
	tcase_add_loop_test(cases, announced_is, 0, sizeof ages / sizeof ages[0]);
	tcase_add_test(cases, one_that_is_being_created_is_read_until_it_is_announced);
	tcase_add_loop_test(cases, a_pid_namespace_is_joined, 0, sizeof joins / sizeof joins[0]);
	tcase_add_test(cases, facts_are_kept_within_a_limit_and_read_again);
	tcase_add_test(cases, loading_stops_when_its_time_is_up);
}

int main(void)
{
	return unit_test_run("container_table", add);
}
