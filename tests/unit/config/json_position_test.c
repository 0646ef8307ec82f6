#include "daemon/broker/config/json_position.h"

#include "unit_test.h"

#include <errno.h>
#include <string.h>

/* STEPS: keys and indices joined by blanks, from the root. */
static const struct {
	const char *reads_as;
	const char *text;
	const char *steps;
	unsigned line, key_line;
} places[] = {
	{ "the root", "{}", "", 1, 1 },
	{ "the root below blank lines", "\n\n\t{}", "", 3, 3 },
	{ "a member", "{\n\"a\": 1\n}", "a", 2, 2 },
	{ "a value on another line than its key", "{\n\"a\"\n:\n1}", "a", 4, 2 },
	{ "a member behind others", "{\"a\": [\n1,\n2\n],\n\"b\": {}}", "b", 5, 5 },
	{ "an item", "[\n1,\n[2,\n3]]", "1 1", 4, 4 },
	{ "a member of an item", "{\"a\": [{}, {\"b\":\n\"x\"}]}", "a 1 b", 2, 1 },
	{ "braces and quotes in a text", "{\"a\": \"]},{\\\"\\\\\",\n\"b\": 1}", "b", 2, 2 },
	{ "an escaped key", "{\"\\u0061\\n\": 0,\n\"\\u0062\": 1}", "b", 2, 2 },
	{ "a newline written as an escape", "{\"a\": \"\\n\\n\",\n\"b\": 1}", "b", 2, 2 },
	{ "numbers and words", "{\"a\": -1.5e+3,\"b\": true,\n\"c\": null,\n\"d\": 1}", "d", 3, 3 },
	{ "windows line ends", "{\r\n\"a\": 1,\r\n\"b\": 2}", "b", 3, 3 },
	{ "containers that are empty", "{\"a\": {},\n\"b\": [ ],\n\"c\": [[], {}],\n\"d\": 1}", "d",
		4, 4 },
	{ "keys in an order that is not theirs", "{\"z\": 1,\n\"a\": 2,\n\"m\": 3,\n\"b\": 4}", "b",
		4, 4 },
};

static struct json_place step_into(struct json_place place, const char *step)
{
	struct json_walk walk = json_walk_start(place);
	struct json_place next = { 0 };

	if (json_is_object(place.value)) {
		ck_assert(json_place_member(place, step, &next));
		return next;
	}
	for (int i = 0; i <= atoi(step); i++)
		ck_assert(json_walk_next(&walk, &next));
	return next;
}

START_TEST(the_line_is_known_of)
{
	struct json_document document;
	struct complaints complaints = { 0 };
	struct json_place place;
	char *steps = strdup(places[_i].steps), *rest = NULL;

	ck_assert_int_eq(json_document_parse("f", places[_i].text, strlen(places[_i].text),
				 &document, &complaints),
		0);
	place = json_document_root(&document);
	for (char *step = strtok_r(steps, " ", &rest); step; step = strtok_r(NULL, " ", &rest))
		place = step_into(place, step);
	ck_assert_msg(json_place_line(place) == places[_i].line, "%s: line %u", places[_i].reads_as,
		json_place_line(place));
	ck_assert_msg(json_place_key_line(place) == places[_i].key_line, "%s: key on line %u",
		places[_i].reads_as, json_place_key_line(place));
	complaint_at(&complaints, place, "near", "%s", "wrong");
	ck_assert_str_eq(complaints.items[0].text, "wrong");
	ck_assert_str_eq(complaints.items[0].nearest, "near");
	complaints_done(&complaints);
	json_document_done(&document);
	free(steps);
}
END_TEST

static const struct {
	const char *reads_as;
	const char *text;
	const char *where;
} broken[] = {
	{ "nothing", "", "f:1" },
	{ "blank lines only", "\n\n", "f:3" },
	{ "a bare word", "x", "f:1" },
	{ "a missing value", "{\n\"a\":\n}", "f:3" },
	{ "an end that is missing", "{\n\"a\": 1\n", "f:3" },
	{ "a key twice", "{\n\"a\": 1,\n\"a\": 2}", "f:3" },
	{ "a key twice, once escaped", "{\n\"a\": 1,\n\"\\u0061\": 2}", "f:3" },
	{ "something behind the end", "{}\n{}", "f:2" },
	{ "a newline in a text", "{\"a\": \"\n\"}", "f:1" },
	{ "a NUL as an escape", "[\n\"\\u0000\"]", "f:2" },
	{ "half a surrogate pair", "[\n\"\\ud800\"]", "f:2" },
};

START_TEST(a_text_is_refused_with_its_line)
{
	struct json_document document = { 0 };
	struct complaints complaints = { 0 };

	ck_assert_msg(json_document_parse("f", broken[_i].text, strlen(broken[_i].text), &document,
			      &complaints) == -EINVAL,
		"%s", broken[_i].reads_as);
	ck_assert_uint_eq(complaints.count, 1);
	ck_assert_msg(strcmp(complaints.items[0].where, broken[_i].where) == 0, "%s: %s",
		broken[_i].reads_as, complaints.items[0].where);
	ck_assert_ptr_null(document.root);
	complaints_done(&complaints);
}
END_TEST

START_TEST(what_a_terminal_would_obey_is_not_shown)
{
	static const char text[] = "{\"a\": \x1b[2Jx}";
	struct json_document document = { 0 };
	struct complaints complaints = { 0 };

	ck_assert_int_eq(
		json_document_parse("f", text, sizeof text - 1, &document, &complaints), -EINVAL);
	ck_assert_ptr_null(strchr(complaints.items[0].text, 0x1b));
	complaints_done(&complaints);
}
END_TEST

/* As deep as jansson reads, and one deeper. */
START_TEST(a_text_may_be_deep)
{
	char text[2 * 2049];
	struct json_document document;
	struct complaints complaints = { 0 };

	memset(text, '[', 2048);
	memset(text + 2048, ']', 2048);
	ck_assert_int_eq(json_document_parse("f", text, 2 * 2048, &document, &complaints), 0);
	ck_assert_uint_eq(document.positions_count, 2048);
	json_document_done(&document);
	memset(text, '[', 2049);
	memset(text + 2049, ']', 2049);
	ck_assert_int_eq(
		json_document_parse("f", text, sizeof text, &document, &complaints), -EINVAL);
	complaints_done(&complaints);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, the_line_is_known_of, 0, sizeof places / sizeof places[0]);
	tcase_add_loop_test(
		cases, a_text_is_refused_with_its_line, 0, sizeof broken / sizeof broken[0]);
	tcase_add_test(cases, what_a_terminal_would_obey_is_not_shown);
	tcase_add_test(cases, a_text_may_be_deep);
}

int main(void)
{
	return unit_test_run("json_position", add);
}
