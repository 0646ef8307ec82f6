#include "daemon/broker/policy/plan.h"

#include "policy/policy_example.h"
#include "unit_test.h"

#include <stdio.h>

static const char policy_text[] =
	"{\"grants\": [\n"
	"{\"name\": \"web\", \"match\": {\"container.name\": \"shop-web-1\"},\n"
	" \"secrets\": [{\"name\": \"db-password\"},\n"
	"  {\"name\": \"api/key\", \"as\": \"keys/api\", \"versions\": [\"current\", "
	"\"previous\"]},\n"
	"  {\"template\": \"{{db-password}}\", \"as\": \"url\"}]},\n"
	"{\"name\": \"all\", \"match\": {\"compose.project\": \"shop\"},\n"
	" \"secrets\": [{\"name\": \"db-password\", \"as\": \"second\"}]}\n"
	"]}";

static const struct {
	const char *reads_as;
	const char *names[4];
	const char *left;    /* the paths that stay, in the plan's order */
	const char *unknown; /* the name that no file is of; then nothing has changed */
} rows[] = {
	{ "one secret", { "api/key" }, "keys/api keys/api.previous", NULL },
	{ "a secret of two grants gives both files", { "db-password" }, "db-password second",
		NULL },
	{ "a template by the name of its file", { "url" }, "url", NULL },
	{ "a secret's file is not called by its path", { "keys/api" }, NULL, "keys/api" },
	{ "the order is the plan's, whatever the wish's", { "url", "db-password" },
		"db-password url second", NULL },
	{ "a name that is wished twice", { "url", "url" }, "url", NULL },
	{ "one name that nobody gives refuses the rest", { "url", "root-key" }, NULL, "root-key" },
	{ "a name is no prefix", { "db" }, NULL, "db" },
	{ "nor does it have one", { "prod/db-password" }, NULL, "prod/db-password" },
	{ "an empty name", { "" }, NULL, "" },
	{ "everything", { "db-password", "api/key", "url" },
		"db-password keys/api keys/api.previous url second", NULL },
};

static void paths_of(const struct plan *plan, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < plan->files_count; i++)
		used += (size_t)snprintf(
			text + used, size - used, "%s%s", i ? " " : "", plan->files[i].path);
}

static void plan_example(struct policy *policy, struct plan *ret_plan)
{
	struct container_facts facts = container_example("{}");
	const struct policy_question question = {
		.facts = &facts, .volume = "", .environment = "prod", .cgroup_version = 2
	};
	struct trail trail = { 0 };
	struct mayfly_error err = { 0 };

	ck_assert_msg(
		policy_decide(policy, &question, &trail, ret_plan, &err) == 0, "%s", err.text);
	trail_done(&trail);
	container_facts_done(&facts);
}

START_TEST(a_wish)
{
	struct policy *policy = policy_example(policy_text);
	struct plan plan = { 0 };
	const char *unknown = NULL;
	char before[256], after[256];
	size_t count = 0;
	int r;

	plan_example(policy, &plan);
	paths_of(&plan, before, sizeof before);
	while (count < 4 && rows[_i].names[count])
		count++;
	r = plan_narrow(&plan, rows[_i].names, count, &unknown);
	paths_of(&plan, after, sizeof after);
	ck_assert_msg(r == (rows[_i].unknown ? -ENOENT : 0), "%s: %d", rows[_i].reads_as, r);
	if (rows[_i].unknown)
		ck_assert_str_eq(unknown, rows[_i].unknown);
	ck_assert_msg(strcmp(after, rows[_i].left ? rows[_i].left : before) == 0, "%s: %s",
		rows[_i].reads_as, after);
	plan_done(&plan);
	policy_unref(policy);
}
END_TEST

START_TEST(the_grants_that_are_left)
{
	static const char *const names[] = { "api/key" };
	struct policy *policy = policy_example(policy_text);
	struct plan plan = { 0 };
	const char *unknown;
	json_t *grants;

	plan_example(policy, &plan);
	grants = plan_grant_names(&plan);
	ck_assert_uint_eq(json_array_size(grants), 2);
	json_decref(grants);
	ck_assert_int_eq(plan_narrow(&plan, names, 1, &unknown), 0);
	grants = plan_grant_names(&plan);
	ck_assert_uint_eq(json_array_size(grants), 1);
	ck_assert_str_eq(json_string_value(json_array_get(grants, 0)), "web");
	json_decref(grants);
	plan_done(&plan);
	policy_unref(policy);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_wish, 0, sizeof rows / sizeof rows[0]);
	tcase_add_test(cases, the_grants_that_are_left);
}

int main(void)
{
	return unit_test_run("plan_narrow", add);
}
