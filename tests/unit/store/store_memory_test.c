/* What is left in our memory after the store was locked: no key and no value, wherever libsodium,
 * SQLite or the compiler may have put a copy. */
#include "daemon/broker/store/store_internal.h"

#include "store_fixture.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <pthread.h>
#include <sodium.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MASK	     0xa5
#define LOOK_FOR     16 /* bytes of each */
#define REMEMBER_MAX 16

/* What must not be found, masked so that remembering it is no copy. */
struct remembered {
	const char *name;
	unsigned char masked[LOOK_FOR];
};

struct memory_test {
	struct fixture fixture;
	struct remembered all[REMEMBER_MAX];
	size_t count;
};

static void remember(struct memory_test *m, const char *name, const unsigned char *bytes)
{
	struct remembered *one = &m->all[m->count++];

	ck_assert_uint_le(m->count, REMEMBER_MAX);
	one->name = name;
	for (size_t i = 0; i < LOOK_FOR; i++)
		one->masked[i] = bytes[i] ^ MASK;
}

static bool is_it(const volatile unsigned char *at, const struct remembered *one)
{
	for (size_t i = 0; i < LOOK_FOR; i++)
		if ((at[i] ^ MASK) != one->masked[i])
			return false;
	return true;
}

static const struct remembered *find_in(
	const struct memory_test *m, const unsigned char *from, const unsigned char *to)
{
	for (const unsigned char *at = from; at + LOOK_FOR <= to; at++)
		for (size_t i = 0; i < m->count; i++)
			if ((*at ^ MASK) == m->all[i].masked[0] && is_it(at, &m->all[i]))
				return &m->all[i];
	return NULL;
}

/* Looks through everything that this process may write to. NULL, or what it found. */
static const struct remembered *find_in_memory(const struct memory_test *m)
{
	const struct remembered *found = NULL;
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];

	ck_assert_ptr_nonnull(maps);
	while (!found && fgets(line, sizeof line, maps)) {
		uintptr_t from, to;
		char rights[8];

		if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) == 3 &&
			memcmp(rights, "rw", 2) == 0)
			found = find_in(m, (const unsigned char *)from, (const unsigned char *)to);
	}
	fclose(maps);
	return found;
}

static void assert_nowhere_in_memory(const struct memory_test *m)
{
	const struct remembered *found = find_in_memory(m);

	ck_assert_msg(!found, "%s is still in memory", found ? found->name : "");
}

static void remember_keys(struct memory_test *m, const char *name)
{
	const struct store_keys *keys = &store_unlocked(m->fixture.store)->keys;

	remember(m, name, keys->root);
	remember(m, "a key for heads", keys->head);
	remember(m, "a key for tokens", keys->token);
	remember(m, "a key for the ledger", keys->ledger);
}

/* A random value of LENGTH bytes, put, read back and remembered. */
static void use_value(struct memory_test *m, const char *name, const char *text, size_t length)
{
	const struct secret_reference reference = reference_of(text);
	AUTO_SECRET value = { 0 }, back = { 0 };
	enum put_outcome outcome;
	uint32_t version;

	MUST(secret_new(m->fixture.arena, length, &value, err));
	randombytes_buf(value.bytes, value.length);
	MUST(store_put(m->fixture.store, &reference, &value, true, &outcome, &version, err));
	MUST(store_get(m->fixture.store, &reference, VERSION_CURRENT, &back, NULL, err));
	ck_assert(secret_equal(&value, &back));
	remember(m, name, value.bytes);
}

static void *use_everything(void *argument)
{
	struct memory_test *m = argument;
	struct fixture *f = &m->fixture;
	AUTO_SECRET passphrase = { 0 }, text = { 0 }, audit_key = { 0 };
	AUTO_FREE struct secret_info *list = NULL;
	uint64_t number;
	size_t count;

	remember(m, "the host key", f->host_key.bytes);
	remember_keys(m, "the first root key");
	use_value(m, "a short value", "prod/short", 32);
	use_value(m, "a value of one class", "prod/class", 64);
	use_value(m, "a long value", "prod/long", 100000);
	use_value(m, "a staged value", "prod/short", 40);
	MUST(secret_new(f->arena, 24, &passphrase, err));
	randombytes_buf(passphrase.bytes, passphrase.length);
	remember(m, "the passphrase", passphrase.bytes);
	MUST(store_slot_add(f->store, SLOT_PASSPHRASE, &passphrase, NULL, NULL, err));
	MUST(store_rotate_root_key(f->store, &f->host_key, &passphrase, &text, &number, err));
	remember(m, "the recovery key", text.bytes);
	remember_keys(m, "the second root key");
	MUST(store_audit_key(f->store, &audit_key, err));
	store_lock(f->store);
	MUST(store_unlock(f->store, SLOT_PASSPHRASE, &passphrase, err));
	store_lock(f->store);
	MUST(store_unlock(f->store, SLOT_RECOVERY, &text, err));
	MUST(store_list(f->store, "prod", &list, &count, err));
	MUST(store_verify(f->store, &number, err));
	store_lock(f->store);
	return NULL;
}

START_TEST(nothing_is_left_after_locking)
{
	static struct memory_test m;

	fixture_begin_store(&m.fixture);
	use_everything(&m);
	secret_done(&m.fixture.host_key);
	secret_done(&m.fixture.recovery_text);
	/* The file is still open: SQLite's cache is searched too. */
	assert_nowhere_in_memory(&m);
	fixture_end(&m.fixture);
}
END_TEST

/* A thread's stack is not used again by us, so that nothing writes over what was left there. */
START_TEST(nothing_is_left_on_a_worker_s_stack)
{
	static struct memory_test m;
	pthread_t thread;

	fixture_begin_store(&m.fixture);
	ck_assert_int_eq(pthread_create(&thread, NULL, use_everything, &m), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	secret_done(&m.fixture.host_key);
	secret_done(&m.fixture.recovery_text);
	assert_nowhere_in_memory(&m);
	fixture_end(&m.fixture);
}
END_TEST

START_TEST(the_search_finds_a_copy)
{
	static struct memory_test m;
	unsigned char *copy = malloc(64);

	ck_assert_ptr_nonnull(copy);
	randombytes_buf(copy + 7, LOOK_FOR);
	remember(&m, "planted", copy + 7);
	ck_assert_ptr_eq(find_in_memory(&m), &m.all[0]);
	sodium_memzero(copy, 64);
	assert_nowhere_in_memory(&m);
	free(copy);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, nothing_is_left_after_locking);
	tcase_add_test(cases, nothing_is_left_on_a_worker_s_stack);
	tcase_add_test(cases, the_search_finds_a_copy);
}

int main(void)
{
	return unit_test_run("store_memory", add);
}
