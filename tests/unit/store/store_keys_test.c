#include "daemon/broker/store/store_keys.h"

#include "unit_test.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

/* A slot with a root key in it, and what opens it. */
struct sealed_slot {
	struct arena *arena;
	struct store_keys keys;
	struct secret key;
	struct secret slot_key;
	struct slot_row row;
};

static void begin(struct sealed_slot *s)
{
	memset(s, 0, sizeof *s);
	ck_assert_int_eq(arena_new((size_t)64 * 4096, &s->arena, NULL), 0);
	ck_assert_int_eq(secret_new(s->arena, HOST_KEY_BYTES, &s->key, NULL), 0);
	randombytes_buf(s->key.bytes, s->key.length);
	randombytes_buf(s->keys.root, sizeof s->keys.root);
	randombytes_buf(s->keys.identity.uuid, sizeof s->keys.identity.uuid);
	s->keys.identity.generation = 1;
	store_keys_derive(&s->keys);
	s->row = slot_row_make(SLOT_HOST_KEY, 1700000000);
	s->row.id = 5;
	ck_assert_int_eq(
		slot_key_derive(&s->keys.identity, &s->row, &s->key, &s->slot_key, NULL), 0);
	slot_seal(&s->keys, &s->slot_key, &s->row);
}

static void end(struct sealed_slot *s)
{
	secret_done(&s->key);
	secret_done(&s->slot_key);
	arena_free(s->arena);
}

START_TEST(a_slot_gives_the_root_key_back)
{
	unsigned char root[KEY_BYTES];
	struct sealed_slot s;

	begin(&s);
	ck_assert_int_eq(slot_open(&s.keys.identity, &s.slot_key, &s.row, root), 0);
	ck_assert_mem_eq(root, s.keys.root, sizeof root);
	end(&s);
}
END_TEST

static void change_id(struct sealed_slot *s)
{
	s->row.id++;
}

static void change_kind(struct sealed_slot *s)
{
	s->row.kind = SLOT_RECOVERY;
}

static void change_date(struct sealed_slot *s)
{
	s->row.created_unix_s++;
}

static void change_cost(struct sealed_slot *s)
{
	s->row.cost.passes++;
}

static void change_salt(struct sealed_slot *s)
{
	s->row.salt[0] ^= 1;
}

static void change_commitment(struct sealed_slot *s)
{
	s->row.commitment[31] ^= 1;
}

static void change_nonce(struct sealed_slot *s)
{
	s->row.sealed_root[0] ^= 1;
}

static void change_ciphertext(struct sealed_slot *s)
{
	s->row.sealed_root[SEALED_KEY_BYTES - 1] ^= 1;
}

static void change_store(struct sealed_slot *s)
{
	s->keys.identity.uuid[0] ^= 1;
}

static void change_generation(struct sealed_slot *s)
{
	s->keys.identity.generation++;
}

static void change_key(struct sealed_slot *s)
{
	s->slot_key.bytes[0] ^= 1;
}

static const struct {
	const char *name;
	void (*change)(struct sealed_slot *s);
	int expected;
} changes[] = {
	{ "another id", change_id, -EKEYREJECTED },
	{ "another kind", change_kind, -EKEYREJECTED },
	{ "another date", change_date, -EKEYREJECTED },
	{ "another cost", change_cost, -EKEYREJECTED },
	{ "another salt", change_salt, -EKEYREJECTED },
	/* The encryption alone would open it. */
	{ "another commitment", change_commitment, -EKEYREJECTED },
	{ "another nonce", change_nonce, -EKEYREJECTED },
	/* The commitment tells a damaged record from a wrong key. */
	{ "another ciphertext", change_ciphertext, -EBADMSG },
	{ "another store", change_store, -EKEYREJECTED },
	{ "another generation", change_generation, -EKEYREJECTED },
	{ "another key", change_key, -EKEYREJECTED },
};

START_TEST(a_slot_opens_only_as_it_was_sealed)
{
	unsigned char root[KEY_BYTES], before[SLOT_DIGEST_BYTES], after[SLOT_DIGEST_BYTES];
	struct sealed_slot s;
	int r;

	begin(&s);
	slot_digest(&s.keys, &s.row, before);
	changes[_i].change(&s);
	r = slot_open(&s.keys.identity, &s.slot_key, &s.row, root);
	ck_assert_msg(r == changes[_i].expected, "%s: %d", changes[_i].name, r);
	slot_digest(&s.keys, &s.row, after);
	if (changes[_i].change != change_key)
		ck_assert_msg(memcmp(before, after, sizeof before) != 0, "%s: same digest",
			changes[_i].name);
	end(&s);
}
END_TEST

START_TEST(every_derived_key_is_another)
{
	struct sealed_slot s, other;
	const unsigned char *keys[14];
	size_t count = 0;

	begin(&s);
	other = s;
	other.keys.identity.generation = 2;
	store_keys_derive(&other.keys);
	for (struct sealed_slot *each = &s; each; each = each == &s ? &other : NULL) {
		keys[count++] = each->keys.head;
		keys[count++] = each->keys.token;
		keys[count++] = each->keys.ledger;
		keys[count++] = each->keys.element;
		keys[count++] = each->keys.slot;
		keys[count++] = each->keys.audit;
	}
	keys[count++] = s.keys.root;
	for (size_t i = 0; i < count; i++)
		for (size_t j = i + 1; j < count; j++)
			ck_assert_mem_ne(keys[i], keys[j], KEY_BYTES);
	end(&s);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, a_slot_gives_the_root_key_back);
	tcase_add_loop_test(
		cases, a_slot_opens_only_as_it_was_sealed, 0, sizeof changes / sizeof changes[0]);
	tcase_add_test(cases, every_derived_key_is_another);
}

int main(void)
{
	if (sodium_init() < 0)
		return EXIT_FAILURE;
	return unit_test_run("store_keys", add);
}
