#include "daemon/broker/store/record_codec.h"

#include "unit_test.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>

static const struct {
	const char *name;
	size_t length, expected;
} paddings[] = {
	{ "one byte", 1, 64 },
	{ "a full small class", 64, 64 },
	{ "one more", 65, 256 },
	{ "a full second class", 256, 256 },
	{ "one more than the second class", 257, 1024 },
	{ "1 KiB", 1024, 1024 },
	{ "one more than 1 KiB", 1025, 4096 },
	{ "one more than 4 KiB", 4097, 8192 },
	{ "1 MiB", 1048576, 1048576 },
};

START_TEST(only_the_class_of_a_length_shows)
{
	ck_assert_msg(padded_length(paddings[_i].length) == paddings[_i].expected, "%s",
		paddings[_i].name);
}
END_TEST

static void bind_two(struct bound *bound, const char *first, const char *second)
{
	bound_begin(bound, "test");
	bound_text(bound, first);
	bound_text(bound, second);
}

START_TEST(different_fields_never_give_the_same_bytes)
{
	static const char *const fields[][2] = { { "ab", "c" }, { "a", "bc" }, { "", "abc" },
		{ "abc", "" }, { "c", "ab" } };
	const size_t count = sizeof fields / sizeof fields[0];
	struct bound a, b;

	for (size_t i = 0; i < count; i++) {
		for (size_t j = i + 1; j < count; j++) {
			bind_two(&a, fields[i][0], fields[i][1]);
			bind_two(&b, fields[j][0], fields[j][1]);
			ck_assert(a.length != b.length || memcmp(a.bytes, b.bytes, a.length) != 0);
		}
	}
	bound_begin(&a, "one");
	bound_begin(&b, "two");
	ck_assert_mem_ne(a.bytes, b.bytes, a.length);
}
END_TEST

START_TEST(a_record_opens_only_as_it_was_sealed)
{
	unsigned char key[KEY_BYTES], other[KEY_BYTES];
	unsigned char plain[64] = "value", sealed[64 + SEAL_OVERHEAD], back[64];
	struct bound bound, moved;

	randombytes_buf(key, sizeof key);
	randombytes_buf(other, sizeof other);
	bind_two(&bound, "prod", "a");
	bind_two(&moved, "prod", "b");
	record_seal(key, &bound, plain, sizeof plain, sealed);
	ck_assert_int_eq(record_open(key, &bound, sealed, sizeof sealed, back), 0);
	ck_assert_mem_eq(plain, back, sizeof plain);
	ck_assert_int_eq(record_open(key, &moved, sealed, sizeof sealed, back), -EBADMSG);
	ck_assert_int_eq(record_open(other, &bound, sealed, sizeof sealed, back), -EBADMSG);
	ck_assert_int_eq(record_open(key, &bound, NULL, 0, back), -EBADMSG);
	for (size_t length = 0; length < sizeof sealed; length++)
		ck_assert_int_eq(record_open(key, &bound, sealed, length, back), -EBADMSG);
	for (size_t bit = 0; bit < sizeof sealed * 8; bit++) {
		sealed[bit / 8] ^= (unsigned char)(1 << bit % 8);
		ck_assert_int_eq(record_open(key, &bound, sealed, sizeof sealed, back), -EBADMSG);
		sealed[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
}
END_TEST

START_TEST(sealing_twice_gives_different_bytes)
{
	unsigned char key[KEY_BYTES] = { 1 }, plain[64] = { 0 };
	unsigned char first[64 + SEAL_OVERHEAD], second[64 + SEAL_OVERHEAD];
	struct bound bound;

	bind_two(&bound, "prod", "a");
	record_seal(key, &bound, plain, sizeof plain, first);
	record_seal(key, &bound, plain, sizeof plain, second);
	ck_assert_mem_ne(first, second, NONCE_BYTES);
	ck_assert_mem_ne(first + NONCE_BYTES, second + NONCE_BYTES, sizeof plain);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(
		cases, only_the_class_of_a_length_shows, 0, sizeof paddings / sizeof paddings[0]);
	tcase_add_test(cases, different_fields_never_give_the_same_bytes);
	tcase_add_test(cases, a_record_opens_only_as_it_was_sealed);
	tcase_add_test(cases, sealing_twice_gives_different_bytes);
}

int main(void)
{
	if (sodium_init() < 0)
		return EXIT_FAILURE;
	return unit_test_run("record_codec", add);
}
