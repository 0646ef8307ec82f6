#include "daemon/broker/https/json_slice.h"

#include "unit_test.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

static const struct {
	const char *reads_as;
	const char *text;
	bool valid;
} documents[] = {
	{ "an object", "{\"a\":1}", true },
	{ "white space all around", " \t\r\n{ \"a\" : [ 1 , 2 ] } \n", true },
	{ "a number alone", "-0.5e+10", true },
	{ "a string alone", "\"\"", true },
	{ "every escape", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\ud83d\\ude00\"", true },
	{ "four bytes of UTF-8", "\"\xf0\x9f\x98\x80\"", true },
	{ "nothing", "", false },
	{ "white space only", "  ", false },
	{ "two values", "{} {}", false },
	{ "a comma too many", "[1,]", false },
	{ "a comma too few", "[1 2]", false },
	{ "a key without value", "{\"a\"}", false },
	{ "a key that is no string", "{1:2}", false },
	{ "an object that does not end", "{\"a\":1", false },
	{ "a string that does not end", "\"abc", false },
	{ "a backslash at the end", "\"\\", false },
	{ "an unknown escape", "\"\\x41\"", false },
	{ "half a code point", "\"\\ud83d\"", false },
	{ "the wrong half first", "\"\\ude00\\ud83d\"", false },
	{ "a line's end in a string", "\"a\nb\"", false },
	{ "a zero digit in front", "01", false },
	{ "a point without digits", "1.", false },
	{ "an exponent without digits", "1e", false },
	{ "a plus in front", "+1", false },
	{ "a word that is none", "nul", false },
	{ "not a number", "NaN", false },
	{ "an overlong character", "\"\xc0\xaf\"", false },
	{ "a surrogate in UTF-8", "\"\xed\xa0\x80\"", false },
	{ "a character that is cut off", "\"\xf0\x9f\x98\"", false },
	{ "a comment", "{} // x", false },
};

START_TEST(is_accepted_or_not)
{
	struct json_slice document;
	const int r = json_slice_check(documents[_i].text, strlen(documents[_i].text), &document);

	ck_assert_msg((r == 0) == documents[_i].valid, "%s", documents[_i].reads_as);
}
END_TEST

/* A second opinion on each of them. */
START_TEST(jansson_thinks_the_same)
{
	json_t *json = json_loads(documents[_i].text, JSON_DECODE_ANY, NULL);

	ck_assert_msg((json != NULL) == documents[_i].valid, "%s", documents[_i].reads_as);
	json_decref(json);
}
END_TEST

START_TEST(nesting_ends_at_the_limit)
{
	char text[2 * JSON_SLICE_DEPTH_MAX + 3];
	struct json_slice document;

	for (size_t depth = JSON_SLICE_DEPTH_MAX; depth <= JSON_SLICE_DEPTH_MAX + 1; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		ck_assert_int_eq(json_slice_check(text, 2 * depth, &document),
			depth <= JSON_SLICE_DEPTH_MAX ? 0 : -EBADMSG);
	}
}
END_TEST

static struct json_slice parsed(const char *text)
{
	struct json_slice document;

	ck_assert_int_eq(json_slice_check(text, strlen(text), &document), 0);
	return document;
}

START_TEST(members_are_found_by_what_their_keys_mean)
{
	const struct json_slice document =
		parsed("{\"a\" : {\"b\\u0063\":[10,{\"x\":\"y\"}]}, \"aa\":2}");
	struct json_slice found, item;
	int64_t number;

	ck_assert(json_slice_path(document, (const char *const[]){ "a", "bc", NULL }, &found));
	ck_assert_uint_eq(json_slice_count(found), 2);
	ck_assert(json_slice_item(found, 0, &item) && json_slice_integer(item, &number));
	ck_assert_int_eq(number, 10);
	ck_assert(json_slice_item(found, 1, &item));
	ck_assert_uint_eq(item.length, strlen("{\"x\":\"y\"}"));
	ck_assert(!json_slice_item(found, 2, &item));
	ck_assert(!json_slice_member(document, "b", &found));
	ck_assert(!json_slice_member(document, "", &found));
	ck_assert(json_slice_member(document, "aa", &found) && json_slice_integer(found, &number));
	ck_assert_int_eq(number, 2);
}
END_TEST

START_TEST(a_key_that_stands_there_twice_is_not_found)
{
	struct json_slice found;

	ck_assert(!json_slice_member(parsed("{\"a\":1,\"\\u0061\":2}"), "a", &found));
}
END_TEST

START_TEST(strings_are_decoded_into_what_the_caller_has)
{
	const struct json_slice document = parsed("\"p\\u00e4ss\\n\\ud83d\\ude00\\u0000!\"");
	char buffer[32];
	const ssize_t length = json_slice_decode(document, NULL);

	ck_assert_int_eq(length, 12);
	ck_assert_int_eq(json_slice_decode(document, buffer), length);
	ck_assert_mem_eq(buffer, "p\xc3\xa4ss\n\xf0\x9f\x98\x80\0!", 12);
	/* As text it would end in its middle. */
	ck_assert(!json_slice_text(document, buffer, sizeof buffer));
	ck_assert(!json_slice_text(parsed("\"abc\""), buffer, 3));
	ck_assert(json_slice_text(parsed("\"abc\""), buffer, 4));
	ck_assert_int_eq(json_slice_decode(parsed("12"), buffer), -EINVAL);
}
END_TEST

static const struct {
	const char *text;
	bool fits;
	int64_t value;
} numbers[] = {
	{ "0", true, 0 },
	{ "-7", true, -7 },
	{ "2764800", true, 2764800 },
	{ "1.0", false, 0 },
	{ "1e3", false, 0 },
	{ "99999999999999999999", false, 0 },
	{ "true", false, 0 },
	{ "\"1\"", false, 0 },
};

START_TEST(numbers_are_whole_and_fit)
{
	int64_t value = 0;

	ck_assert_int_eq(json_slice_integer(parsed(numbers[_i].text), &value), numbers[_i].fits);
	ck_assert_int_eq(value, numbers[_i].value);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, is_accepted_or_not, 0, sizeof documents / sizeof documents[0]);
	tcase_add_loop_test(
		cases, jansson_thinks_the_same, 0, sizeof documents / sizeof documents[0]);
	tcase_add_test(cases, nesting_ends_at_the_limit);
	tcase_add_test(cases, members_are_found_by_what_their_keys_mean);
	tcase_add_test(cases, a_key_that_stands_there_twice_is_not_found);
	tcase_add_test(cases, strings_are_decoded_into_what_the_caller_has);
	tcase_add_loop_test(
		cases, numbers_are_whole_and_fit, 0, sizeof numbers / sizeof numbers[0]);
}

int main(void)
{
	return unit_test_run("json_slice", add);
}
