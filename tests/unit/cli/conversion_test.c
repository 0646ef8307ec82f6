#include "client/cli/compose/conversion.h"

#include "client/cli/compose/plain_values.h"
#include "client/cli/compose/service_secret.h"

#include "unit_test.h"

#include <string.h>

static json_t *parse(const char *text)
{
	json_error_t where;
	json_t *json = json_loads(text, 0, &where);

	ck_assert_msg(json != NULL, "%s in %s", where.text, text);
	return json;
}

/* Service `web` with SECRETS, and the top-level DEFINITIONS. */
static json_t *model_of(const char *secrets, const char *definitions, const char *more)
{
	AUTO_FREE char *text = text_format(
		"{\"services\": {\"web\": {\"image\": \"x\", \"secrets\": %s%s}}, \"secrets\": %s}",
		secrets, more ? more : "", definitions);

	return parse(text);
}

#define A_FILE	"{\"a\": {\"file\": \"./a\"}}"
#define A_AND_B "{\"a\": {\"file\": \"./a\"}, \"b\": {\"environment\": \"B\"}}"

static const struct {
	const char *reads_as;
	const char *secrets, *definitions, *more;
	const char *directory[2], *files[2]; /* of the volumes that come of it */
} converted[] = {
	{ "the short syntax", "[\"a\"]", A_FILE, NULL, { "/run/secrets" }, { "a" } },
	{ "the short syntax as Compose prints it",
		"[{\"source\": \"a\", \"target\": \"/run/secrets/a\"}]", A_FILE, NULL,
		{ "/run/secrets" }, { "a" } },
	{ "no target", "[{\"source\": \"a\"}]", A_FILE, NULL, { "/run/secrets" }, { "a" } },
	{ "a relative target", "[{\"source\": \"a\", \"target\": \"keys/a.pem\"}]", A_FILE, NULL,
		{ "/run/secrets" }, { "a=keys/a.pem" } },
	{ "an absolute target below", "[{\"source\": \"a\", \"target\": \"/run/secrets/k/a\"}]",
		A_FILE, NULL, { "/run/secrets" }, { "a=k/a" } },
	{ "an absolute target elsewhere", "[{\"source\": \"a\", \"target\": \"/etc/ssl/a.pem\"}]",
		A_FILE, NULL, { "/etc/ssl" }, { "a=a.pem" } },
	{ "a target written in a strange way",
		"[{\"source\": \"a\", \"target\": \"//etc/./ssl//a\"}]", A_FILE, NULL,
		{ "/etc/ssl" }, { "a" } },
	{ "owner and mode as text",
		"[{\"source\": \"a\", \"uid\": \"1000\", \"gid\": \"100\", \"mode\": \"0440\"}]",
		A_FILE, NULL, { "/run/secrets" }, { "a:uid=1000:gid=100:mode=0440" } },
	{ "owner and mode as numbers", "[{\"source\": \"a\", \"uid\": 5, \"mode\": 288}]", A_FILE,
		NULL, { "/run/secrets" }, { "a:uid=5:mode=0440" } },
	{ "two in one directory", "[\"a\", {\"source\": \"b\", \"target\": \"c\"}]", A_AND_B, NULL,
		{ "/run/secrets" }, { "a,b=c" } },
	{ "two in two directories", "[\"a\", {\"source\": \"b\", \"target\": \"/srv/b\"}]", A_AND_B,
		NULL, { "/run/secrets", "/srv" }, { "a", "b" } },
	{ "one secret twice under two names", "[\"a\", {\"source\": \"a\", \"target\": \"b\"}]",
		A_FILE, NULL, { "/run/secrets" }, { "a,a=b" } },
	{ "an external one under its own name", "[\"a\"]",
		"{\"a\": {\"external\": true, \"name\": \"shop-a\"}}", NULL, { "/run/secrets" },
		{ "shop-a=a" } },
	{ "an external one in the old way", "[\"a\"]",
		"{\"a\": {\"external\": {\"name\": \"shop-a\"}}}", NULL, { "/run/secrets" },
		{ "shop-a=a" } },
	{ "a name that Compose made of project and key", "[\"a\"]",
		"{\"a\": {\"file\": \"./a\", \"name\": \"shop_a\"}}", NULL, { "/run/secrets" },
		{ "a" } },
	{ "mounts elsewhere", "[\"a\"]", A_FILE,
		", \"volumes\": [\"./d:/data\", {\"type\": \"volume\", \"source\": \"v\", "
		"\"target\": \"/run/secrets2\"}], \"tmpfs\": [\"/run\"]",
		{ "/run/secrets" }, { "a" } },
	{ "no secrets", "[]", A_FILE, NULL, { NULL }, { NULL } },
};

START_TEST(secrets_become_volumes)
{
	AUTO_JSON json_t *model =
		model_of(converted[_i].secrets, converted[_i].definitions, converted[_i].more);
	MAYFLY_CLEANUP(conversion_done) struct conversion conversion = { 0 };
	size_t expected = 0;

	while (expected < 2 && converted[_i].directory[expected])
		expected++;
	conversion_plan(model, &conversion);
	ck_assert_msg(conversion.refusals.count == 0, "%s: %s", converted[_i].reads_as,
		conversion.refusals.count ? conversion.refusals.items[0] : "");
	ck_assert_msg(conversion.count == expected, "%s: %zu volumes", converted[_i].reads_as,
		conversion.count);
	for (size_t i = 0; i < expected; i++) {
		ck_assert_str_eq(conversion.volumes[i].service, "web");
		ck_assert_str_eq(conversion.volumes[i].directory, converted[_i].directory[i]);
		ck_assert_str_eq(conversion.volumes[i].files, converted[_i].files[i]);
	}
}
END_TEST

static const struct {
	const char *reads_as;
	const char *secrets, *definitions, *more;
	const char *says;
} refused[] = {
	{ "a secret that is not declared", "[\"b\"]", A_FILE, NULL, "b is not declared" },
	{ "a name with a variable", "[\"a-${X}\"]", A_FILE, NULL, "has a variable" },
	{ "an external name with a variable", "[\"a\"]",
		"{\"a\": {\"external\": true, \"name\": \"${X}\"}}", NULL, "has a variable" },
	{ "a name that Mayfly cannot have", "[\"_a\"]", "{\"_a\": {\"file\": \"./a\"}}", NULL,
		"no valid name" },
	{ "Swarm's driver", "[\"a\"]", "{\"a\": {\"driver\": \"d\"}}", NULL, "only Swarm" },
	{ "Swarm's template", "[\"a\"]",
		"{\"a\": {\"file\": \"x\", \"template_driver\": \"golang\"}}", NULL,
		"template_driver, which only Swarm" },
	{ "a target in the root directory", "[{\"source\": \"a\", \"target\": \"/a\"}]", A_FILE,
		NULL, "root directory" },
	{ "a target that goes up", "[{\"source\": \"a\", \"target\": \"../a\"}]", A_FILE, NULL,
		"no path" },
	{ "a target with a variable", "[{\"source\": \"a\", \"target\": \"${D}/a\"}]", A_FILE, NULL,
		"has a variable" },
	{ "a hidden target", "[{\"source\": \"a\", \"target\": \".a\"}]", A_FILE, NULL,
		"its target" },
	{ "the directory itself", "[{\"source\": \"a\", \"target\": \"/run/secrets\"}]", A_FILE,
		NULL, "its target" },
	{ "a user by name", "[{\"source\": \"a\", \"uid\": \"app\"}]", A_FILE, NULL, "uid" },
	{ "a mode that is too much", "[{\"source\": \"a\", \"mode\": 2048}]", A_FILE, NULL,
		"0777" },
	{ "two with one file", "[\"a\", {\"source\": \"b\", \"target\": \"a\"}]", A_AND_B, NULL,
		"two secrets" },
	{ "directories inside one another",
		"[{\"source\": \"a\", \"target\": \"/e/a\"}, {\"source\": \"b\", \"target\": "
		"\"/e/f/b\"}]",
		A_AND_B, NULL, "inside one another" },
	{ "a volume at that directory", "[\"a\"]", A_FILE,
		", \"volumes\": [{\"type\": \"volume\", \"source\": \"s\", \"target\": "
		"\"/run/secrets/\"}]",
		"mounts /run/secrets/ itself" },
	{ "a short volume at that directory", "[\"a\"]", A_FILE,
		", \"volumes\": [\"s:/run/secrets:ro\"]", "mounts /run/secrets itself" },
	{ "a short volume with a variable's default", "[\"a\"]", A_FILE,
		", \"volumes\": [\"${S:-s}:/run/secrets:ro\"]", "mounts /run/secrets itself" },
	{ "an anonymous volume at that directory", "[\"a\"]", A_FILE,
		", \"volumes\": [\"/run/secrets\"]", "mounts /run/secrets itself" },
	{ "a file below that directory", "[\"a\"]", A_FILE,
		", \"volumes\": [\"./x:/run/secrets/x:ro\"]", "mounts /run/secrets/x itself" },
	{ "a tmpfs at that directory", "[\"a\"]", A_FILE, ", \"tmpfs\": \"/run/secrets:size=1m\"",
		"mounts /run/secrets itself" },
	{ "a config below that directory", "[\"a\"]", A_FILE,
		", \"configs\": [{\"source\": \"c\", \"target\": \"/run/secrets/c\"}]",
		"mounts /run/secrets/c itself" },
};

START_TEST(what_cannot_be_served_is_refused)
{
	AUTO_JSON json_t *model =
		model_of(refused[_i].secrets, refused[_i].definitions, refused[_i].more);
	MAYFLY_CLEANUP(conversion_done) struct conversion conversion = { 0 };

	conversion_plan(model, &conversion);
	ck_assert_msg(conversion.refusals.count == 1, "%s: %zu", refused[_i].reads_as,
		conversion.refusals.count);
	ck_assert_msg(strstr(conversion.refusals.items[0], refused[_i].says), "%s: %s",
		refused[_i].reads_as, conversion.refusals.items[0]);
}
END_TEST

START_TEST(everything_is_said_at_once)
{
	AUTO_JSON json_t *model =
		parse("{\"services\": {\"web\": {\"secrets\": [\"x\", \"a\"], \"volumes\": "
		      "[\"/run/secrets\"]}, \"job\": {\"secrets\": [{\"source\": \"a\", \"uid\": "
		      "\"me\"}]}}, \"secrets\": " A_FILE "}");
	MAYFLY_CLEANUP(conversion_done) struct conversion conversion = { 0 };

	conversion_plan(model, &conversion);
	ck_assert_uint_eq(conversion.refusals.count, 3);
}
END_TEST

START_TEST(a_volume_has_a_name_that_is_free)
{
	AUTO_JSON json_t *model =
		parse("{\"services\": {\"web\": {\"secrets\": [\"a\", {\"source\": \"a\", "
		      "\"target\": \"/srv/a\"}]}}, \"volumes\": {\"mayfly-web\": {}}, "
		      "\"secrets\": " A_FILE "}");
	MAYFLY_CLEANUP(conversion_done) struct conversion conversion = { 0 };

	conversion_plan(model, &conversion);
	ck_assert_str_eq(conversion.volumes[0].name, "mayfly-web-2");
	ck_assert_str_eq(conversion.volumes[1].name, "mayfly-web-3");
}
END_TEST

#define WHOLE                                                                                     \
	"{\"x-note\": 1, \"name\": \"shop\", \"secrets\": {\"a\": {\"file\": \"./a\"}, \"n\": "   \
	"{\"file\": \"./n\"}}, \"services\": {\"db\": {\"image\": \"db\"}, \"web\": {\"build\": " \
	"{\"secrets\": [{\"source\": \"n\"}]}, \"environment\": {\"P\": \"${P}\"}, \"secrets\": " \
	"[\"a\"], \"volumes\": [{\"type\": \"volume\", \"source\": \"${D:-./d}\", \"target\": "   \
	"\"/d\", \"read_only\": true, \"volume\": {}}]}}}"

#define OUR_MOUNT                                                                           \
	"{\"type\": \"volume\", \"source\": \"mayfly-web\", \"target\": \"/run/secrets\", " \
	"\"read_only\": true, \"volume\": {\"nocopy\": true}}"
#define OUR_VOLUME "{\"driver\": \"drv\", \"driver_opts\": {\"files\": \"a\"}}"

START_TEST(the_copy_has_the_volumes_instead)
{
	AUTO_JSON json_t *model = parse(WHOLE);
	AUTO_JSON json_t *expected =
		parse("{\"x-note\": 1, \"name\": \"shop\", \"secrets\": {\"n\": {\"file\": "
		      "\"./n\"}}, \"services\": {\"db\": {\"image\": \"db\"}, \"web\": {\"build\": "
		      "{\"secrets\": [{\"source\": \"n\"}]}, \"environment\": {\"P\": \"${P}\"}, "
		      "\"volumes\": [\"${D:-./d}:/d:ro\", " OUR_MOUNT
		      "]}}, \"volumes\": {\"mayfly-web\": " OUR_VOLUME "}}");
	MAYFLY_CLEANUP(conversion_done) struct conversion conversion = { 0 };
	AUTO_JSON json_t *copy = NULL;
	AUTO_FREE char *text = NULL;

	conversion_plan(model, &conversion);
	copy = conversion_apply(model, &conversion, "drv");
	text = json_dumps(copy, 0);
	ck_assert_msg(json_equal(copy, expected), "%s", text);
	/* People read a compose file from its services on. */
	ck_assert_int_eq(strncmp(text, "{\"name\": \"shop\", \"services\"", 27), 0);
}
END_TEST

START_TEST(the_original_is_left_alone)
{
	AUTO_JSON json_t *model = parse(WHOLE);
	AUTO_JSON json_t *before = parse(WHOLE);
	MAYFLY_CLEANUP(conversion_done) struct conversion conversion = { 0 };

	conversion_plan(model, &conversion);
	json_decref(conversion_apply(model, &conversion, "drv"));
	json_decref(conversion_override(model, &conversion, "drv"));
	ck_assert(json_equal(model, before));
}
END_TEST

START_TEST(the_override_takes_the_secrets_out)
{
	AUTO_JSON json_t *model = parse(WHOLE);
	AUTO_JSON json_t *expected =
		parse("{\"services\": {\"web\": {\"secrets\": {\"!reset\": []}, \"volumes\": "
		      "[" OUR_MOUNT "]}}, \"volumes\": {\"mayfly-web\": " OUR_VOLUME
		      "}, \"secrets\": {\"a\": {\"!reset\": null}}}");
	MAYFLY_CLEANUP(conversion_done) struct conversion conversion = { 0 };
	AUTO_JSON json_t *override = NULL;
	AUTO_FREE char *text = NULL;

	conversion_plan(model, &conversion);
	override = conversion_override(model, &conversion, "drv");
	text = json_dumps(override, 0);
	ck_assert_msg(json_equal(override, expected), "%s", text);
}
END_TEST

static const struct {
	const char *reads_as;
	const char *merged;
	bool in_force;
} merges[] = {
	{ "taken out, volume there", "{\"services\": {\"web\": {\"volumes\": [" OUR_MOUNT "]}}}",
		true },
	{ "an empty list left",
		"{\"services\": {\"web\": {\"secrets\": [], \"volumes\": [" OUR_MOUNT "]}}}",
		true },
	{ "a secret left",
		"{\"services\": {\"web\": {\"secrets\": [\"a\"], \"volumes\": [" OUR_MOUNT "]}}}",
		false },
	{ "another service's secret left",
		"{\"services\": {\"db\": {\"secrets\": [\"a\"]}, \"web\": {\"volumes\": [" OUR_MOUNT
		"]}}}",
		false },
	{ "no volume", "{\"services\": {\"web\": {}}}", false },
};

START_TEST(an_override_is_in_force)
{
	AUTO_JSON json_t *model = parse(WHOLE);
	AUTO_JSON json_t *merged = parse(merges[_i].merged);
	MAYFLY_CLEANUP(conversion_done) struct conversion conversion = { 0 };

	conversion_plan(model, &conversion);
	ck_assert_msg(conversion_is_in_force(merged, &conversion) == merges[_i].in_force, "%s",
		merges[_i].reads_as);
}
END_TEST

static const struct {
	const char *reads_as;
	const char *environment;
	bool noted;
} environments[] = {
	{ "a password in the file", "{\"DB_PASSWORD\": \"abc\"}", true },
	{ "a token in a list", "[\"api_token=abc\"]", true },
	{ "a variable", "{\"DB_PASSWORD\": \"${P}\"}", false },
	{ "a file's name", "{\"DB_PASSWORD_FILE\": \"/run/secrets/x\"}", false },
	{ "an empty one", "{\"DB_PASSWORD\": \"\"}", false },
	{ "one without a value", "{\"DB_PASSWORD\": null}", false },
	{ "another name", "{\"LOG_LEVEL\": \"info\"}", false },
};

START_TEST(a_value_in_the_file_is_noted)
{
	AUTO_FREE char *text = text_format(
		"{\"services\": {\"web\": {\"environment\": %s}}}", environments[_i].environment);
	AUTO_JSON json_t *model = parse(text);
	MAYFLY_CLEANUP(text_list_done) struct text_list notes = { 0 };

	plain_values_find(model, &notes);
	ck_assert_msg((notes.count > 0) == environments[_i].noted, "%s", environments[_i].reads_as);
	if (notes.count > 0)
		ck_assert_ptr_null(strstr(notes.items[0], "abc"));
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(
		cases, secrets_become_volumes, 0, sizeof converted / sizeof converted[0]);
	tcase_add_loop_test(
		cases, what_cannot_be_served_is_refused, 0, sizeof refused / sizeof refused[0]);
	tcase_add_test(cases, everything_is_said_at_once);
	tcase_add_test(cases, a_volume_has_a_name_that_is_free);
	tcase_add_test(cases, the_copy_has_the_volumes_instead);
	tcase_add_test(cases, the_original_is_left_alone);
	tcase_add_test(cases, the_override_takes_the_secrets_out);
	tcase_add_loop_test(cases, an_override_is_in_force, 0, sizeof merges / sizeof merges[0]);
	tcase_add_loop_test(cases, a_value_in_the_file_is_noted, 0,
		sizeof environments / sizeof environments[0]);
}

int main(void)
{
	return unit_test_run("cli_conversion", add);
}
