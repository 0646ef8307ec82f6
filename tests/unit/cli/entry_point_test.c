#include "client/cli/entry_point/entry_point.h"

#include "unit_test.h"

#include <errno.h>
#include <string.h>

#define VOLUMES                                                                         \
	"\"volumes\":{\"all\":{\"driver\":\"mayfly\"},\"some\":{\"driver\":\"mayfly\"," \
	"\"driver_opts\":{\"files\":\"key=keys/k:uid=5,tls\"}},\"other\":{\"driver\":\"local\"}}"
#define SECRETS "\"secrets\":{\"a\":{\"file\":\"./a\"},\"b\":{\"file\":\"./b\"}}"

/* A model with one service, `web`, that has MEMBERS. */
static json_t *model_of(const char *members)
{
	AUTO_FREE char *text =
		text_format("{\"services\":{\"web\":{%s}}," VOLUMES "," SECRETS "}", members);
	json_error_t where;
	json_t *json = json_loads(text, 0, &where);

	ck_assert_msg(json != NULL, "%s in %s", where.text, text);
	return json;
}

struct made {
	json_t *model;
	struct conversion conversion;
	struct entry_points points;
	struct text_list refusals;
};

static void made_done(struct made *made)
{
	json_decref(made->model);
	conversion_done(&made->conversion);
	entry_points_done(&made->points);
	text_list_done(&made->refusals);
}

/* Adds WISHES to what is made of a service with MEMBERS. */
static void make(struct made *made, const char *members, const char *const wishes[4])
{
	struct mayfly_error err;
	struct mounts mounts;

	*made = (struct made){ .model = model_of(members) };
	conversion_plan(made->model, &made->conversion);
	ck_assert_uint_eq(made->conversion.refusals.count, 0);
	mounts = (struct mounts){ made->model, &made->conversion, "mayfly" };
	for (size_t i = 0; i < 4 && wishes[i]; i++)
		ck_assert_int_eq(
			entry_points_add(&made->points, wishes[i], &mounts, &made->refusals, &err),
			0);
	entry_points_complete(&made->points, made->model, &made->refusals);
}

#define RUNS "\"image\":\"x\",\"entrypoint\":[\"/e\",\"a b\"]"

static const struct {
	const char *reads_as, *members, *wishes[4], *entrypoint;
} rows[] = {
	{ "a secret of the file", RUNS ",\"secrets\":[\"a\"]", { "web:A=a" },
		"[\"/mayfly\",\"exec\",\"--env\",\"A=a\",\"--\",\"/e\",\"a b\"]" },
	{ "two of them", RUNS ",\"secrets\":[\"a\",\"b\"]", { "web:A=a", "web:_B2=b" },
		"[\"/mayfly\",\"exec\",\"--env\",\"A=a\",\"--env\",\"_B2=b\",\"--\",\"/e\",\"a "
		"b\"]" },
	{ "by the name of a file that is called otherwise",
		RUNS ",\"secrets\":[{\"source\":\"a\",\"target\":\"keys/x\"}]", { "web:A=a" },
		"[\"/mayfly\",\"exec\",\"--env\",\"A=keys/x\",\"--\",\"/e\",\"a b\"]" },
	{ "by its file's path", RUNS ",\"secrets\":[{\"source\":\"a\",\"target\":\"keys/x\"}]",
		{ "web:A=keys/x" },
		"[\"/mayfly\",\"exec\",\"--env\",\"A=keys/x\",\"--\",\"/e\",\"a b\"]" },
	{ "in another directory",
		RUNS ",\"secrets\":[{\"source\":\"a\",\"target\":\"/etc/ssl/a\"},\"b\"]",
		{ "web:A=a" },
		"[\"/mayfly\",\"exec\",\"--env\",\"A=a\",\"--from\",\"/etc/ssl\",\"--\",\"/"
		"e\",\"a b\"]" },
	{ "a volume of ours that it mounts itself", RUNS ",\"volumes\":[\"all:/run/secrets:ro\"]",
		{ "web:A=any/thing" },
		"[\"/mayfly\",\"exec\",\"--env\",\"A=any/thing\",\"--\",\"/e\",\"a b\"]" },
	{ "the same in the long form",
		RUNS ",\"volumes\":[{\"type\":\"volume\",\"source\":\"all\",\"target\":\"/s\"}]",
		{ "web:A=a" },
		"[\"/mayfly\",\"exec\",\"--env\",\"A=a\",\"--from\",\"/s\",\"--\",\"/e\",\"a "
		"b\"]" },
	{ "a volume of ours that names its files", RUNS ",\"volumes\":[\"some:/s\"]",
		{ "web:A=key", "web:B=tls" },
		"[\"/mayfly\",\"exec\",\"--env\",\"A=keys/k\",\"--env\",\"B=tls\",\"--from\",\"/"
		"s\",\"--\",\"/e\",\"a b\"]" },
	{ "an entry point of plain words", "\"entrypoint\":\" /e  -x \",\"secrets\":[\"a\"]",
		{ "web:A=a" }, "[\"/mayfly\",\"exec\",\"--env\",\"A=a\",\"--\",\"/e\",\"-x\"]" },
	{ "the image's entry point taken away",
		"\"entrypoint\":\"\",\"command\":[\"c\"],\"secrets\":[\"a\"]", { "web:A=a" },
		"[\"/mayfly\",\"exec\",\"--env\",\"A=a\",\"--\"]" },
	{ "the same as Compose prints an empty list",
		"\"entrypoint\":null,\"command\":\"c d\",\"secrets\":[\"a\"]", { "web:A=a" },
		"[\"/mayfly\",\"exec\",\"--env\",\"A=a\",\"--\"]" },
};

START_TEST(a_service_gets_an_entry_point)
{
	MAYFLY_CLEANUP(made_done) struct made made;
	AUTO_JSON json_t *copy = NULL;
	json_t *service, *before, *bind;
	AUTO_FREE char *text = NULL;

	make(&made, rows[_i].members, rows[_i].wishes);
	ck_assert_msg(made.refusals.count == 0, "%s: %s", rows[_i].reads_as,
		made.refusals.count ? made.refusals.items[0] : "");
	copy = conversion_apply(made.model, &made.conversion, "mayfly");
	entry_points_apply(&made.points, "/usr/lib/mayfly/exec", copy);
	before = json_object_get(json_object_get(made.model, "services"), "web");
	service = json_object_get(json_object_get(copy, "services"), "web");
	text = json_dumps(json_object_get(service, "entrypoint"), JSON_COMPACT);
	ck_assert_msg(strcmp(text, rows[_i].entrypoint) == 0, "%s: %s", rows[_i].reads_as, text);
	/* The file's own command is kept. */
	ck_assert((!json_object_get(before, "command") && !json_object_get(service, "command")) ||
		  json_equal(
			  json_object_get(before, "command"), json_object_get(service, "command")));
	bind = json_object_get(service, "volumes");
	bind = json_array_get(bind, json_array_size(bind) - 1);
	ck_assert_str_eq(json_text(bind, "target"), "/mayfly");
	ck_assert_str_eq(json_text(bind, "source"), "/usr/lib/mayfly/exec");
	ck_assert(json_is_true(json_object_get(bind, "read_only")));
}
END_TEST

static const struct {
	const char *reads_as, *members, *wishes[4], *says;
} refused[] = {
	{ "no such service", RUNS, { "wbe:A=a" }, "no service wbe" },
	{ "no such secret", RUNS ",\"secrets\":[\"a\",\"b\"]", { "web:A=c" },
		"it has no secret c; it has a, b" },
	{ "no secrets at all", RUNS, { "web:A=a" }, "it has no secret a" },
	{ "a volume of somebody else", RUNS ",\"volumes\":[\"other:/run/secrets\"]", { "web:A=a" },
		"it has no secret a" },
	{ "a bind", RUNS ",\"volumes\":[\"./all:/run/secrets\"]", { "web:A=a" },
		"it has no secret a" },
	{ "one variable twice", RUNS ",\"secrets\":[\"a\",\"b\"]", { "web:A=a", "web:A=b" },
		"A is given twice" },
	{ "two directories",
		RUNS ",\"secrets\":[{\"source\":\"a\",\"target\":\"/etc/ssl/a\"},\"b\"]",
		{ "web:A=a", "web:B=b" }, "b lies in /run/secrets, not in /etc/ssl" },
	{ "the place is taken", RUNS ",\"secrets\":[\"a\"],\"volumes\":[\"./m:/mayfly\"]",
		{ "web:A=a" }, "it mounts /mayfly itself" },
	{ "an entry point with quotes", "\"entrypoint\":\"/e 'a b'\",\"secrets\":[\"a\"]",
		{ "web:A=a" }, "write its `entrypoint:` as a list" },
	{ "an entry point with a variable", "\"entrypoint\":\"/e ${X}\",\"secrets\":[\"a\"]",
		{ "web:A=a" }, "write its `entrypoint:` as a list" },
	{ "an image with a variable", "\"image\":\"x:${TAG}\",\"secrets\":[\"a\"]", { "web:A=a" },
		"its name has a variable" },
	{ "an image that is built", "\"build\":{\"context\":\".\"},\"secrets\":[\"a\"]",
		{ "web:A=a" }, "has no `image:`" },
	{ "an image that is built, with advice",
		"\"build\":{\"context\":\".\"},\"secrets\":[\"a\"]", { "web:A=a" },
		"give the service `entrypoint:` and `command:`" },
};

START_TEST(what_cannot_be_is_refused)
{
	MAYFLY_CLEANUP(made_done) struct made made;

	make(&made, refused[_i].members, refused[_i].wishes);
	ck_assert_msg(
		made.refusals.count == 1, "%s: %zu", refused[_i].reads_as, made.refusals.count);
	ck_assert_msg(strstr(made.refusals.items[0], refused[_i].says), "%s: %s",
		refused[_i].reads_as, made.refusals.items[0]);
}
END_TEST

static const char *const no_wishes[] = { "", "web", "web:A", "web:A=", ":A=a", "web:=a", "A=a",
	"web:1A=a", "web:A-B=a", "web:A B=a", "web:A:B=a" };

START_TEST(a_wish_has_three_parts)
{
	struct entry_points points = { 0 };
	struct text_list refusals = { 0 };
	struct mayfly_error err = { 0 };
	const struct mounts mounts = { 0 };

	ck_assert_msg(entry_points_add(&points, no_wishes[_i], &mounts, &refusals, &err) == -EINVAL,
		"%s", no_wishes[_i]);
	ck_assert_ptr_nonnull(strstr(err.text, no_wishes[_i]));
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_service_gets_an_entry_point, 0, sizeof rows / sizeof rows[0]);
	tcase_add_loop_test(
		cases, what_cannot_be_is_refused, 0, sizeof refused / sizeof refused[0]);
	tcase_add_loop_test(
		cases, a_wish_has_three_parts, 0, sizeof no_wishes / sizeof no_wishes[0]);
}

int main(void)
{
	return unit_test_run("cli_entry_point", add);
}
