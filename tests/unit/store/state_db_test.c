#include "daemon/broker/store/state_db.h"

#include "store_fixture.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define KILLS 100

struct place {
	struct fixture fixture; /* its directory only */
	struct state_db *db;
};

static void open_db(struct place *place)
{
	MUST(state_db_open(place->fixture.directory, &place->db, err));
}

static void close_db(struct place *place)
{
	state_db_close(place->db);
	place->db = NULL;
}

static void begin(struct place *place)
{
	fixture_begin(&place->fixture, NULL);
	open_db(place);
}

static void end(struct place *place)
{
	close_db(place);
	fixture_end(&place->fixture);
}

static void reopen(struct place *place)
{
	close_db(place);
	open_db(place);
}

/* Compares JSON with TEXT, frees it. */
static void assert_json(json_t *json, const char *text)
{
	json_t *wanted = json_loads(text, JSON_DECODE_ANY, NULL);
	char *is = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

	ck_assert_ptr_nonnull(wanted);
	ck_assert_msg(json_equal(json, wanted), "%s is not %s", is, text);
	free(is);
	json_decref(wanted);
	json_decref(json);
}

static void put_volume(struct place *place, const char *engine, const char *name,
	const char *options, int64_t created)
{
	json_t *json = json_loads(options, 0, NULL);

	MUST(state_db_volume_put(place->db, engine, name, json, created, err));
	json_decref(json);
}

START_TEST(volumes_are_kept_as_they_came)
{
	struct place p;
	json_t *volumes;

	begin(&p);
	MUST(state_db_volumes(p.db, &volumes, err));
	assert_json(volumes, "[]");
	put_volume(&p, "docker", "secrets", "{\"set\":\"pr\\u00f6d\",\"n\":[1,null]}", 17);
	put_volume(&p, "docker", "a", "{}", 18);
	put_volume(&p, "second", "secrets", "{\"x\":\"y\"}", 19);
	put_volume(&p, "docker", "secrets", "{\"set\":\"pr\\u00f6d\",\"n\":[1,null]}", 17);
	put_volume(&p, "docker", "a", "{\"changed\":true}", 20);
	reopen(&p);
	MUST(state_db_volumes(p.db, &volumes, err));
	assert_json(volumes,
		"[{\"engine\":\"docker\",\"name\":\"a\",\"options\":{\"changed\":true},"
		"\"created\":20},"
		"{\"engine\":\"docker\",\"name\":\"secrets\",\"options\":{\"set\":\"pr\\u00f6d\","
		"\"n\":[1,null]},\"created\":17},"
		"{\"engine\":\"second\",\"name\":\"secrets\",\"options\":{\"x\":\"y\"},"
		"\"created\":19}]");
	MUST(state_db_volume_remove(p.db, "docker", "secrets", err));
	MUST(state_db_volume_remove(p.db, "docker", "secrets", err));
	MUST(state_db_volume_remove(p.db, "docker", "a", err));
	reopen(&p);
	MUST(state_db_volumes(p.db, &volumes, err));
	assert_json(volumes, "[{\"engine\":\"second\",\"name\":\"secrets\",\"options\":"
			     "{\"x\":\"y\"},\"created\":19}]");
	end(&p);
}
END_TEST

START_TEST(deliveries_are_found_again_by_mount_id)
{
	json_t *record = json_pack("{s:s}", "state", "armed");
	json_t *later = json_pack("{s:s}", "state", "released");
	json_t *deliveries;
	struct place p;

	begin(&p);
	MUST(state_db_delivery_put(p.db, "aa", record, err));
	MUST(state_db_delivery_put(p.db, "bb", record, err));
	MUST(state_db_delivery_put(p.db, "bb", later, err));
	reopen(&p);
	MUST(state_db_deliveries(p.db, &deliveries, err));
	assert_json(deliveries, "{\"aa\":{\"state\":\"armed\"},\"bb\":{\"state\":\"released\"}}");
	MUST(state_db_delivery_remove(p.db, "aa", err));
	MUST(state_db_delivery_remove(p.db, "aa", err));
	MUST(state_db_deliveries(p.db, &deliveries, err));
	assert_json(deliveries, "{\"bb\":{\"state\":\"released\"}}");
	json_decref(record);
	json_decref(later);
	end(&p);
}
END_TEST

START_TEST(facts_are_replaced_and_unknown_ones_are_null)
{
	AUTO_FREE char *value = NULL;
	struct place p;

	begin(&p);
	MUST(state_db_fact(p.db, "boot_id", &value, err));
	ck_assert_ptr_null(value);
	MUST(state_db_fact_put(p.db, "boot_id", "one", err));
	MUST(state_db_fact_put(p.db, "boot_id", "two", err));
	MUST(state_db_fact_put(p.db, "empty", "", err));
	reopen(&p);
	MUST(state_db_fact(p.db, "boot_id", &value, err));
	ck_assert_str_eq(value, "two");
	free_p(&value);
	MUST(state_db_fact(p.db, "empty", &value, err));
	ck_assert_str_eq(value, "");
	end(&p);
}
END_TEST

static void put_decision(
	struct place *p, const char *key, const char *id, const char *name, bool refused, int n)
{
	json_t *decision = json_pack("{s:i}", "n", n);

	MUST(state_db_decision_put(p->db, key, id, name, refused, decision, err));
	json_decref(decision);
}

/* The number in the decision about CONTAINER, or the error. */
static int decision_of(struct place *p, const char *container)
{
	json_t *decision;
	int n = state_db_decision(p->db, container, &decision, NULL);

	if (n < 0)
		return n;
	n = (int)json_integer_value(json_object_get(decision, "n"));
	json_decref(decision);
	return n;
}

#define ID_A "abcd1234567890abcdef1234567890abcdef1234567890abcdef1234567890ab"
#define ID_B "abcd9999567890abcdef1234567890abcdef1234567890abcdef1234567890ab"
#define ID_C "0123456789012345678901234567890123456789012345678901234567890123"

static const struct {
	const char *name;
	const char *container;
	int expected;
} lookups[] = {
	{ "a name", "web", 4 },
	{ "a whole id", ID_A, 1 },
	{ "the beginning of an id", "abcd1", 1 },
	{ "the newest of two that begin alike", "abcd", 2 },
	{ "three digits are too few", "abc", -ENOENT },
	{ "a name that looks like the beginning of an id", "abcd9", 3 },
	{ "the beginning of a name is no name", "we", -ENOENT },
	{ "nobody", "nobody", -ENOENT },
	{ "a longer id", ID_A "0", -ENOENT },
	{ "nothing", "", -ENOENT },
	{ "a pattern", "%", -ENOENT },
	{ "a pattern of four", "abc_", -ENOENT },
	{ "the newest refusal", NULL, 2 },
};

START_TEST(a_decision_is_found_by_name_id_or_beginning)
{
	struct place p;

	begin(&p);
	ck_assert_int_eq(decision_of(&p, NULL), -ENOENT);
	put_decision(&p, "k0", ID_C, "web", true, 0);
	put_decision(&p, "k3", ID_C, "abcd9", true, 3);
	put_decision(&p, "k1", ID_A, "db", false, 1);
	put_decision(&p, "k2", ID_B, "cache", true, 2);
	put_decision(&p, "k4", ID_C, "web", false, 4);
	put_decision(&p, "k5", ID_C, ID_A, false, 5);
	reopen(&p);
	ck_assert_msg(decision_of(&p, lookups[_i].container) == lookups[_i].expected, "%s: %d",
		lookups[_i].name, decision_of(&p, lookups[_i].container));
	end(&p);
}
END_TEST

START_TEST(a_second_decision_of_a_key_replaces_the_first_and_is_the_newest)
{
	struct place p;

	begin(&p);
	put_decision(&p, "k1", ID_A, "web", true, 1);
	put_decision(&p, "k2", ID_B, "web", true, 2);
	ck_assert_int_eq(decision_of(&p, "web"), 2);
	put_decision(&p, "k1", ID_A, "web", true, 3);
	ck_assert_int_eq(decision_of(&p, "web"), 3);
	ck_assert_int_eq(decision_of(&p, NULL), 3);
	put_decision(&p, "k1", ID_A, "web", false, 4);
	ck_assert_int_eq(decision_of(&p, NULL), 2);
	end(&p);
}
END_TEST

START_TEST(only_the_newest_decisions_are_kept)
{
	char key[32], name[32];
	struct place p;

	begin(&p);
	for (int i = 0; i < STATE_DB_DECISIONS_KEPT + 20; i++) {
		snprintf(key, sizeof key, "key-%d", i);
		snprintf(name, sizeof name, "name-%d", i);
		put_decision(&p, key, ID_A, name, true, i);
	}
	ck_assert_int_eq(decision_of(&p, "name-19"), -ENOENT);
	ck_assert_int_eq(decision_of(&p, "name-20"), 20);
	/* Replacing one takes no other away. */
	put_decision(&p, "key-500", ID_A, "name-500", true, 5000);
	ck_assert_int_eq(decision_of(&p, "name-20"), 20);
	put_decision(&p, "another", ID_A, "another", true, 1);
	ck_assert_int_eq(decision_of(&p, "name-20"), -ENOENT);
	ck_assert_int_eq(decision_of(&p, "name-21"), 21);
	end(&p);
}
END_TEST

START_TEST(the_file_is_private_and_ours_alone)
{
	struct mayfly_error err_second = { 0 };
	struct state_db *second;
	struct stat status;
	struct place p;

	begin(&p);
	ck_assert_int_eq(stat(fixture_path(&p.fixture, "state.db"), &status), 0);
	ck_assert_uint_eq(status.st_mode & 07777, 0600);
	ck_assert_int_eq(state_db_open(p.fixture.directory, &second, &err_second), -EBUSY);
	ck_assert_ptr_nonnull(strstr(err_second.text, "state.db"));
	end(&p);
}
END_TEST

static const struct {
	const char *name;
	const char *sql;
	const char *says;
} foreign[] = {
	{ "a newer version", "PRAGMA user_version = 9",
		"has version 9, this Mayfly knows version 1" },
	{ "another file", "PRAGMA application_id = 5", "0x00000005, not 0x4d465344" },
	{ "another table", "CREATE TABLE x (y)", "other tables" },
};

START_TEST(a_file_of_another_kind_is_refused)
{
	struct mayfly_error err_open = { 0 };
	struct place p;
	sqlite3 *file;

	begin(&p);
	close_db(&p);
	ck_assert_int_eq(sqlite3_open(fixture_path(&p.fixture, "state.db"), &file), SQLITE_OK);
	file_run(file, "%s", foreign[_i].sql);
	sqlite3_close(file);
	ck_assert_int_eq(state_db_open(p.fixture.directory, &p.db, &err_open), -EUCLEAN);
	ck_assert_msg(strstr(err_open.text, foreign[_i].says) != NULL, "%s: '%s'", foreign[_i].name,
		err_open.text);
	end(&p);
}
END_TEST

START_TEST(a_damaged_row_is_an_error)
{
	json_t *json;
	struct place p;
	sqlite3 *file;

	begin(&p);
	put_volume(&p, "docker", "a", "{}", 1);
	json = json_object();
	MUST(state_db_delivery_put(p.db, "aa", json, err));
	json_decref(json);
	close_db(&p);
	ck_assert_int_eq(sqlite3_open(fixture_path(&p.fixture, "state.db"), &file), SQLITE_OK);
	file_run(file, "UPDATE volume SET options = '{'; UPDATE delivery SET record = ''");
	sqlite3_close(file);
	open_db(&p);
	ck_assert_int_eq(state_db_volumes(p.db, &json, NULL), -EUCLEAN);
	ck_assert_int_eq(state_db_deliveries(p.db, &json, NULL), -EUCLEAN);
	end(&p);
}
END_TEST

static void write_until_killed(const char *directory, unsigned round, int fd)
{
	json_t *record = json_object();
	struct state_db *db;
	char name[64];

	if (state_db_open(directory, &db, NULL) < 0)
		_exit(2);
	for (unsigned number = 0;; number++) {
		snprintf(name, sizeof name, "r%u-%u", round, number);
		if (state_db_volume_put(db, "docker", name, record, 1, NULL) < 0 ||
			state_db_delivery_put(db, name, record, NULL) < 0 ||
			state_db_decision_put(db, name, ID_A, name, true, record, NULL) < 0 ||
			write(fd, "+", 1) != 1)
			_exit(3);
	}
}

static unsigned kill_one(const char *directory, unsigned round)
{
	unsigned acknowledged = 1;
	int pipe_fds[2], status;
	char bytes[256];
	pid_t child;
	ssize_t n;

	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	child = fork();
	if (child == 0)
		write_until_killed(directory, round, pipe_fds[1]);
	close(pipe_fds[1]);
	ck_assert_int_eq(read(pipe_fds[0], bytes, 1), 1);
	usleep(randombytes_uniform(4000));
	ck_assert_int_eq(kill(child, SIGKILL), 0);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	while ((n = read(pipe_fds[0], bytes, sizeof bytes)) > 0)
		acknowledged += (unsigned)n;
	close(pipe_fds[0]);
	return acknowledged;
}

START_TEST(what_was_acknowledged_survives_kill)
{
	static unsigned acknowledged[KILLS];
	json_t *volumes, *deliveries;
	unsigned all = 0;
	char name[64];
	struct place p;

	begin(&p);
	close_db(&p);
	for (unsigned round = 0; round < KILLS; round++) {
		acknowledged[round] = kill_one(p.fixture.directory, round);
		all += acknowledged[round];
	}
	open_db(&p);
	MUST(state_db_volumes(p.db, &volumes, err));
	MUST(state_db_deliveries(p.db, &deliveries, err));
	ck_assert_uint_ge(json_array_size(volumes), all);
	ck_assert_uint_le(json_array_size(volumes), all + KILLS);
	for (unsigned round = 0; round < KILLS; round++) {
		for (unsigned number = 0; number < acknowledged[round]; number++) {
			snprintf(name, sizeof name, "r%u-%u", round, number);
			ck_assert_ptr_nonnull(json_object_get(deliveries, name));
		}
	}
	json_decref(volumes);
	json_decref(deliveries);
	end(&p);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, volumes_are_kept_as_they_came);
	tcase_add_test(cases, deliveries_are_found_again_by_mount_id);
	tcase_add_test(cases, facts_are_replaced_and_unknown_ones_are_null);
	tcase_add_loop_test(cases, a_decision_is_found_by_name_id_or_beginning, 0,
		sizeof lookups / sizeof lookups[0]);
	tcase_add_test(cases, a_second_decision_of_a_key_replaces_the_first_and_is_the_newest);
	tcase_add_test(cases, only_the_newest_decisions_are_kept);
	tcase_add_test(cases, the_file_is_private_and_ours_alone);
	tcase_add_loop_test(
		cases, a_file_of_another_kind_is_refused, 0, sizeof foreign / sizeof foreign[0]);
	tcase_add_test(cases, a_damaged_row_is_an_error);
	tcase_add_test(cases, what_was_acknowledged_survives_kill);
}

int main(void)
{
	return unit_test_run("state_db", add);
}
