#include "daemon/broker/store/store_keys.h"

#include "store_fixture.h"

#include "unit_test.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

static int unlock_text(struct fixture *f, enum slot_kind kind, const char *text)
{
	AUTO_SECRET key = secret_of_text(f, text);

	return store_unlock(f->store, kind, &key, NULL);
}

static int64_t add_passphrase(struct fixture *f, const char *text)
{
	AUTO_SECRET key = secret_of_text(f, text);
	struct slot_info slot;

	MUST(store_slot_add(f->store, SLOT_PASSPHRASE, &key, NULL, &slot, err));
	ck_assert_int_eq(slot.kind, SLOT_PASSPHRASE);
	ck_assert_int_gt(slot.created_unix_s, 0);
	return slot.id;
}

static int64_t id_of_kind(struct fixture *f, enum slot_kind kind)
{
	struct slot_info slots[STORE_SLOTS_MAX];
	size_t count;

	MUST(store_slots(f->store, slots, STORE_SLOTS_MAX, &count, err));
	for (size_t i = 0; i < count; i++)
		if (slots[i].kind == kind)
			return slots[i].id;
	return -1;
}

START_TEST(a_store_opens_with_its_host_key_only)
{
	AUTO_SECRET wrong = { 0 }, audit_key = { 0 };
	struct fixture f;

	fixture_begin_store(&f);
	ck_assert_int_eq(store_state(f.store, NULL), STORE_UNLOCKED);
	ck_assert_int_eq(put_text(&f, "prod/db", "x", false), 0);
	fixture_close(&f);
	fixture_open(&f);
	ck_assert_int_eq(store_state(f.store, NULL), STORE_LOCKED);
	wrong = secret_of(&f, f.host_key.bytes, HOST_KEY_BYTES);
	wrong.bytes[31] ^= 1;
	ck_assert_int_eq(store_unlock(f.store, SLOT_HOST_KEY, &wrong, NULL), -EKEYREJECTED);
	secret_shorten(&wrong, 31);
	ck_assert_int_eq(store_unlock(f.store, SLOT_HOST_KEY, &wrong, NULL), -EINVAL);
	ck_assert_int_eq(unlock_text(&f, SLOT_PASSPHRASE, "guess"), -EKEYREJECTED);
	ck_assert_int_eq(unlock_text(&f, SLOT_PASSPHRASE, ""), -EINVAL);
	ck_assert_int_eq(unlock_text(&f, SLOT_INVALID, "guess"), -EINVAL);
	ck_assert_int_eq(store_state(f.store, NULL), STORE_LOCKED);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	ck_assert_int_eq(get_text(&f, "prod/db", VERSION_CURRENT, "x"), 0);
	MUST(store_audit_key(f.store, &audit_key, err));
	ck_assert_uint_eq(audit_key.length, 32);
	ck_assert_mem_eq(audit_key.bytes, "0123456789abcdef0123456789abcdef", 32);
	secret_done(&wrong);
	secret_done(&audit_key);
	fixture_end(&f);
}
END_TEST

START_TEST(a_store_is_made_once_with_one_way_to_open_it)
{
	AUTO_SECRET audit_key = { 0 }, passphrase = { 0 }, text = { 0 };
	struct store_init_args args = { 0 };
	struct fixture f;

	fixture_begin(&f, NULL);
	fixture_open(&f);
	audit_key = secret_of_text(&f, "audit");
	passphrase = secret_of_text(&f, "correct horse");
	args.audit_key = &audit_key;
	ck_assert_int_eq(store_init(f.store, &args, &text, NULL), -EINVAL);
	args.host_key = &f.host_key;
	args.passphrase = &passphrase;
	ck_assert_int_eq(store_init(f.store, &args, &text, NULL), -EINVAL);
	args.host_key = NULL;
	MUST(store_init(f.store, &args, &text, err));
	secret_done(&text);
	ck_assert_int_eq(store_init(f.store, &args, &text, NULL), -EEXIST);
	ck_assert_int_eq(put_text(&f, "prod/db", "x", false), 0);
	fixture_close(&f);
	fixture_open(&f);
	ck_assert_int_eq(store_init(f.store, &args, &text, NULL), -EEXIST);
	ck_assert_int_eq(unlock_text(&f, SLOT_PASSPHRASE, "correct hors"), -EKEYREJECTED);
	ck_assert_int_eq(unlock_text(&f, SLOT_PASSPHRASE, "correct horse"), 0);
	ck_assert_int_eq(get_text(&f, "prod/db", VERSION_CURRENT, "x"), 0);
	secret_done(&audit_key);
	secret_done(&passphrase);
	fixture_end(&f);
}
END_TEST

START_TEST(a_store_that_appeared_meanwhile_is_not_replaced)
{
	struct fixture first;
	struct bytes before, after;
	AUTO_SECRET audit_key = { 0 }, text = { 0 };
	struct store_init_args args;
	struct store *late;

	fixture_begin(&first, NULL);
	fixture_open(&first);
	MUST(store_open(first.directory, first.arena, &late, err));
	audit_key = secret_of_text(&first, "audit");
	args = (struct store_init_args){ .host_key = &first.host_key, .audit_key = &audit_key };
	MUST(store_init(first.store, &args, &text, err));
	secret_done(&text);
	before = bytes_read(fixture_path(&first, "store.db"));
	ck_assert_int_eq(store_init(late, &args, &text, NULL), -EEXIST);
	after = bytes_read(fixture_path(&first, "store.db"));
	ck_assert_uint_eq(before.length, after.length);
	ck_assert_mem_eq(before.bytes, after.bytes, before.length);
	free(before.bytes);
	free(after.bytes);
	store_close(late);
	secret_done(&audit_key);
	fixture_end(&first);
}
END_TEST

START_TEST(the_recovery_key_opens_the_store_as_typed)
{
	AUTO_SECRET typed = { 0 };
	struct mayfly_error err_typed = { 0 };
	struct fixture f;

	fixture_begin_store(&f);
	ck_assert_uint_le(f.recovery_text.length, RECOVERY_TEXT_MAX);
	fixture_close(&f);
	fixture_open(&f);
	typed = secret_of(&f, f.recovery_text.bytes, f.recovery_text.length);
	typed.bytes[14] = typed.bytes[14] == 'A' ? 'B' : 'A';
	ck_assert_int_eq(store_unlock(f.store, SLOT_RECOVERY, &typed, &err_typed), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err_typed.text, "group 3 "));
	memcpy(typed.bytes, f.recovery_text.bytes, typed.length);
	for (size_t i = 0; i < typed.length; i++)
		if (typed.bytes[i] == '-')
			typed.bytes[i] = ' ';
	MUST(store_unlock(f.store, SLOT_RECOVERY, &typed, err));
	secret_done(&typed);
	fixture_end(&f);
}
END_TEST

START_TEST(slots_come_and_go_but_never_the_last)
{
	struct fixture f;
	int64_t host_key, passphrase;

	fixture_begin_store(&f);
	host_key = id_of_kind(&f, SLOT_HOST_KEY);
	passphrase = add_passphrase(&f, "two words");
	ck_assert_int_eq(store_slot_remove(f.store, 12345, NULL), -ENOENT);
	MUST(store_slot_remove(f.store, host_key, err));
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	store_lock(f.store);
	ck_assert_int_eq(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, NULL), -EKEYREJECTED);
	ck_assert_int_eq(unlock_text(&f, SLOT_PASSPHRASE, "two words"), 0);
	MUST(store_slot_remove(f.store, id_of_kind(&f, SLOT_RECOVERY), err));
	ck_assert_int_eq(store_slot_remove(f.store, passphrase, NULL), -EPERM);
	store_lock(f.store);
	ck_assert_int_eq(unlock_text(&f, SLOT_PASSPHRASE, "two words"), 0);
	MUST(store_slot_add(f.store, SLOT_HOST_KEY, &f.host_key, NULL, NULL, err));
	store_lock(f.store);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	fixture_end(&f);
}
END_TEST

START_TEST(the_slots_are_listed_while_locked)
{
	struct slot_info slots[STORE_SLOTS_MAX];
	struct fixture f;
	size_t count;

	fixture_begin_store(&f);
	store_lock(f.store);
	MUST(store_slots(f.store, slots, STORE_SLOTS_MAX, &count, err));
	ck_assert_uint_eq(count, 2);
	ck_assert_int_eq(slots[0].kind, SLOT_HOST_KEY);
	ck_assert_int_eq(slots[1].kind, SLOT_RECOVERY);
	MUST(store_slots(f.store, slots, 1, &count, err));
	ck_assert_uint_eq(count, 1);
	fixture_end(&f);
}
END_TEST

START_TEST(there_is_a_limit_of_slots)
{
	struct fixture f;

	fixture_begin_store(&f);
	for (int i = 2; i < STORE_SLOTS_MAX; i++)
		MUST(store_slot_add(f.store, SLOT_HOST_KEY, &f.host_key, NULL, NULL, err));
	ck_assert_int_eq(
		store_slot_add(f.store, SLOT_HOST_KEY, &f.host_key, NULL, NULL, NULL), -E2BIG);
	fixture_reopen_unlocked(&f);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	fixture_end(&f);
}
END_TEST

START_TEST(another_recovery_key_stops_the_old_one)
{
	struct secret text;
	struct fixture f;

	fixture_begin_store(&f);
	MUST(store_slot_add(f.store, SLOT_RECOVERY, NULL, &text, NULL, err));
	store_lock(f.store);
	ck_assert_int_eq(
		store_unlock(f.store, SLOT_RECOVERY, &f.recovery_text, NULL), -EKEYREJECTED);
	MUST(store_unlock(f.store, SLOT_RECOVERY, &text, err));
	secret_done(&text);
	fixture_end(&f);
}
END_TEST

START_TEST(a_removed_slot_that_is_put_back_stays_closed)
{
	struct bytes old_file;
	struct fixture f;
	sqlite3 *file;

	fixture_begin_store(&f);
	add_passphrase(&f, "old words");
	fixture_close(&f);
	old_file = bytes_read(fixture_path(&f, "store.db"));
	bytes_write(fixture_path(&f, "old.db"), &old_file);
	fixture_open(&f);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	MUST(store_slot_remove(f.store, id_of_kind(&f, SLOT_PASSPHRASE), err));
	fixture_close(&f);
	file = file_open(&f);
	file_run(file, "ATTACH '%s' AS old", fixture_path(&f, "old.db"));
	file_run(file, "INSERT INTO main.slot SELECT * FROM old.slot WHERE kind = %d",
		SLOT_PASSPHRASE);
	sqlite3_close(file);
	fixture_open(&f);
	ck_assert_int_eq(unlock_text(&f, SLOT_PASSPHRASE, "old words"), -EKEYREJECTED);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	ck_assert_int_eq(store_verify(f.store, &(uint64_t){ 0 }, NULL), -EBADMSG);
	/* It can be removed once more, and all is well. */
	MUST(store_slot_remove(f.store, id_of_kind(&f, SLOT_PASSPHRASE), err));
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	free(old_file.bytes);
	fixture_end(&f);
}
END_TEST

static const struct {
	const char *name;
	const char *change;
	const char *says;
} crafted[] = {
	{ "fewer passes than the floor", "passes = 1", "out of bounds" },
	{ "less memory than the floor", "memory_kib = 8", "out of bounds" },
	{ "more passes than the ceiling", "passes = 1000", "out of bounds" },
	{ "four TiB of memory", "memory_kib = 4294967295", "out of bounds" },
	{ "a negative cost", "memory_kib = -65536", "out of bounds" },
	{ "a cost that is 64 bits long", "memory_kib = 281474976776192", "out of bounds" },
	{ "another cost within bounds", "passes = 4" },
	{ "another salt", "salt = zeroblob(16)" },
	{ "a salt that is too short", "salt = x'00'" },
	{ "another commitment", "commitment = zeroblob(32)" },
	{ "another date", "created = created + 1" },
	{ "another kind", "kind = 1" },
	{ "a kind that is none", "kind = 77", "no slot for a passphrase" },
	{ "a damaged root key", "root_key = zeroblob(72)", "not the passphrase" },
	{ "no root key", "root_key = x''" },
};

START_TEST(a_crafted_slot_opens_nothing_and_harms_no_other)
{
	struct mayfly_error why = { 0 };
	AUTO_SECRET key = { 0 };
	struct bytes good;
	struct fixture f;
	sqlite3 *file;

	fixture_begin_store(&f);
	add_passphrase(&f, "two words");
	key = secret_of_text(&f, "two words");
	fixture_close(&f);
	good = bytes_read(fixture_path(&f, "store.db"));
	for (size_t i = 0; i < sizeof crafted / sizeof crafted[0]; i++) {
		bytes_write(fixture_path(&f, "store.db"), &good);
		file = file_open(&f);
		file_run(file, "UPDATE slot SET %s WHERE kind = %d", crafted[i].change,
			SLOT_PASSPHRASE);
		sqlite3_close(file);
		fixture_open(&f);
		ck_assert_msg(store_unlock(f.store, SLOT_PASSPHRASE, &key, &why) == -EKEYREJECTED,
			"%s is accepted", crafted[i].name);
		ck_assert_msg(!crafted[i].says || strstr(why.text, crafted[i].says), "%s: %s",
			crafted[i].name, why.text);
		MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
		ck_assert_msg(store_verify(f.store, &(uint64_t){ 0 }, NULL) < 0, "%s is not found",
			crafted[i].name);
		fixture_close(&f);
	}
	free(good.bytes);
	secret_done(&key);
	fixture_end(&f);
}
END_TEST

START_TEST(locking_gives_all_its_memory_back)
{
	struct fixture f;
	size_t before;

	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/db", "x", false), 0);
	fixture_close(&f);
	before = arena_used_bytes(f.arena);
	fixture_open(&f);
	ck_assert_uint_eq(arena_used_bytes(f.arena), before);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	ck_assert_uint_gt(arena_used_bytes(f.arena), before);
	ck_assert_int_eq(get_text(&f, "prod/db", VERSION_CURRENT, "x"), 0);
	store_lock(f.store);
	store_lock(f.store);
	ck_assert_uint_eq(arena_used_bytes(f.arena), before);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	fixture_close(&f);
	ck_assert_uint_eq(arena_used_bytes(f.arena), before);
	fixture_end(&f);
}
END_TEST

struct unlocker {
	struct fixture *fixture;
	atomic_bool is_done;
	int result;
};

static void *unlock_slowly(void *argument)
{
	struct unlocker *unlocker = argument;

	unlocker->result = unlock_text(unlocker->fixture, SLOT_PASSPHRASE, "two words");
	atomic_store(&unlocker->is_done, true);
	return NULL;
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

START_TEST(others_work_while_a_passphrase_is_tried)
{
	struct unlocker unlocker = { 0 };
	double longest_ms = 0, start_ms;
	pthread_t thread;
	struct fixture f;

	fixture_begin_store(&f);
	add_passphrase(&f, "two words");
	ck_assert_int_eq(put_text(&f, "prod/db", "x", false), 0);
	unlocker.fixture = &f;
	start_ms = now_ms();
	ck_assert_int_eq(pthread_create(&thread, NULL, unlock_slowly, &unlocker), 0);
	while (!atomic_load(&unlocker.is_done)) {
		const double get_ms = now_ms();

		ck_assert_int_eq(get_text(&f, "prod/db", VERSION_CURRENT, "x"), 0);
		if (now_ms() - get_ms > longest_ms)
			longest_ms = now_ms() - get_ms;
	}
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(unlocker.result, 0);
	/* The one takes a hundred milliseconds, the other some twenty microseconds. */
	ck_assert_double_lt(longest_ms, (now_ms() - start_ms) / 2);
	fixture_end(&f);
}
END_TEST

START_TEST(two_may_unlock_at_once)
{
	struct unlocker unlockers[2];
	pthread_t threads[2];
	struct fixture f;

	fixture_begin_store(&f);
	add_passphrase(&f, "two words");
	store_lock(f.store);
	for (int i = 0; i < 2; i++) {
		unlockers[i] = (struct unlocker){ .fixture = &f };
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, unlock_slowly, &unlockers[i]), 0);
	}
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
		ck_assert_int_eq(unlockers[i].result, 0);
	}
	ck_assert_int_eq(store_state(f.store, NULL), STORE_UNLOCKED);
	fixture_end(&f);
}
END_TEST

/* The root key's number in the closed file. */
static long long generation(struct fixture *f)
{
	sqlite3 *file = file_open(f);
	const long long number = file_number(file, "SELECT generation FROM store");

	sqlite3_close(file);
	return number;
}

START_TEST(another_root_key_keeps_every_value)
{
	AUTO_SECRET passphrase = { 0 }, text = { 0 }, audit_key = { 0 };
	const struct secret_reference removed = reference_of("dev/a");
	struct fixture f;
	uint64_t rewrapped;
	uint32_t number;

	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/a", "one", false), 0);
	ck_assert_int_eq(put_text(&f, "prod/a", "two", true), 0);
	ck_assert_int_eq(put_text(&f, "dev/a", "three", false), 0);
	MUST(store_remove(f.store, &removed, false, &number, err));
	add_passphrase(&f, "two words");
	add_passphrase(&f, "is dropped");
	passphrase = secret_of_text(&f, "two words");
	MUST(store_rotate_root_key(f.store, &f.host_key, &passphrase, &text, &rewrapped, err));
	ck_assert_uint_eq(rewrapped, 3);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	ck_assert_int_eq(get_text(&f, "prod/a", 1, "one"), 0);
	ck_assert_int_eq(put_text(&f, "prod/b", "four", false), 0);
	fixture_close(&f);
	ck_assert_int_eq(generation(&f), 2);
	fixture_open(&f);
	ck_assert_int_eq(
		store_unlock(f.store, SLOT_RECOVERY, &f.recovery_text, NULL), -EKEYREJECTED);
	ck_assert_int_eq(unlock_text(&f, SLOT_PASSPHRASE, "is dropped"), -EKEYREJECTED);
	ck_assert_int_eq(unlock_text(&f, SLOT_PASSPHRASE, "two words"), 0);
	store_lock(f.store);
	MUST(store_unlock(f.store, SLOT_RECOVERY, &text, err));
	store_lock(f.store);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "two"), 0);
	ck_assert_int_eq(get_text(&f, "prod/b", VERSION_CURRENT, "four"), 0);
	MUST(store_undelete(f.store, &removed, &number, err));
	ck_assert_int_eq(get_text(&f, "dev/a", VERSION_CURRENT, "three"), 0);
	MUST(store_audit_key(f.store, &audit_key, err));
	ck_assert_mem_eq(audit_key.bytes, "0123456789abcdef0123456789abcdef", 32);
	MUST(store_verify(f.store, &(uint64_t){ 0 }, err));
	secret_done(&passphrase);
	secret_done(&text);
	secret_done(&audit_key);
	fixture_end(&f);
}
END_TEST

START_TEST(a_wrong_key_at_rotation_changes_nothing)
{
	AUTO_SECRET wrong = { 0 }, text = { 0 };
	struct fixture f;
	uint64_t rewrapped;

	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/a", "one", false), 0);
	wrong = secret_of_text(&f, "mistyped");
	ck_assert_int_eq(
		store_rotate_root_key(f.store, &f.host_key, &wrong, &text, &rewrapped, NULL),
		-EKEYREJECTED);
	secret_done(&wrong);
	fixture_close(&f);
	ck_assert_int_eq(generation(&f), 1);
	fixture_open(&f);
	MUST(store_unlock(f.store, SLOT_RECOVERY, &f.recovery_text, err));
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "one"), 0);
	fixture_end(&f);
}
END_TEST

static const struct {
	const char *name;
	const char *sql;
} gaps[] = {
	{ "a secret was taken out", "DELETE FROM main.head WHERE id = 2" },
	{ "an older one was put back",
		"REPLACE INTO main.head SELECT * FROM old.head WHERE id = 1" },
};

START_TEST(rotation_does_not_hide_a_gap)
{
	const struct secret_reference reference = reference_of("prod/a");
	AUTO_SECRET text = { 0 };
	struct bytes old_file;
	struct fixture f;
	uint64_t rewrapped;
	uint32_t number;
	sqlite3 *file;

	fixture_begin_store(&f);
	ck_assert_int_eq(put_text(&f, "prod/a", "one", false), 0);
	ck_assert_int_eq(put_text(&f, "prod/b", "two", false), 0);
	fixture_close(&f);
	old_file = bytes_read(fixture_path(&f, "store.db"));
	bytes_write(fixture_path(&f, "old.db"), &old_file);
	fixture_open(&f);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	MUST(store_keep(f.store, &reference, 7, &number, err));
	fixture_close(&f);
	file = file_open(&f);
	file_run(file, "ATTACH '%s' AS old", fixture_path(&f, "old.db"));
	file_run(file, "%s", gaps[_i].sql);
	sqlite3_close(file);
	fixture_open(&f);
	MUST(store_unlock(f.store, SLOT_HOST_KEY, &f.host_key, err));
	ck_assert_msg(store_rotate_root_key(f.store, &f.host_key, NULL, &text, &rewrapped, NULL) ==
			      -EUCLEAN,
		"%s is hidden", gaps[_i].name);
	ck_assert_int_eq(get_text(&f, "prod/a", VERSION_CURRENT, "one"), 0);
	ck_assert_int_eq(put_text(&f, "prod/c", "three", false), 0);
	free(old_file.bytes);
	fixture_end(&f);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, a_store_opens_with_its_host_key_only);
	tcase_add_test(cases, a_store_is_made_once_with_one_way_to_open_it);
	tcase_add_test(cases, a_store_that_appeared_meanwhile_is_not_replaced);
	tcase_add_test(cases, the_recovery_key_opens_the_store_as_typed);
	tcase_add_test(cases, slots_come_and_go_but_never_the_last);
	tcase_add_test(cases, the_slots_are_listed_while_locked);
	tcase_add_test(cases, there_is_a_limit_of_slots);
	tcase_add_test(cases, another_recovery_key_stops_the_old_one);
	tcase_add_test(cases, a_removed_slot_that_is_put_back_stays_closed);
	tcase_add_test(cases, a_crafted_slot_opens_nothing_and_harms_no_other);
	tcase_add_test(cases, locking_gives_all_its_memory_back);
	tcase_add_test(cases, others_work_while_a_passphrase_is_tried);
	tcase_add_test(cases, two_may_unlock_at_once);
	tcase_add_test(cases, another_root_key_keeps_every_value);
	tcase_add_test(cases, a_wrong_key_at_rotation_changes_nothing);
	tcase_add_loop_test(cases, rotation_does_not_hide_a_gap, 0, sizeof gaps / sizeof gaps[0]);
}

int main(void)
{
	return unit_test_run("store_slots", add);
}
