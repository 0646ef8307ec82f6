#include "daemon/broker/policy/template.h"

#include "policy/policy_example.h"
#include "unit_test.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <unistd.h>

#define ARENA_BYTES ((size_t)8 * 1024 * 1024)

static struct arena *new_arena(void)
{
	struct arena *arena = NULL;
	struct mayfly_error err;

	ck_assert_msg(arena_new(ARENA_BYTES, &arena, &err) == 0, "%s", err.text);
	return arena;
}

static struct secret new_secret(struct arena *arena, const void *bytes, size_t length)
{
	struct secret secret = { 0 };

	ck_assert_int_eq(secret_new(arena, length, &secret, NULL), 0);
	if (length > 0)
		memcpy(secret.bytes, bytes, length);
	return secret;
}

struct named_value {
	const char *name;
	struct secret value;
};

struct values {
	struct named_value *items;
	size_t count;
};

static const struct secret *lookup(void *context, const char *name)
{
	const struct values *values = context;

	for (size_t i = 0; i < values->count; i++)
		if (strcmp(values->items[i].name, name) == 0)
			return &values->items[i].value;
	return NULL;
}

static const struct {
	const char *reads_as;
	enum template_filter filter;
	const char *value;
	size_t length;
	const char *expect; /* NULL: refused */
	size_t expect_length;
} values_rendered[] = {
#define ROW(reads_as, filter, value, expect)                                         \
	{                                                                            \
		reads_as, filter, value, sizeof value - 1, expect, sizeof expect - 1 \
	}
#define REFUSED(reads_as, filter, value)                           \
	{                                                          \
		reads_as, filter, value, sizeof value - 1, NULL, 0 \
	}
	ROW("plain bytes stay as they are", TEMPLATE_PLAIN, "a\0\n\xff\"", "a\0\n\xff\""),
	ROW("an empty value is nothing", TEMPLATE_PLAIN, "", ""),
	ROW("unreserved characters of a URL stay", TEMPLATE_URL, "AZaz09-._~", "AZaz09-._~"),
	ROW("reserved ones are encoded", TEMPLATE_URL, "p@ss/w:rd?#[]",
		"p%40ss%2Fw%3Ard%3F%23%5B%5D"),
	ROW("a blank, a plus and a percent sign are encoded", TEMPLATE_URL, " +%", "%20%2B%25"),
	ROW("every byte can stand in a URL", TEMPLATE_URL, "\0\n\x7f\x80\xff", "%00%0A%7F%80%FF"),
	ROW("an empty value in a URL", TEMPLATE_URL, "", ""),
	ROW("quotes and backslashes are escaped in JSON", TEMPLATE_JSON, "a\"b\\c/",
		"a\\\"b\\\\c/"),
	ROW("control characters are escaped in JSON", TEMPLATE_JSON, "\b\f\n\r\t\x01\x1f\0",
		"\\b\\f\\n\\r\\t\\u0001\\u001f\\u0000"),
	ROW("DEL stays in JSON", TEMPLATE_JSON, "\x7f", "\x7f"),
	ROW("UTF-8 of two, three and four bytes stays", TEMPLATE_JSON,
		"\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x91", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x91"),
	ROW("the last character that there is", TEMPLATE_JSON, "\xf4\x8f\xbf\xbf",
		"\xf4\x8f\xbf\xbf"),
	ROW("the one before the surrogates", TEMPLATE_JSON, "\xed\x9f\xbf", "\xed\x9f\xbf"),
	REFUSED("a single byte above 127", TEMPLATE_JSON, "\xe4"),
	REFUSED("a continuation without a start", TEMPLATE_JSON, "a\x80"),
	REFUSED("a sequence that ends too early", TEMPLATE_JSON, "\xe2\x82"),
	REFUSED("a sequence that is broken off", TEMPLATE_JSON,
		"\xe2\x82"
		"a"),
	REFUSED("a slash in two bytes", TEMPLATE_JSON, "\xc0\xaf"),
	REFUSED("a slash in three bytes", TEMPLATE_JSON, "\xe0\x80\xaf"),
	REFUSED("a slash in four bytes", TEMPLATE_JSON, "\xf0\x80\x80\xaf"),
	REFUSED("a surrogate", TEMPLATE_JSON, "\xed\xa0\x80"),
	REFUSED("a character that there is not", TEMPLATE_JSON, "\xf4\x90\x80\x80"),
	REFUSED("a byte that no sequence has", TEMPLATE_JSON, "\xff"),
	ROW("an empty value in base64", TEMPLATE_BASE64, "", ""),
	ROW("base64 with two signs of padding", TEMPLATE_BASE64, "f", "Zg=="),
	ROW("base64 with one sign of padding", TEMPLATE_BASE64, "fo", "Zm8="),
	ROW("base64 without padding", TEMPLATE_BASE64, "foobar", "Zm9vYmFy"),
	ROW("base64 of any bytes", TEMPLATE_BASE64, "\xfb\xff\xfe\0\n", "+//+AAo="),
#undef ROW
#undef REFUSED
};

/* Between two literals, so that a byte too much or too little shows. */
START_TEST(a_value_is_rendered)
{
	struct arena *arena = new_arena();
	struct named_value value = { "v",
		new_secret(arena, values_rendered[_i].value, values_rendered[_i].length) };
	struct values values = { &value, 1 };
	struct template_part parts[] = { { .literal = "<" },
		{ .secret = "v", .filter = values_rendered[_i].filter }, { .literal = ">" } };
	const struct policy_entry entry = { .path = "t", .parts = parts, .parts_count = 3 };
	const size_t length = values_rendered[_i].expect_length;
	struct secret out = { 0 };
	struct mayfly_error err;
	const int r = template_render(&entry, lookup, &values, arena, &out, &err);

	if (values_rendered[_i].expect) {
		ck_assert_msg(r == 0, "%s: %s", values_rendered[_i].reads_as, err.text);
		ck_assert_uint_eq(out.length, length + 2);
		ck_assert_mem_eq(out.bytes, "<", 1);
		ck_assert_msg(memcmp(out.bytes + 1, values_rendered[_i].expect, length) == 0, "%s",
			values_rendered[_i].reads_as);
		ck_assert_mem_eq(out.bytes + 1 + length, ">", 1);
	} else {
		ck_assert_msg(r == -EILSEQ, "%s", values_rendered[_i].reads_as);
		ck_assert_str_eq(err.text, "render 't': the value of 'v' is not UTF-8, which "
					   "'|json' needs; use '|base64'");
	}
	secret_done(&out);
	secret_done(&value.value);
	ck_assert_uint_eq(arena_used_bytes(arena), 0);
	arena_free(arena);
}
END_TEST

START_TEST(a_template_of_a_policy_is_rendered)
{
	struct policy *policy = policy_example(
		"{\"grants\": [{\"name\": \"g\", \"match\": {\"compose.project\": \"shop\"},"
		"\"secrets\": [{\"template\": \"{\\\"url\\\": "
		"\\\"db://{{u/ser|url}}:{{p|url}}@h/\\\","
		" \\\"k\\\": \\\"{{p|json}}\\\", \\\"b\\\": {\\\"c\\\": \\\"{{p|base64}}\\\"}}\","
		" \"as\": \"t\"}]}]}");
	struct arena *arena = new_arena();
	struct named_value items[] = { { "p", new_secret(arena, "\"x y\"", 5) },
		{ "u/ser", new_secret(arena, "me@", 3) } };
	struct values values = { items, 2 };
	static const char expect[] = "{\"url\": \"db://me%40:%22x%20y%22@h/\","
				     " \"k\": \"\\\"x y\\\"\", \"b\": {\"c\": \"InggeSI=\"}}";
	struct secret out = { 0 };

	ck_assert_int_eq(
		template_render(&policy->grants[0].entries[0], lookup, &values, arena, &out, NULL),
		0);
	ck_assert_uint_eq(out.length, sizeof expect - 1);
	ck_assert_mem_eq(out.bytes, expect, sizeof expect - 1);
	secret_done(&out);
	secret_done(&items[0].value);
	secret_done(&items[1].value);
	arena_free(arena);
	policy_unref(policy);
}
END_TEST

START_TEST(a_secret_that_is_not_there_is_named)
{
	struct arena *arena = new_arena();
	struct values values = { NULL, 0 };
	struct template_part part = { .secret = "gone" };
	const struct policy_entry entry = { .path = "t", .parts = &part, .parts_count = 1 };
	struct secret out = { 0 };
	struct mayfly_error err;

	ck_assert_int_eq(template_render(&entry, lookup, &values, arena, &out, &err), -ENOENT);
	ck_assert_str_eq(err.text, "render 't': the template's secret 'gone' does not exist");
	ck_assert_int_eq(template_render(&entry, lookup, &values, arena, &out, NULL), -ENOENT);
	arena_free(arena);
}
END_TEST

/* The next page is the next secret's: its first bytes would complete the sequence. */
START_TEST(a_sequence_that_ends_with_its_value_is_not_completed_by_the_next)
{
	struct arena *arena = new_arena();
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct named_value value = { "v", { 0 } };
	struct values values = { &value, 1 };
	struct template_part part = { .secret = "v", .filter = TEMPLATE_JSON };
	const struct policy_entry entry = { .path = "t", .parts = &part, .parts_count = 1 };
	struct secret next, out = { 0 };

	ck_assert_int_eq(secret_new(arena, page, &value.value, NULL), 0);
	memset(value.value.bytes, 'a', page);
	value.value.bytes[page - 1] = 0xe2;
	next = new_secret(arena, "\x82\xac", 2);
	ck_assert_ptr_eq(next.bytes, value.value.bytes + page);
	ck_assert_int_eq(template_render(&entry, lookup, &values, arena, &out, NULL), -EILSEQ);
	secret_done(&next);
	secret_done(&value.value);
	arena_free(arena);
}
END_TEST

START_TEST(a_file_of_one_mebibyte_fits_and_one_byte_more_does_not)
{
	struct arena *arena = new_arena();
	struct secret big = { 0 };
	struct named_value value;
	struct values values = { &value, 1 };
	struct template_part parts[] = { { .secret = "v" }, { .literal = "x" } };
	struct policy_entry entry = { .path = "t", .parts = parts, .parts_count = 1 };
	struct secret out = { 0 };

	ck_assert_int_eq(secret_new(arena, MAYFLY_VALUE_MAX_BYTES, &big, NULL), 0);
	value = (struct named_value){ "v", big };
	ck_assert_int_eq(template_render(&entry, lookup, &values, arena, &out, NULL), 0);
	ck_assert_uint_eq(out.length, MAYFLY_VALUE_MAX_BYTES);
	secret_done(&out);
	entry.parts_count = 2;
	ck_assert_int_eq(template_render(&entry, lookup, &values, arena, &out, NULL), -EFBIG);
	entry.parts_count = 1;
	parts[0].filter = TEMPLATE_BASE64;
	ck_assert_int_eq(template_render(&entry, lookup, &values, arena, &out, NULL), -EFBIG);
	secret_done(&value.value);
	arena_free(arena);
}
END_TEST

/* Against decoders that are not ours: jansson's and libsodium's. */
START_TEST(what_is_encoded_can_be_decoded)
{
	struct arena *arena = new_arena();
	unsigned char bytes[64], decoded[64];
	uint8_t seed[randombytes_SEEDBYTES] = { 7 };

	for (unsigned round = 0; round < 500; round++) {
		const size_t length = round % sizeof bytes;
		struct named_value value;
		struct values values = { &value, 1 };
		struct template_part parts[] = { { .literal = "[\"" },
			{ .secret = "v", .filter = TEMPLATE_JSON }, { .literal = "\"]" } };
		const struct policy_entry entry = { .path = "t", .parts = parts, .parts_count = 3 };
		const struct policy_entry single = {
			.path = "t", .parts = &parts[1], .parts_count = 1
		};
		struct secret out = { 0 };
		size_t decoded_length = 0;
		json_t *array;

		memcpy(seed, &round, sizeof round);
		randombytes_buf_deterministic(bytes, sizeof bytes, seed);
		for (size_t i = 0; i < length; i++)
			bytes[i] &= 0x7f;
		value = (struct named_value){ "v", new_secret(arena, bytes, length) };
		ck_assert_int_eq(template_render(&entry, lookup, &values, arena, &out, NULL), 0);
		array = json_loadb((char *)out.bytes, out.length, JSON_ALLOW_NUL, NULL);
		ck_assert_ptr_nonnull(array);
		ck_assert_uint_eq(json_string_length(json_array_get(array, 0)), length);
		ck_assert_int_eq(
			memcmp(json_string_value(json_array_get(array, 0)), bytes, length), 0);
		json_decref(array);
		secret_done(&out);

		parts[1].filter = TEMPLATE_BASE64;
		ck_assert_int_eq(template_render(&single, lookup, &values, arena, &out, NULL), 0);
		ck_assert_int_eq(
			sodium_base642bin(decoded, sizeof decoded, (char *)out.bytes, out.length,
				NULL, &decoded_length, NULL, sodium_base64_VARIANT_ORIGINAL),
			0);
		ck_assert_uint_eq(decoded_length, length);
		ck_assert_int_eq(memcmp(decoded, bytes, length), 0);
		secret_done(&out);
		secret_done(&value.value);
	}
	arena_free(arena);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(
		cases, a_value_is_rendered, 0, sizeof values_rendered / sizeof values_rendered[0]);
	tcase_add_test(cases, a_template_of_a_policy_is_rendered);
	tcase_add_test(cases, a_secret_that_is_not_there_is_named);
	tcase_add_test(cases, a_sequence_that_ends_with_its_value_is_not_completed_by_the_next);
	tcase_add_test(cases, a_file_of_one_mebibyte_fits_and_one_byte_more_does_not);
	tcase_add_test(cases, what_is_encoded_can_be_decoded);
}

int main(void)
{
	return unit_test_run("template", add);
}
