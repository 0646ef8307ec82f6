#include "daemon/broker/config/json_schema.h"

#include "unit_test.h"

#include <signal.h>
#include <string.h>

static struct json_schema *schema_of(const char *text)
{
	const struct schema_text schema_text = { text, strlen(text) };
	struct json_schema *schema = NULL;

	ck_assert_int_eq(json_schema_new(&schema_text, &schema), 0);
	return schema;
}

/* SAYS: the one complaint; NULL when the document is good. */
static const struct {
	const char *schema;
	const char *document;
	const char *says;
} rows[] = {
	{ "{'items': {'type': 'string'}}", "['a', '']", NULL },
	{ "{'items': {'type': 'string'}}", "['a', 1]",
		"this entry must be a string, not a whole number" },
	{ "{'items': {'type': 'string', 'title': 'a word'}}", "[null]",
		"this entry must be a string, not null (a word)" },
	{ "{'items': {'type': 'integer'}}", "[0, -1, 4294967296]", NULL },
	{ "{'items': {'type': 'integer'}}", "[1.0]",
		"this entry must be a whole number, not a number with a fraction" },
	{ "{'items': {'type': 'boolean'}}", "[true, false]", NULL },
	{ "{'items': {'type': 'boolean'}}", "['true']",
		"this entry must be true or false, not a string" },
	{ "{'items': {'type': ['string', 'integer'], 'title': 'a name or number'}}", "['a', 1]",
		NULL },
	{ "{'items': {'type': ['string', 'integer'], 'title': 'a name or number'}}", "[[]]",
		"this entry must be a name or number, not a list" },
	{ "{'type': 'object'}", "[]", "the file must be an object, not a list" },
	{ "{'items': {'enum': ['store', 'vault'], 'title': 'a provider'}}", "['vualt']",
		"'vualt' is not a provider: choose 'store' or 'vault'; did you mean 'vault'?" },
	{ "{'items': {'enum': ['a', 'b', 'c']}}", "[1]", "this entry must be 'a', 'b' or 'c'" },
	{ "{'properties': {'a': {'const': true}}}", "{'a': true}", NULL },
	{ "{'properties': {'a': {'const': true}}}", "{'a': 1}",
		"'a' can only be true; leave it out otherwise" },
	{ "{'items': {'minLength': 2, 'maxLength': 3, 'title': 'a code'}}",
		"['ab', 'abc', '\xc3\xa4\xc3\xa4\xc3\xa4']", NULL },
	{ "{'items': {'minLength': 2, 'title': 'a code'}}", "['a']", "'a' is not a code" },
	{ "{'items': {'maxLength': 3}}", "['abcd']",
		"this entry has 4 characters, at most 3 are allowed" },
	{ "{'items': {'pattern': '^a+$', 'title': 'a sigh'}}", "['a', 'aaa', 5]", NULL },
	{ "{'items': {'pattern': '^a+$', 'title': 'a sigh'}}", "['ab']", "'ab' is not a sigh" },
	{ "{'items': {'pattern': '^a+$', 'title': 'a sigh'}}", "['a\\n']", "'a?' is not a sigh" },
	{ "{'items': {'pattern': 'b', 'title': 'a word with b'}}", "['abc']", NULL },
	{ "{'items': {'minimum': 1, 'maximum': 4, 'title': 'from 1 to 4'}}", "[1, 4, 'x']", NULL },
	{ "{'items': {'minimum': 1, 'title': 'from 1'}}", "[0]", "this entry is 0, not from 1" },
	{ "{'items': {'maximum': 4, 'title': 'to 4'}}", "[5]", "this entry is 5, not to 4" },
	{ "{'minItems': 1, 'maxItems': 2}", "[1, 2]", NULL },
	{ "{'minItems': 1, 'title': 'a list'}", "[]", "the file has 0 entries; it must be a list" },
	{ "{'maxItems': 2, 'title': 'a pair'}", "[1, 2, 3]",
		"the file has 3 entries; it must be a pair" },
	{ "{'uniqueItems': true}", "['a', 'b', ['a']]", NULL },
	{ "{'properties': {'l': {'uniqueItems': true}}}", "{'l': ['a', 'b', 'a']}",
		"this entry of 'l' stands there twice" },
	{ "{'required': ['a'], 'title': 'a thing'}", "{'a': 1, 'b': 2}", NULL },
	{ "{'required': ['a'], 'title': 'a thing'}", "{'b': 2}", "a thing needs the key 'a'" },
	{ "{'maxProperties': 1, 'title': 'a thing'}", "{'a': 1}", NULL },
	{ "{'maxProperties': 1, 'title': 'a thing'}", "{'a': 1, 'b': 2}",
		"2 keys are too many for a thing" },
	{ "{'properties': {'match': {}}, 'additionalProperties': false, 'title': 'a grant'}",
		"{'mtach': 1}", "unknown key 'mtach' in a grant; did you mean 'match'?" },
	{ "{'patternProperties': {'^x': {'type': 'string'}}, 'additionalProperties': false}",
		"{'x1': 'a', 'x2': 'b'}", NULL },
	{ "{'patternProperties': {'^x': {'type': 'string'}}, 'additionalProperties': false}",
		"{'x1': 1}", "'x1' must be a string, not a whole number" },
	{ "{'patternProperties': {'^x': {}}, 'additionalProperties': false}", "{'ax': 1}",
		"unknown key 'ax' in this object" },
	{ "{'properties': {'x1': {}}, 'patternProperties': {'^x': {'type': 'string'}}}",
		"{'x1': 1}", "'x1' must be a string, not a whole number" },
	{ "{'additionalProperties': {'type': 'string'}}", "{'a': 1}",
		"'a' must be a string, not a whole number" },
	{ "{'propertyNames': {'pattern': '^[a-z]+$', 'title': 'a small name'}}", "{'a': 1}", NULL },
	{ "{'propertyNames': {'pattern': '^[a-z]+$', 'title': 'a small name'}}", "{'A': 1}",
		"'A' is not a small name" },
	{ "{'$ref': '#/$defs/t', '$defs': {'t': {'type': 'object'}}}", "{}", NULL },
	{ "{'$ref': '#/$defs/t', '$defs': {'t': {'type': 'object'}}}", "[]",
		"the file must be an object, not a list" },
	{ "{'$ref': '#/$defs/t', 'required': ['a'], '$defs': {'t': {'type': 'object'}}}", "{}",
		"this object needs the key 'a'" },
	{ "{'if': {'required': ['t']}, 'then': {'required': ['as']}, 'else': {'required': ['n']}}",
		"{'t': 1, 'as': 1}", NULL },
	{ "{'if': {'required': ['t']}, 'then': {'required': ['as']}, 'else': {'required': ['n']}}",
		"{'n': 1}", NULL },
	{ "{'if': {'required': ['t']}, 'then': {'required': ['as']}, 'else': {'required': ['n']}}",
		"{'t': 1}", "this object needs the key 'as'" },
	{ "{'if': {'required': ['t']}, 'then': {'required': ['as']}, 'else': {'required': ['n']}}",
		"{}", "this object needs the key 'n'" },
};

static char *with_quotes(const char *text)
{
	char *copied = strdup(text);

	for (char *c = copied; *c; c++)
		if (*c == '\'')
			*c = '"';
	return copied;
}

START_TEST(a_keyword_is_enforced)
{
	char *schema_text = with_quotes(rows[_i].schema), *text = with_quotes(rows[_i].document);
	struct json_schema *schema = schema_of(schema_text);
	struct complaints complaints = { 0 };
	struct json_document document;
	char shown[512] = "";
	bool good;

	ck_assert_int_eq(json_document_parse("f", text, strlen(text), &document, &complaints), 0);
	good = json_schema_check(schema, &document, &complaints);
	ck_assert_uint_eq(complaints.count, rows[_i].says ? 1 : 0);
	ck_assert_msg(good == !rows[_i].says, "%s: %s", rows[_i].schema, rows[_i].document);
	if (rows[_i].says) {
		const struct complaint *one = &complaints.items[0];

		(void)snprintf(shown, sizeof shown, "%s%s%s%s", one->text,
			one->nearest ? "; did you mean '" : "", one->nearest ? one->nearest : "",
			one->nearest ? "'?" : "");
		ck_assert_str_eq(shown, rows[_i].says);
	}
	complaints_done(&complaints);
	json_document_done(&document);
	json_schema_free(schema);
	free(schema_text);
	free(text);
}
END_TEST

static const char *const wrong_schemas[] = {
	"{\"format\": \"uri\"}",
	"{\"properties\": {\"a\": {\"multipleOf\": 2}}}",
	"{\"items\": {\"not\": {}}}",
	"{\"$defs\": {\"unused\": {\"contains\": {}}}}",
	"{\"if\": {\"dependentRequired\": {}}}",
	"{\"$ref\": \"#/$defs/gone\"}",
	"{\"$ref\": \"other.json\"}",
	"{\"pattern\": \"(\", \"title\": \"x\"}",
	"{\"pattern\": \"a\"}",
	"{\"additionalProperties\": true}",
	"{\"items\": [ ]}",
	"{\"type\": \"number\"}",
	"{\"type\": [\"string\", \"nil\"]}",
	"{\"enum\": [1]}",
	"{\"enum\": []}",
	"{\"const\": \"x\"}",
	"{\"uniqueItems\": false}",
	"{\"maximum\": 1.5}",
	"{\"required\": \"a\"}",
};

START_TEST(a_schema_that_promises_what_is_not_enforced_ends_the_program)
{
	(void)schema_of(wrong_schemas[_i]);
}
END_TEST

START_TEST(a_schema_that_is_built_in_is_read)
{
	struct json_schema *schema = NULL;

	ck_assert_int_eq(json_schema_new(&mayflyd_schema, &schema), 0);
	json_schema_free(schema);
	ck_assert_int_eq(json_schema_new(&policy_schema, &schema), 0);
	json_schema_free(schema);
	json_schema_free(NULL);
}
END_TEST

START_TEST(a_file_of_another_kind_does_not_become_a_million_complaints)
{
	struct json_schema *schema = schema_of("{\"items\": {\"type\": \"string\"}}");
	struct complaints complaints = { 0 };
	struct json_document document;
	char text[2 * 5000 + 1];

	for (size_t i = 0; i < sizeof text; i++)
		text[i] = i % 2 ? '1' : ',';
	text[0] = '[';
	text[sizeof text - 1] = ']';
	ck_assert_int_eq(json_document_parse("f", text, sizeof text, &document, &complaints), 0);
	ck_assert(!json_schema_check(schema, &document, &complaints));
	ck_assert_uint_eq(complaints.count, 1000);
	ck_assert_str_eq(
		complaints.items[999].text, "what else is wrong with this file is not shown");
	complaints_done(&complaints);
	json_document_done(&document);
	json_schema_free(schema);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_keyword_is_enforced, 0, sizeof rows / sizeof rows[0]);
	tcase_add_loop_test_raise_signal(cases,
		a_schema_that_promises_what_is_not_enforced_ends_the_program, SIGABRT, 0,
		sizeof wrong_schemas / sizeof wrong_schemas[0]);
	tcase_add_test(cases, a_schema_that_is_built_in_is_read);
	tcase_add_test(cases, a_file_of_another_kind_does_not_become_a_million_complaints);
}

int main(void)
{
	return unit_test_run("json_schema", add);
}
