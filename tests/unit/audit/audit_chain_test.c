#include "daemon/broker/audit/audit_chain.h"

#include "unit_test.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define MAC "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define FRONT(seq, epoch)                                                                        \
	"{\"seq\":" seq ",\"time\":\"2026-01-02T03:04:05.678Z\",\"boot\":\"b\",\"uptime_ms\":7," \
	"\"epoch\":" epoch ","
#define LINE(seq, epoch) FRONT(seq, epoch) "\"action\":\"x\",\"mac\":\"" MAC "\"}"

/* Both were computed with Python's hashlib. */
static const char MAC_OF_ONE[] = "1157c8490b910b62684c0275815567a3ea217191260238f8bcb984db339057c0";
static const char KEY_BEHIND[] = "7e142b82b549616c4edf61307fffb280751bde4e1bf9e62f6dce9bdfd164cf25";

static void make_key(struct arena **ret_arena, struct secret *ret_key)
{
	ck_assert_int_eq(arena_new(65536, ret_arena, NULL), 0);
	ck_assert_int_eq(secret_new(*ret_arena, 32, ret_key, NULL), 0);
	for (unsigned char i = 0; i < 32; i++)
		ret_key->bytes[i] = i;
}

static void check_hex(const unsigned char *bytes, const char *expected)
{
	char hex[65];

	ck_assert_str_eq(sodium_bin2hex(hex, sizeof hex, bytes, 32), expected);
}

START_TEST(mac_and_ratchet_are_what_the_document_says)
{
	const unsigned char zeros[AUDIT_MAC_BYTES] = { 0 };
	unsigned char mac[AUDIT_MAC_BYTES];
	struct arena *arena;
	struct secret key;

	make_key(&arena, &key);
	audit_chain_mac(&key, zeros, "{\"seq\":1", 8, mac);
	check_hex(mac, MAC_OF_ONE);
	audit_chain_ratchet(&key);
	check_hex(key.bytes, KEY_BEHIND);
	secret_done(&key);
	arena_free(arena);
}
END_TEST

static const struct {
	const char *reads_as;
	const char *text;
	bool is_record;
} lines[] = {
	{ "a record", LINE("12", "3"), true },
	{ "a record in epoch 0", LINE("12", "0"), true },
	{ "the largest number", LINE("18446744073709551615", "3"), true },
	{ "a number over 64 bits", LINE("18446744073709551616", "3"), false },
	{ "a number with a leading zero", LINE("012", "3"), false },
	{ "no number", LINE("", "3"), false },
	{ "a negative number", LINE("-1", "3"), false },
	{ "a number with a space", LINE("12 ", "3"), false },
	{ "an epoch with a leading zero", LINE("12", "03"), false },
	{ "nothing", "", false },
	{ "only an end", ",\"mac\":\"" MAC "\"}", false },
	{ "no members behind ours", FRONT("1", "1") "\"mac\":\"" MAC "\"}", false },
	{ "an end cut short", FRONT("1", "1") "\"action\":\"x\",\"mac\":\"0123456789abcdef\"}",
		false },
	{ "a mac in capital letters",
		FRONT("1", "1") "\"action\":\"x\",\"mac\":\"0123456789ABCDEF0123456789abcdef"
				"0123456789abcdef0123456789abcdef\"}",
		false },
	{ "something behind the end", LINE("1", "1") " ", false },
	{ "something before the front", " " LINE("1", "1"), false },
	{ "members in another order",
		"{\"time\":\"\",\"seq\":1,\"boot\":\"\",\"uptime_ms\":1,\"epoch\":1,\"action\":"
		"\"x\","
		"\"mac\":\"" MAC "\"}",
		false },
};

START_TEST(a_line_is_taken_apart)
{
	const char *const text = lines[_i].text;
	struct audit_line line = { 0 };
	/* Exactly as long, so that reading one byte too far shows. */
	char *const copy = malloc(strlen(text) + 1);

	memcpy(copy, text, strlen(text));
	ck_assert_msg(audit_line_parse(copy, strlen(text), &line) == lines[_i].is_record, "%s",
		lines[_i].reads_as);
	if (lines[_i].is_record)
		ck_assert_uint_eq(line.body_length, strlen(text) - AUDIT_LINE_TAIL_BYTES);
	free(copy);
}
END_TEST

START_TEST(the_parts_are_found)
{
	struct audit_line line;

	ck_assert(audit_line_parse(LINE("12", "3"), strlen(LINE("12", "3")), &line));
	ck_assert_uint_eq(line.seq, 12);
	ck_assert_uint_eq(line.epoch, 3);
	ck_assert_uint_eq(line.time_length, 24);
	ck_assert_int_eq(strncmp(line.time, "2026-01-02T03:04:05.678Z", 24), 0);
	check_hex(line.mac, MAC);
	check_hex(audit_line_head(&line).mac, MAC);
	ck_assert_uint_eq(audit_line_head(&line).seq, 12);
}
END_TEST

/* Every beginning of a line, and every line with one byte less, ends in a refusal. */
START_TEST(no_part_of_a_line_is_a_line)
{
	static const char text[] = LINE("12", "3");
	struct audit_line line;

	for (size_t length = 0; length < sizeof text - 1; length++) {
		char *const copy = malloc(length + 1);

		memcpy(copy, text, length);
		ck_assert(!audit_line_parse(copy, length, &line));
		free(copy);
	}
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, mac_and_ratchet_are_what_the_document_says);
	tcase_add_loop_test(cases, a_line_is_taken_apart, 0, sizeof lines / sizeof lines[0]);
	tcase_add_test(cases, the_parts_are_found);
	tcase_add_test(cases, no_part_of_a_line_is_a_line);
}

int main(void)
{
	return unit_test_run("audit_chain", add);
}
