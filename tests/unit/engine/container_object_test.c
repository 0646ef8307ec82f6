#include "daemon/engine/facts/container_object.h"

#include "overlay_fixture.h"
#include "unit_test.h"

#include <sys/wait.h>

static json_t *object_of(struct container_table *table, const char *id)
{
	struct image_digests digests = { 0 };
	struct container_entry *entry;
	struct mayfly_error error;
	json_t *object = NULL;
	size_t cursor = 0;

	ck_assert_int_eq(container_table_scan(table, SCAN_PRESUMING, NULL), 0);
	ck_assert(container_table_load(table, &cursor, INT64_MAX));
	entry = container_table_find(table, id);
	ck_assert_ptr_nonnull(entry);
	ck_assert_msg(container_object_make(table, entry, &digests, &object, &error) == 0, "%s",
		error.text);
	image_digests_done(&digests);
	return object;
}

static void expect(json_t *object, const char *key, const char *wanted)
{
	json_t *value = json_loads(wanted, JSON_DECODE_ANY, NULL);
	char *text = json_dumps(json_object_get(object, key), JSON_ENCODE_ANY | JSON_COMPACT);

	ck_assert_ptr_nonnull(value);
	ck_assert_msg(json_equal(value, json_object_get(object, key)), "%s: %s, not %s", key, text,
		wanted);
	json_decref(value);
	free(text);
}

START_TEST(a_container_that_is_being_started_is_told_whole)
{
	struct container_table table = { 0 };
	struct fixture fixture;
	json_t *object;

	overlay_fixture_open(&fixture);
	table.place = &fixture.place;
	fixture_container(&fixture, &(struct fixture_container){ .id = ID_A,
					    .name = "web",
					    .volume = "v",
					    .user = "app:web",
					    .labels = "{\"a\":\"b\"}" });
	overlay_fixture_layer(&fixture, ID_A, "a1", 1);
	object = object_of(&table, ID_A);
	expect(object, "id", "\"" ID_A "\"");
	expect(object, "name", "\"web\"");
	expect(object, "image_name", "\"shop/web\"");
	expect(object, "image_id", "\"sha256:01\"");
	expect(object, "image_digests", "[\"sha256:01\"]");
	expect(object, "labels", "{\"a\":\"b\"}");
	expect(object, "volumes", "[{\"name\":\"v\",\"target\":\"run/secrets\"}]");
	expect(object, "running", "false");
	expect(object, "pid", "0");
	expect(object, "started_at", "null");
	expect(object, "health", "\"\"");
	expect(object, "announced", "true");
	expect(object, "root_mounted", "true");
	expect(object, "user", "{\"text\":\"app:web\",\"uid\":1000,\"gid\":2000,\"error\":null}");
	expect(object, "uid_offset", "0");
	expect(object, "gid_offset", "0");
	expect(object, "id_count", "4294967295");
	expect(object, "privileged", "false");
	expect(object, "read_only_root", "true");
	expect(object, "no_new_privileges", "false");
	expect(object, "engine_socket", "false");
	expect(object, "capabilities_added", "[]");
	expect(object, "capabilities_dropped", "[]");
	expect(object, "pids_limit", "0");
	expect(object, "memory_limit", "0");
	expect(object, "pid_mode", "\"\"");
	expect(object, "ipc_mode", "\"\"");
	expect(object, "cgroupns_mode", "\"\"");
	expect(object, "shares_pid_namespace", "false");
	ck_assert_uint_eq(json_object_size(object), 29);
	json_decref(object);
	container_table_done(&table);
	overlay_fixture_close(&fixture);
}
END_TEST

START_TEST(a_container_that_does_not_start_has_no_root_to_look_into)
{
	struct container_table table = { 0 };
	struct fixture fixture;
	json_t *object;

	overlay_fixture_open(&fixture);
	table.place = &fixture.place;
	fixture_container(&fixture, &(struct fixture_container){ .id = ID_A,
					    .name = "web",
					    .volume = "v",
					    .user = "app",
					    .health = "unhealthy" });
	overlay_fixture_layer(&fixture, ID_A, "a1", 0);
	object = object_of(&table, ID_A);
	expect(object, "root_mounted", "false");
	/* What is left of its last run. */
	expect(object, "health", "\"\"");
	ck_assert(json_is_string(json_object_get(json_object_get(object, "user"), "error")));
	json_decref(object);
	container_table_done(&table);
	overlay_fixture_close(&fixture);
}
END_TEST

START_TEST(where_the_root_cannot_be_told_it_may_be_mounted)
{
	struct container_table table = { 0 };
	struct fixture fixture;
	json_t *object;

	overlay_fixture_open(&fixture);
	table.place = &fixture.place;
	fixture_container(&fixture, &(struct fixture_container){ .id = ID_A,
					    .name = "web",
					    .volume = "v",
					    .user = "1000:7",
					    .driver = "vfs" });
	object = object_of(&table, ID_A);
	expect(object, "root_mounted", "true");
	expect(object, "user", "{\"text\":\"1000:7\",\"uid\":1000,\"gid\":7,\"error\":null}");
	json_decref(object);
	container_table_done(&table);
	overlay_fixture_close(&fixture);
}
END_TEST

/* Files say "running" until the engine gets round to it. */
START_TEST(a_process_that_is_gone_or_anothers_does_not_run)
{
	struct container_table table = { 0 };
	struct fixture fixture;
	json_t *object;
	pid_t gone = fork();

	if (gone == 0)
		_exit(0);
	ck_assert_int_eq(waitpid(gone, NULL, 0), gone);
	overlay_fixture_open(&fixture);
	table.place = &fixture.place;
	fixture_container(
		&fixture, &(struct fixture_container){ .id = ID_A, .name = "a", .pid = (int)gone });
	fixture_container(&fixture,
		&(struct fixture_container){ .id = ID_B, .name = "b", .pid = (int)getpid() });
	object = object_of(&table, ID_A);
	expect(object, "running", "false");
	expect(object, "pid", "0");
	json_decref(object);
	object = object_of(&table, ID_B);
	expect(object, "running", "false");
	json_decref(object);
	container_table_done(&table);
	overlay_fixture_close(&fixture);
}
END_TEST

START_TEST(a_remapping_engine_shifts_ids)
{
	struct container_table table = { 0 };
	struct fixture fixture;
	json_t *object;

	overlay_fixture_open(&fixture);
	table.place = &fixture.place;
	fixture_container(&fixture, &(struct fixture_container){ .id = ID_A, .name = "a" });
	fixture_container(
		&fixture, &(struct fixture_container){
				  .id = ID_B, .name = "b", .host = ",\"UsernsMode\":\"host\"" });
	ck_assert_int_eq(mkdir(fixture_path(&fixture, "data/100000.100000"), 0700), 0);
	{
		char from[8192];

		(void)snprintf(from, sizeof from, "%s", fixture_path(&fixture, "data/containers"));
		ck_assert_int_eq(
			rename(from, fixture_path(&fixture, "data/100000.100000/containers")), 0);
	}
	(void)snprintf(
		fixture.place.data_root, sizeof fixture.place.data_root, "/data/100000.100000");
	object = object_of(&table, ID_A);
	expect(object, "uid_offset", "100000");
	expect(object, "id_count", "65536");
	json_decref(object);
	object = object_of(&table, ID_B);
	expect(object, "uid_offset", "0");
	json_decref(object);
	container_table_done(&table);
	overlay_fixture_close(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, a_container_that_is_being_started_is_told_whole);
	tcase_add_test(cases, a_container_that_does_not_start_has_no_root_to_look_into);
	tcase_add_test(cases, where_the_root_cannot_be_told_it_may_be_mounted);
	tcase_add_test(cases, a_process_that_is_gone_or_anothers_does_not_run);
	tcase_add_test(cases, a_remapping_engine_shifts_ids);
}

int main(void)
{
	const int r = overlay_fixture_prepare();

	return r ? r : unit_test_run("container_object", add);
}
