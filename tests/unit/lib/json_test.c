/* The library's own JSON, UTF-8 and times: what is taken, what is refused, and jansson's opinion.
 */
#include "client/lib/rfc3339.h"
#include "client/lib/wire/json_tree.h"
#include "client/lib/wire/text_buffer.h"
#include "client/lib/wire/utf8.h"

#include "unit_test.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* Reads LENGTH bytes of TEXT from a copy of exactly their size, as a sanitizer sees what is read
 * beyond. */
static int read_json(const char *text, size_t length, char **ret_copy, struct json_tree *ret_tree)
{
	*ret_copy = malloc(length + 1);
	ck_assert_ptr_nonnull(*ret_copy);
	memcpy(*ret_copy, text, length);
	return json_tree_read(*ret_copy, length, ret_tree);
}

static const struct {
	const char *text;
	int result;
} texts[] = {
	{ "null", 0 },
	{ " [ ] ", 0 },
	{ "\t\r\n{}\n", 0 },
	{ "{\"a\":1,\"b\":[true,false,null,\"x\",-0,0.5e+3,1E9]}", 0 },
	{ "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\ud83d\\ude00\"", 0 },
	{ "\"\x7f\"", 0 },
	{ "9223372036854775808", 0 },
	{ "1e999", 0 },
	{ "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]", 0 },
	{ "", -EBADMSG },
	{ " ", -EBADMSG },
	{ "nul", -EBADMSG },
	{ "nullx", -EBADMSG },
	{ "True", -EBADMSG },
	{ "[1,]", -EBADMSG },
	{ "[,1]", -EBADMSG },
	{ "[1 2]", -EBADMSG },
	{ "[1", -EBADMSG },
	{ "[1}", -EBADMSG },
	{ "{\"a\"}", -EBADMSG },
	{ "{\"a\":}", -EBADMSG },
	{ "{\"a\":1,}", -EBADMSG },
	{ "{a:1}", -EBADMSG },
	{ "{1:1}", -EBADMSG },
	{ "{\"a\":1,\"a\":2}", -EBADMSG },
	{ "{\"a\":1,\"\\u0061\":2}", -EBADMSG },
	{ "[] []", -EBADMSG },
	{ "01", -EBADMSG },
	{ "-", -EBADMSG },
	{ "+1", -EBADMSG },
	{ ".5", -EBADMSG },
	{ "1.", -EBADMSG },
	{ "1e", -EBADMSG },
	{ "1e+", -EBADMSG },
	{ "0x10", -EBADMSG },
	{ "NaN", -EBADMSG },
	{ "\"", -EBADMSG },
	{ "\"a", -EBADMSG },
	{ "\"\\\"", -EBADMSG },
	{ "\"\n\"", -EBADMSG },
	{ "\"\\x41\"", -EBADMSG },
	{ "\"\\u\"", -EBADMSG },
	{ "\"\\u00\"", -EBADMSG },
	{ "\"\\u00g0\"", -EBADMSG },
	{ "\"\\u0000\"", -EBADMSG },
	{ "\"\\ud83d\"", -EBADMSG },
	{ "\"\\ud83dx\"", -EBADMSG },
	{ "\"\\ud83d\\u0041\"", -EBADMSG },
	{ "\"\\ude00\"", -EBADMSG },
	{ "\"\xff\"", -EBADMSG },
	{ "\"\xc0\x80\"", -EBADMSG },
	{ "\"\xed\xa0\x80\"", -EBADMSG },
	{ "\"\xf4\x90\x80\x80\"", -EBADMSG },
	{ "\"\xe2\x82\"", -EBADMSG },
	{ "\xef\xbb\xbf[]", -EBADMSG },
	{ "// x\n[]", -EBADMSG },
	{ "[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]", -E2BIG },
};

START_TEST(a_text_is_taken_or_refused)
{
	struct json_tree tree = { 0 };
	char *copy;

	ck_assert_msg(
		read_json(texts[_i].text, strlen(texts[_i].text), &copy, &tree) == texts[_i].result,
		"%s", texts[_i].text);
	json_tree_done(&tree);
	free(copy);
}
END_TEST

START_TEST(a_tree_has_what_the_text_has)
{
	static const char text[] =
		"{\"s\":\"a\\u20ac\\\"\\ud83d\\ude00\",\"n\":-9223372036854775808,"
		"\"r\":1.5,\"l\":[1,[],\"x\"],\"z\":null,\"o\":{\"s\":\"in\"}}";
	struct json_tree tree;
	const struct json_node *root, *list;
	char *copy;

	ck_assert_int_eq(read_json(text, strlen(text), &copy, &tree), 0);
	root = tree.nodes;
	ck_assert_uint_eq(root->count, 6);
	ck_assert_str_eq(json_node_text(json_tree_member(&tree, root, "s")),
		"a\xe2\x82\xac\"\xf0\x9f\x98\x80");
	ck_assert_int_eq(json_tree_member(&tree, root, "n")->number, INT64_MIN);
	ck_assert_int_eq(json_tree_member(&tree, root, "n")->kind, NODE_INTEGER);
	ck_assert_int_eq(json_tree_member(&tree, root, "r")->kind, NODE_NUMBER);
	ck_assert_ptr_null(json_node_text(json_tree_member(&tree, root, "r")));
	ck_assert_ptr_null(json_tree_member(&tree, root, "z"));
	ck_assert_ptr_null(json_tree_member(&tree, root, "absent"));
	list = json_tree_member(&tree, root, "l");
	ck_assert_uint_eq(list->count, 3);
	ck_assert_int_eq(json_tree_item(&tree, list, 0)->number, 1);
	ck_assert_str_eq(json_node_text(json_tree_item(&tree, list, 2)), "x");
	ck_assert_ptr_null(json_tree_item(&tree, list, 3));
	ck_assert_ptr_null(json_tree_item(&tree, root, 0));
	ck_assert_ptr_null(json_tree_member(&tree, list, "s"));
	ck_assert_ptr_null(json_tree_member(&tree, NULL, "s"));
	json_tree_done(&tree);
	free(copy);
}
END_TEST

/* COUNT zeros in an array, or as an object's members. */
static int read_repeated(size_t count, bool is_object)
{
	struct text_buffer text = { 0 };
	struct json_tree tree = { 0 };
	char *copy;
	int r;

	text_buffer_add_text(&text, is_object ? "{" : "[");
	for (size_t i = 0; i < count; i++) {
		text_buffer_add_text(&text, i ? "," : "");
		if (is_object) {
			text_buffer_add_text(&text, "\"");
			text_buffer_add_number(&text, i);
			text_buffer_add_text(&text, "\":");
		}
		text_buffer_add_text(&text, "0");
	}
	text_buffer_add_text(&text, is_object ? "}" : "]");
	ck_assert(!text.is_failed);
	r = read_json(text.bytes, text.length, &copy, &tree);
	json_tree_done(&tree);
	free(copy);
	text_buffer_done(&text);
	return r;
}

START_TEST(a_tree_has_bounds)
{
	ck_assert_int_eq(read_repeated(JSON_NODES_MAX - 1, false), 0);
	ck_assert_int_eq(read_repeated(JSON_NODES_MAX, false), -E2BIG);
	ck_assert_int_eq(read_repeated(JSON_MEMBERS_MAX, true), 0);
	ck_assert_int_eq(read_repeated(JSON_MEMBERS_MAX + 1, true), -E2BIG);
}
END_TEST

START_TEST(what_is_written_is_read_as_it_was)
{
	char every[128 + 8];
	struct text_buffer out = { 0 };
	struct json_tree tree;

	for (int c = 1; c < 128; c++)
		every[c - 1] = (char)c;
	memcpy(every + 127, "\xe2\x82\xac", 4);
	text_buffer_add_json(&out, every);
	ck_assert_int_eq(json_tree_read(out.bytes, out.length, &tree), 0);
	ck_assert_str_eq(json_node_text(tree.nodes), every);
	json_tree_done(&tree);
	text_buffer_done(&out);
	text_buffer_add_json(&out, NULL);
	text_buffer_add_number(&out, 18446744073709551615ULL);
	ck_assert_mem_eq(out.bytes, "null18446744073709551615", out.length);
	text_buffer_done(&out);
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* Changes some bytes of TEXT to others that JSON is made of. */
static void mutate(char *text, size_t length, uint32_t *state)
{
	static const char stuff[] =
		"{}[]\",:\\u0123456789abcdefDd8-+.eE tnrfl\n\xe2\x82\xac\xf0\xff";

	for (uint32_t i = next_random(state) % 4 + 1; i > 0; i--)
		text[next_random(state) % length] = stuff[next_random(state) % (sizeof stuff - 1)];
}

/* True if both readers may differ about what jansson says so of: numbers that it cannot hold. */
static bool is_about_numbers(const json_error_t *error)
{
	return strstr(error->text, "too big") || strstr(error->text, "overflow");
}

START_TEST(jansson_takes_and_refuses_the_same)
{
	static const char *const seeds[] = {
		"{\"a\":1,\"b\":[true,{\"c\":\"x\\u20ac\"}],\"d\":-1.5e3}",
		"[\"\\ud83d\\ude00\",\"\xe2\x82\xac\",\"\xf0\x9f\x98\x80\",0,10,null,false]",
		"{\"\":{},\"k\":[],\"a\":\"\\\"\\\\\\/\\b\",\"e\":1e5,\"f\":0.25}"
	};
	uint32_t state = 2463534242;
	unsigned taken = 0, refused = 0;

	for (int i = 0; i < 300000; i++) {
		const char *seed = seeds[i % 3];
		const size_t length = strlen(seed);
		char text[128];
		struct json_tree tree = { 0 };
		json_error_t error;
		json_t *json;
		int r;

		memcpy(text, seed, length + 1);
		mutate(text, length, &state);
		json = json_loadb(text, length, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
		char original[128];
		memcpy(original, text, length + 1);
		r = json_tree_read(text, length, &tree);
		ck_assert_msg((r == 0) == (json != NULL) || (r == 0 && is_about_numbers(&error)),
			"%s: we say %d, jansson %s", original, r, json ? "yes" : error.text);
		*(r == 0 ? &taken : &refused) += 1;
		json_tree_done(&tree);
		json_decref(json);
	}
	/* Otherwise nothing was compared. */
	ck_assert_uint_gt(taken, 1000);
	ck_assert_uint_gt(refused, 1000);
}
END_TEST

START_TEST(every_character_survives)
{
	for (uint32_t c = 1; c <= 0x10ffff; c++) {
		char text[4];
		const size_t size = utf8_write(c, text);
		const bool is_surrogate = c >= 0xd800 && c < 0xe000;

		/* An assertion for each would take seconds. */
		if (utf8_character(text, size) != (is_surrogate ? 0 : size) ||
			(size > 1 && utf8_character(text, size - 1) != 0))
			ck_abort_msg("U+%04x", c);
	}
	ck_assert_uint_eq(utf8_whole("a\xe2\x82\xac\xe2\x82", 6), 4);
	ck_assert(utf8_is_valid("", 0));
}
END_TEST

static const struct {
	const char *text;
	int64_t unix_s; /* -1: no such time */
} times[] = {
	{ "1970-01-01T00:00:00Z", 0 },
	{ "2025-01-02T03:04:05Z", 1735787045 },
	{ "2025-01-02T03:04:05.999999999Z", 1735787045 },
	{ "2024-02-29T23:59:60Z", 1709251200 },
	{ "2000-02-29T00:00:00Z", 951782400 },
	{ "9999-12-31T23:59:59Z", 253402300799 },
	{ "1900-02-29T00:00:00Z", -1 },
	{ "2025-02-29T00:00:00Z", -1 },
	{ "2025-00-01T00:00:00Z", -1 },
	{ "2025-13-01T00:00:00Z", -1 },
	{ "2025-01-00T00:00:00Z", -1 },
	{ "2025-01-32T00:00:00Z", -1 },
	{ "2025-01-01T24:00:00Z", -1 },
	{ "2025-01-01T00:60:00Z", -1 },
	{ "2025-01-01T00:00:61Z", -1 },
	{ "2025-01-01T00:00:00", -1 },
	{ "2025-01-01T00:00:00+00:00", -1 },
	{ "2025-01-01 00:00:00Z", -1 },
	{ "2025-01-01T00:00:00.Z", -1 },
	{ "2025-1-01T00:00:00Z", -1 },
	{ "", -1 },
	{ NULL, -1 },
};

START_TEST(a_time_is_read)
{
	int64_t unix_s = -1;
	const bool is_time = rfc3339_parse(times[_i].text, &unix_s);

	ck_assert_msg(is_time == (times[_i].unix_s != -1), "%s", times[_i].text);
	ck_assert_msg(unix_s == times[_i].unix_s, "%s: %lld", times[_i].text, (long long)unix_s);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_text_is_taken_or_refused, 0, sizeof texts / sizeof texts[0]);
	tcase_add_test(cases, a_tree_has_what_the_text_has);
	tcase_add_test(cases, a_tree_has_bounds);
	tcase_add_test(cases, what_is_written_is_read_as_it_was);
	tcase_add_test(cases, jansson_takes_and_refuses_the_same);
	tcase_add_test(cases, every_character_survives);
	tcase_add_loop_test(cases, a_time_is_read, 0, sizeof times / sizeof times[0]);
}

int main(void)
{
	return unit_test_run("lib_json", add);
}
