#include "daemon/engine/facts/container_files.h"

#include "engine_fixture.h"
#include "unit_test.h"

#include <errno.h>
#include <time.h>

#define HOST \
	"{\"Privileged\":false,\"ReadonlyRootfs\":true,\"PidMode\":\"\",\"UsernsMode\":\"host\"}"
#define STATE "\"State\":{\"Running\":true,\"Pid\":77,\"StartedAt\":\"2026-01-02T03:04:05.6Z\"},"
#define REST                                                                                      \
	"\"Created\":\"2026-01-02T03:04:00Z\",\"Config\":{\"User\":\"app:web\",\"Image\":\"shop/" \
	"web:1\","                                                                                \
	"\"Labels\":{\"a\":\"b\"}},\"Image\":\"sha256:aa\",\"Name\":\"/"                          \
	"shop-web-1\",\"Driver\":\"overlay2\","                                                   \
	"\"HasBeenStartedBefore\":true"
#define OURS                                                                              \
	"\"/run/"                                                                         \
	"secrets\":{\"Type\":\"volume\",\"Name\":\"shop_secrets\",\"Driver\":\"mayfly\"," \
	"\"Destination\":"                                                                \
	"\"/run/secrets\",\"Source\":\"/run/mayfly-volumes/x\"}"
#define OTHERS                                                                        \
	"\"/b\":{\"Type\":\"bind\",\"Source\":\"/srv/"                                \
	"b\",\"Driver\":\"\",\"Name\":\"\",\"Destination\":\"/b\"},"                  \
	"\"/l\":{\"Type\":\"volume\",\"Source\":\"/data/volumes/l/"                   \
	"_data\",\"Driver\":\"local\",\"Name\":\"l\","                                \
	"\"Destination\":\"/l\"},\"/"                                                 \
	"n\":{\"Type\":\"volume\",\"Source\":\"\",\"Driver\":\"nfs\",\"Name\":\"n\"," \
	"\"Destination\":\"/n\"},\"/m\":{\"Type\":\"bind\",\"Source\":\"/"            \
	"x\",\"Driver\":\"mayfly\",\"Name\":\"m\","                                   \
	"\"Destination\":\"/m\"}"
#define CONFIG "{" STATE REST ",\"MountPoints\":{" OURS "," OTHERS "}}"

static const struct engine_place place = {
	.root = -1, .plugin_name = "mayfly", .data_root = "/data"
};

static int parse(const char *config, const char *host, struct container_record *ret_record,
	struct mayfly_error *err)
{
	const struct file_bytes config_file = { .bytes = (char *)config, .length = strlen(config) };
	const struct file_bytes host_file = { .bytes = (char *)host, .length = strlen(host) };

	return container_record_parse(&place, &config_file, &host_file, ret_record, err);
}

START_TEST(a_record_says_what_the_files_say)
{
	json_t *volumes =
		json_pack("[{s:s, s:s}]", "name", "shop_secrets", "target", "/run/secrets");
	json_t *binds = json_pack("[s, s, s]", "/srv/b", "/data/volumes/l/_data", "/x");
	json_t *locals = json_pack("[s]", "l");
	struct mayfly_error error = { 0 };
	struct container_record record;

	ck_assert_msg(parse(CONFIG, HOST, &record, &error) == 0, "%s", error.text);
	ck_assert_str_eq(record.name, "shop-web-1");
	ck_assert_str_eq(record.storage_driver, "overlay2");
	ck_assert_str_eq(record.created, "2026-01-02T03:04:00Z");
	ck_assert_str_eq(record.user, "app:web");
	ck_assert_str_eq(record.userns_mode, "host");
	ck_assert_ptr_null(record.pid_joined);
	ck_assert_ptr_null(record.manifest_digest);
	ck_assert(record.claims_running && record.has_been_started && record.uses_plugin);
	ck_assert_int_eq(record.pid, 77);
	ck_assert(json_equal(record.volumes, volumes));
	ck_assert(json_equal(record.bind_sources, binds));
	ck_assert(json_equal(record.local_volumes, locals));
	ck_assert_str_eq(json_string_value(json_object_get(record.facts, "name")), "shop-web-1");
	ck_assert_str_eq(
		json_string_value(json_object_get(record.facts, "image_name")), "shop/web:1");
	ck_assert_str_eq(json_string_value(json_object_get(record.facts, "image_id")), "sha256:aa");
	ck_assert_str_eq(json_string_value(json_object_get(record.facts, "started_at")),
		"2026-01-02T03:04:05.6Z");
	container_record_done(&record);
	json_decref(volumes);
	json_decref(binds);
	json_decref(locals);
}
END_TEST

static const struct {
	const char *reads_as;
	const char *config;
	const char *host;
	int expect;
	const char *text; /* in the error */
} rows[] = {
	{ "whole", CONFIG, HOST, 0, NULL },
	{ "without mounts", "{" STATE REST ",\"MountPoints\":null}", HOST, 0, NULL },
	{ "without labels",
		"{" STATE "\"Config\":{\"Image\":\"x\",\"Labels\":null},\"Name\":\"n\"}", HOST, 0,
		NULL },
	{ "empty", "", HOST, -EBADMSG, "config.v2.json" },
	{ "cut off", "{" STATE REST, HOST, -EBADMSG, "config.v2.json" },
	{ "an array", "[]", HOST, -EBADMSG, "config.v2.json" },
	{ "with an empty neighbour", CONFIG, "", -EBADMSG, "hostconfig.json" },
	{ "without a state", "{" REST "}", HOST, -EBADMSG, "State" },
	{ "with a negative process", "{\"State\":{\"Running\":true,\"Pid\":-1}," REST "}", HOST,
		-EBADMSG, "Pid" },
	{ "with a process beyond all", "{\"State\":{\"Running\":true,\"Pid\":2147483648}," REST "}",
		HOST, -EBADMSG, "Pid" },
	{ "with a health that is a word",
		"{\"State\":{\"Running\":true,\"Pid\":1,\"Health\":\"healthy\"}," REST "}", HOST,
		-EBADMSG, "Health" },
	{ "with a health that is a number",
		"{\"State\":{\"Running\":true,\"Pid\":1,\"Health\":{\"Status\":1}}," REST "}", HOST,
		-EBADMSG, "Health" },
	{ "running as a word", "{\"State\":{\"Running\":\"true\",\"Pid\":1}," REST "}", HOST,
		-EBADMSG, "State" },
	{ "without a name", "{" STATE "\"Config\":{\"Image\":\"x\"}}", HOST, -EBADMSG, "Name" },
	{ "without settings", "{" STATE "\"Name\":\"n\"}", HOST, -EBADMSG, "Image" },
	{ "with labels that are no words",
		"{" STATE "\"Config\":{\"Image\":\"x\",\"Labels\":{\"a\":1}},\"Name\":\"n\"}", HOST,
		-EBADMSG, "Labels" },
	{ "with labels in a list",
		"{" STATE "\"Config\":{\"Image\":\"x\",\"Labels\":[]},\"Name\":\"n\"}", HOST,
		-EBADMSG, "Labels" },
	{ "with a byte 0 in a label",
		"{" STATE
		"\"Config\":{\"Image\":\"x\",\"Labels\":{\"a\":\"\\u0000\"}},\"Name\":\"n\"}",
		HOST, -EBADMSG, "config.v2.json" },
	{ "with mounts in a list", "{" STATE REST ",\"MountPoints\":[]}", HOST, -EBADMSG,
		"MountPoints" },
	{ "with a mount that is a word", "{" STATE REST ",\"MountPoints\":{\"/a\":\"b\"}}", HOST,
		-EBADMSG, "MountPoints" },
	{ "with a user that is a number",
		"{" STATE "\"Config\":{\"Image\":\"x\",\"User\":1000},\"Name\":\"n\"}", HOST,
		-EBADMSG, "User" },
	{ "without a posture", CONFIG, "{}", -EBADMSG, "Privileged" },
	{ "with a number beyond all", CONFIG,
		"{\"Privileged\":false,\"ReadonlyRootfs\":true,\"Memory\":18446744073709551615}",
		-EBADMSG, "hostconfig.json" },
};

START_TEST(a_configuration_that_is)
{
	struct mayfly_error error = { 0 };
	struct container_record record = { 0 };
	const int r = parse(rows[_i].config, rows[_i].host, &record, &error);

	ck_assert_msg(r == rows[_i].expect, "%s: %d %s", rows[_i].reads_as, r, error.text);
	if (rows[_i].text)
		ck_assert_msg(
			strstr(error.text, rows[_i].text), "%s: %s", rows[_i].reads_as, error.text);
	container_record_done(&record);
}
END_TEST

START_TEST(while_it_waits_for_a_restart_it_does_not_run)
{
	struct container_record record;

	ck_assert_int_eq(
		parse("{\"State\":{\"Running\":true,\"Restarting\":true,\"Pid\":0}," REST "}", HOST,
			&record, NULL),
		0);
	ck_assert(!record.claims_running);
	container_record_done(&record);
}
END_TEST

static const struct {
	const char *member;
	const char *health;
} checks[] = { { "", "" }, { ",\"Health\":null", "" }, { ",\"Health\":{}", "" },
	{ ",\"Health\":{\"Status\":\"none\"}", "" },
	{ ",\"Health\":{\"Status\":\"of its own kind\"}", "" },
	{ ",\"Health\":{\"Status\":\"starting\",\"Log\":[]}", "starting" },
	{ ",\"Health\":{\"Status\":\"healthy\",\"FailingStreak\":0}", "healthy" },
	{ ",\"Health\":{\"Status\":\"unhealthy\"}", "unhealthy" } };

START_TEST(health_is_one_of_four_words)
{
	struct container_record record;
	char text[2048];

	(void)snprintf(text, sizeof text, "{\"State\":{\"Running\":true,\"Pid\":1%s}," REST "}",
		checks[_i].member);
	ck_assert_int_eq(parse(text, HOST, &record, NULL), 0);
	ck_assert_str_eq(record.health, checks[_i].health);
	container_record_done(&record);
}
END_TEST

START_TEST(a_joined_pid_namespace_is_noted)
{
	struct container_record record;

	ck_assert_int_eq(parse(CONFIG,
				 "{\"Privileged\":false,\"ReadonlyRootfs\":true,\"PidMode\":"
				 "\"container:web\"}",
				 &record, NULL),
		0);
	ck_assert_str_eq(record.pid_joined, "web");
	container_record_done(&record);
}
END_TEST

static char *with_mounts(size_t count, const char *driver, size_t name_length)
{
	const size_t each = 160 + name_length;
	char *text = malloc(sizeof STATE REST + 64 + count * each), *name = malloc(name_length + 1);
	size_t length = (size_t)sprintf(text, "{" STATE REST ",\"MountPoints\":{");

	memset(name, 'v', name_length);
	name[name_length] = '\0';
	for (size_t i = 0; i < count; i++)
		length += (size_t)sprintf(text + length,
			"%s\"/"
			"%zu\":{\"Type\":\"volume\",\"Name\":\"%s\",\"Driver\":\"%s\","
			"\"Destination\":\"/%zu\"}",
			i > 0 ? "," : "", i, name, driver, i);
	(void)sprintf(text + length, "}}");
	free(name);
	return text;
}

static const struct {
	const char *reads_as;
	size_t count;
	const char *driver;
	size_t name_length;
	int expect;
} crowds[] = {
	{ "eight volumes of ours", 8, "mayfly", 10, 0 },
	{ "nine volumes of ours", 9, "mayfly", 10, -E2BIG },
	{ "256 mounts", 256, "other", 10, 0 },
	{ "257 mounts", 257, "other", 10, -E2BIG },
	{ "names of 4,000 bytes", 4, "mayfly", 4000, 0 },
	{ "names of 8,000 bytes", 4, "mayfly", 8000, -E2BIG },
};

START_TEST(a_container_has_at_most)
{
	char *config = with_mounts(crowds[_i].count, crowds[_i].driver, crowds[_i].name_length);
	struct container_record record = { 0 };
	const int r = parse(config, HOST, &record, NULL);

	ck_assert_msg(r == crowds[_i].expect, "%s: %d", crowds[_i].reads_as, r);
	container_record_done(&record);
	free(config);
}
END_TEST

START_TEST(a_hundred_thousand_labels_are_read_in_time)
{
	char *text = malloc(8 << 20);
	size_t length = (size_t)sprintf(
		text, "{" STATE "\"Config\":{\"Image\":\"x\",\"Labels\":{\"first\":\"\"");
	struct container_record record = { 0 };
	struct timespec before, after;
	double seconds;

	for (int i = 0; i < 100000; i++)
		length += (size_t)sprintf(text + length, ",\"label-%d\":\"%d\"", i, i);
	(void)sprintf(text + length, "}},\"Name\":\"n\"}");
	clock_gettime(CLOCK_MONOTONIC, &before);
	ck_assert_int_eq(parse(text, HOST, &record, NULL), 0);
	clock_gettime(CLOCK_MONOTONIC, &after);
	ck_assert_uint_eq(json_object_size(json_object_get(record.facts, "labels")), 100001);
	container_record_done(&record);
	seconds = (double)(after.tv_sec - before.tv_sec) +
		  (double)(after.tv_nsec - before.tv_nsec) / 1e9;
	printf("# 100,000 labels, %zu KiB: %.0f ms\n", length / 1024, seconds * 1e3);
	/* The supervisor ends a process whose loop stands still for 2 s. */
	ck_assert(seconds < 1.5);
	free(text);
}
END_TEST

START_TEST(random_changes_are_survived)
{
	char config[sizeof CONFIG], host[sizeof HOST];

	srandom(11);
	for (int round = 0; round < 20000; round++) {
		struct container_record record = { 0 };
		struct mayfly_error error;

		memcpy(config, CONFIG, sizeof config);
		memcpy(host, HOST, sizeof host);
		for (int i = 0; i < 1 + round % 4; i++) {
			config[(size_t)random() % (sizeof config - 1)] = (char)(32 + random() % 95);
			host[(size_t)random() % (sizeof host - 1)] = (char)(32 + random() % 95);
		}
		(void)parse(round % 2 ? config : CONFIG, round % 2 ? HOST : host, &record, &error);
		container_record_done(&record);
	}
}
END_TEST

START_TEST(files_are_read_and_known_again)
{
	const struct fixture_container container = { .id = ID_A, .name = "a", .volume = "v" };
	struct container_record record;
	struct mayfly_error error = { 0 };
	struct fixture fixture;

	fixture_open(&fixture);
	ck_assert_int_eq(container_files_read(&fixture.place, ID_A, &record, &error), -ENOENT);
	ck_assert(container_files_unchanged(&fixture.place, ID_A, &record));
	fixture_container(&fixture, &container);
	ck_assert(!container_files_unchanged(&fixture.place, ID_A, &record));
	ck_assert_msg(
		container_files_read(&fixture.place, ID_A, &record, &error) == 0, "%s", error.text);
	ck_assert(container_files_unchanged(&fixture.place, ID_A, &record));
	container_record_done(&record);
	fixture_text(&fixture, "data/containers/" ID_A "/config.v2.json", "{");
	ck_assert_int_eq(container_files_read(&fixture.place, ID_A, &record, &error), -EBADMSG);
	/* What was wrong once is not read again until it changes. */
	ck_assert(container_files_unchanged(&fixture.place, ID_A, &record));
	ck_assert_int_eq(truncate(fixture_path(&fixture, "data/containers/" ID_A "/config.v2.json"),
				 ENGINE_FILE_MAX_BYTES + 1),
		0);
	ck_assert_int_eq(container_files_read(&fixture.place, ID_A, &record, &error), -EFBIG);
	ck_assert_ptr_nonnull(strstr(error.text, "config.v2.json"));
	ck_assert(container_files_unchanged(&fixture.place, ID_A, &record));
	fixture_close(&fixture);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, a_record_says_what_the_files_say);
	tcase_add_loop_test(cases, a_configuration_that_is, 0, sizeof rows / sizeof rows[0]);
	tcase_add_test(cases, while_it_waits_for_a_restart_it_does_not_run);
	tcase_add_loop_test(
		cases, health_is_one_of_four_words, 0, sizeof checks / sizeof checks[0]);
	tcase_add_test(cases, a_joined_pid_namespace_is_noted);
	tcase_add_loop_test(cases, a_container_has_at_most, 0, sizeof crowds / sizeof crowds[0]);
	tcase_add_test(cases, a_hundred_thousand_labels_are_read_in_time);
	tcase_add_test(cases, random_changes_are_survived);
	tcase_add_test(cases, files_are_read_and_known_again);
}

int main(void)
{
	return unit_test_run("container_files", add);
}
