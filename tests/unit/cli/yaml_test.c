#include "client/cli/compose/yaml.h"

#include "client/cli/terminal/text.h"

#include "unit_test.h"

#include <string.h>

static const struct {
	const char *reads_as;
	const char *yaml;
	const char *json; /* NULL: refused */
} documents[] = {
	{ "a mapping", "a: 1\nb: x\n", "{\"a\": 1, \"b\": \"x\"}" },
	{ "words with a meaning", "a: true\nb: null\nc: ~\nd:\n",
		"{\"a\": true, \"b\": null, \"c\": "
		"null, \"d\": null}" },
	{ "the same in quotes", "a: 'true'\nb: \"1\"\nc: ''\n",
		"{\"a\": \"true\", \"b\": \"1\", "
		"\"c\": \"\"}" },
	{ "octal numbers of both kinds", "a: 0440\nb: 0o440\nc: 440\n",
		"{\"a\": 288, \"b\": 288, \"c\": 440}" },
	{ "numbers that are none", "a: 1.5\nb: 1:2\nc: 0x1f\nd: 089\ne: 12345678901234567890\n",
		"{\"a\": \"1.5\", \"b\": \"1:2\", \"c\": \"0x1f\", \"d\": \"089\", \"e\": "
		"\"12345678901234567890\"}" },
	{ "a negative number", "a: -7\n", "{\"a\": -7}" },
	{ "a list", "- a\n- [b, 2]\n", "[\"a\", [\"b\", 2]]" },
	{ "an alias", "a: &x {k: v}\nb: *x\n", "{\"a\": {\"k\": \"v\"}, \"b\": {\"k\": \"v\"}}" },
	{ "a circle", "&x {a: *x}\n", NULL },
	{ "an alias of a key", "&x a: *x\n", "{\"a\": \"a\"}" },
	{ "a circle through a list", "a: &x [*x]\n", NULL },
	{ "a key that is no text", "? [a]\n: b\n", NULL },
	{ "what is no YAML", "a: [b\n", NULL },
	{ "nothing", "", NULL },
};

START_TEST(a_document_is_read)
{
	AUTO_JSON json_t *read = NULL;
	AUTO_JSON json_t *expected = NULL;
	struct mayfly_error err;
	int r = yaml_read(documents[_i].yaml, strlen(documents[_i].yaml), &read, &err);

	ck_assert_msg((r == 0) == (documents[_i].json != NULL), "%s", documents[_i].reads_as);
	if (r < 0)
		return;
	expected = json_loads(documents[_i].json, JSON_DECODE_ANY, NULL);
	ck_assert_msg(json_equal(read, expected), "%s", documents[_i].reads_as);
}
END_TEST

START_TEST(deep_nesting_is_refused)
{
	char text[2001];
	json_t *read = NULL;

	memset(text, '[', 1000);
	memset(text + 1000, ']', 1000);
	text[2000] = '\0';
	ck_assert_int_lt(yaml_read(text, 2000, &read, NULL), 0);
}
END_TEST

START_TEST(aliases_of_aliases_do_not_grow)
{
	char text[4096] = "a0: &a0 [x, x]\n";
	AUTO_JSON json_t *read = NULL;

	for (int i = 1; i < 40; i++) {
		const size_t used = strlen(text);

		(void)snprintf(text + used, sizeof text - used, "a%d: &a%d [*a%d, *a%d]\n", i, i,
			i - 1, i - 1);
	}
	/* Copied, this would be 2 to the 40th of them. */
	ck_assert_int_eq(yaml_read(text, strlen(text), &read, NULL), 0);
	ck_assert_uint_eq(json_object_size(read), 40);
}
END_TEST

/* Texts that a reader could take for something else, and whole documents: what is written must be
 * read as the same by a reader of YAML. */
static const char *const texts[] = { "", " ", "a", "true", "Yes", "no", "ON", "y", "null", "~", "1",
	"0440", "1.5", "1e3", ".5", "0x1f", "-", "- a", "a: b", "a #b", "#a", "&a", "*a", "!a", "|",
	">", "%a", "@a", "`a", "'a'", "\"a\"", "a\"b", "a\\b", "${X:-y}", "8080:80", "1:30", "a\nb",
	"a\n", "\na", "a\n\nb\n\n", "  a\nb", "a\t\nb", "a \nb", "\ta", "a ", "{a}", "[a]", "?",
	"? a", "=", "<<", ".inf", ".nan", "2001-01-01", "p\xc3\xa4ss", "\xf0\x9f\x94\x91",
	"a\x7f\x01z", "---", "...", "a---", "/run/secrets", "./data:/data:ro", "sha256:0a", "a,b",
	"a\r\nb", "0o17", "012", "+1", "_", "NaN", "off", "N" };

START_TEST(a_text_stays_itself)
{
	AUTO_JSON json_t *written = json_pack("{s:s, s:[s]}", "k", texts[_i], "l", texts[_i]);
	AUTO_JSON json_t *read = NULL;
	AUTO_FREE char *yaml = NULL;
	struct mayfly_error err;
	size_t length;

	ck_assert_int_eq(yaml_write(written, "", false, &yaml, &length, &err), 0);
	ck_assert_msg(yaml_read(yaml, length, &read, &err) == 0, "%s\n%s", err.text, yaml);
	ck_assert_msg(json_equal(written, read), "%s", yaml);
}
END_TEST

START_TEST(a_text_stays_itself_as_a_key)
{
	AUTO_JSON json_t *written = json_pack("{s:s}", texts[_i], "v");
	AUTO_JSON json_t *read = NULL;
	AUTO_FREE char *yaml = NULL;
	size_t length;

	ck_assert_int_eq(yaml_write(written, "", false, &yaml, &length, NULL), 0);
	ck_assert_int_eq(yaml_read(yaml, length, &read, NULL), 0);
	ck_assert_msg(json_equal(written, read), "%s", yaml);
}
END_TEST

static const struct {
	const char *reads_as;
	const char *json;
	bool with_tags;
	const char *yaml;
} written[] = {
	{ "a mapping in its order", "{\"b\": 1, \"a\": [\"x\", {\"c\": null}]}", false,
		"b: 1\na:\n- x\n- c: null\n" },
	{ "empty ones", "{\"a\": {}, \"b\": []}", false, "a: {}\nb: []\n" },
	{ "numbers and words", "{\"a\": 0.1, \"b\": true, \"c\": \"true\"}", false,
		"a: 0.1\nb: true\nc: \"true\"\n" },
	{ "several lines", "{\"a\": \"x\\ny\\n\"}", false, "a: |\n  x\n  y\n" },
	{ "tags", "{\"a\": {\"!reset\": []}, \"b\": {\"!reset\": null}}", true,
		"a: !reset []\nb: !reset null\n" },
	{ "what looks like a tag, without them", "{\"a\": {\"!reset\": 1}}", false,
		"a:\n  \"!reset\": 1\n" },
};

START_TEST(what_is_written_is)
{
	AUTO_JSON json_t *json = json_loads(written[_i].json, 0, NULL);
	AUTO_FREE char *yaml = NULL;
	size_t length;

	ck_assert_int_eq(
		yaml_write(json, "# head\n", written[_i].with_tags, &yaml, &length, NULL), 0);
	ck_assert_uint_eq(length, strlen(yaml));
	ck_assert_int_eq(strncmp(yaml, "# head\n", 7), 0);
	ck_assert_msg(
		strcmp(yaml + 7, written[_i].yaml) == 0, "%s:\n%s", written[_i].reads_as, yaml);
}
END_TEST

static void add(TCase *cases)
{
	const int texts_count = sizeof texts / sizeof texts[0];

	tcase_add_loop_test(cases, a_document_is_read, 0, sizeof documents / sizeof documents[0]);
	tcase_add_test(cases, deep_nesting_is_refused);
	tcase_add_test(cases, aliases_of_aliases_do_not_grow);
	tcase_add_loop_test(cases, a_text_stays_itself, 0, texts_count);
	tcase_add_loop_test(cases, a_text_stays_itself_as_a_key, 0, texts_count);
	tcase_add_loop_test(cases, what_is_written_is, 0, sizeof written / sizeof written[0]);
}

int main(void)
{
	return unit_test_run("cli_yaml", add);
}
