#include "daemon/broker/policy/plan.h"

#include "policy/policy_example.h"
#include "unit_test.h"

#include <stdio.h>

/* Four grants: two for the same service, one that asks for nothing of the user, one for another
 * set of containers. */
static const char policy_text[] =
	"{\"grants\": [\n"
	"{\"name\": \"shop-web\",\n"
	" \"match\": {\"compose.project\": \"shop\", \"compose.service\": \"web\"},\n"
	" \"secrets\": [{\"name\": \"db-password\"},\n"
	"  {\"name\": \"api-key\", \"as\": \"keys/api\", \"uid\": 999, \"mode\": \"0440\","
	" \"versions\": [\"current\", \"previous\"]}]},\n"
	"{\"name\": \"shop-all\",\n"
	" \"match\": {\"compose.project\": \"shop\"}, \"require\": {\"non_root\": true},\n"
	" \"release\": \"mount\",\n"
	" \"secrets\": [{\"template\": \"{{db-password|url}}\", \"as\": \"url\"}]},\n"
	"{\"name\": \"shop-db\", \"set\": \"prod\", \"layout\": \"plain\", \"guard\": \"always\",\n"
	" \"release\": \"after-start\",\n"
	" \"match\": {\"compose.project\": \"shop\", \"compose.service\": \"db\"},\n"
	" \"secrets\": [{\"name\": \"db-password\", \"uid\": 70, \"gid\": 71}]},\n"
	"{\"name\": \"blog\", \"set\": \"dev\",\n"
	" \"match\": {\"container.name\": \"blog\", \"container.label.role\": \"front*\"},\n"
	" \"secrets\": [{\"name\": \"a\"}]}\n"
	"]}";

#define DB(extra)                                           \
	"{'labels': {'com.docker.compose.project': 'shop'," \
	" 'com.docker.compose.service': 'db'}" extra "}"
#define BLOG(extra) "{'name': 'blog', 'labels': {'role': 'frontend'}" extra "}"
#define ROOT	    ", 'user': {'text': '', 'uid': 0, 'gid': 0, 'error': null}"
#define UNKNOWN \
	", 'user': {'text': 'app', 'uid': 0, 'gid': 0, 'error': 'no user app in /etc/passwd'}"
#define SHIFTED ", 'uid_offset': 100000, 'gid_offset': 200000, 'id_count': 65536"
#define WEB_FILES \
	"db-password 1000:1000 0400, keys/api 999:1000 0440, keys/api.previous 999:1000 0440"

/* One decision. CHANGES and OPTIONS are JSON with single quotes. Either PLAN, with the files in
 * order and what else is not the default, or SAYS: the refusal. TRAIL must occur in the trail. */
struct row {
	const char *reads_as;
	const char *changes;
	const char *options;
	const char *plan;
	const char *says;
	const char *trail;
};

static const struct row rows[] = {
	{ "two grants that match give their files together", "{}", NULL,
		WEB_FILES ", url 1000:1000 0400", NULL,
		"require passed grant shop-all: the container's posture is as required" },
	{ "a grant that does not match is explained with what was found", "{}", NULL,
		WEB_FILES ", url 1000:1000 0400", NULL,
		"match failed grant shop-db (example.json:10): compose.service is 'web', wanted "
		"'db'" },
	{ "a label that is not there is explained as such", "{'name': 'blog'}", NULL,
		WEB_FILES ", url 1000:1000 0400", NULL,
		"grant blog (example.json:14): container.label.role is not there, wanted "
		"'front*'" },
	{ "the set is the host's environment unless the grant names one", DB(""),
		"{'grant': 'shop-db'}", "db-password 70:71 0400 plain always after-start", NULL,
		"set passed grant shop-db: secrets of set prod" },
	{ "the strictest of two grants counts", DB(""), NULL,
		"url 1000:1000 0400, db-password 70:71 0400 plain always after-start", NULL, "" },
	{ "a default release is stricter than one at the mount", "{}", NULL,
		WEB_FILES ", url 1000:1000 0400", NULL, "" },
	{ "one grant of its own keeps its release", "{}", "{'grant': 'shop-all'}",
		"url 1000:1000 0400 mount", NULL,
		"options noted the volume's options narrow it to grant shop-all" },
	{ "no grant, with project and service",
		"{'labels': {'com.docker.compose.project': 'blog',"
		" 'com.docker.compose.service': 'web'}}",
		NULL, NULL,
		"no grant matches shop-web-1 (project blog, service web); see `mayfly explain "
		"shop-web-1`",
		"compose.project is 'blog', wanted 'shop'" },
	{ "no grant, with a project only", "{'labels': {'com.docker.compose.project': 'blog'}}",
		NULL, NULL,
		"no grant matches shop-web-1 (project blog); see `mayfly explain shop-web-1`", "" },
	{ "no grant, with a service only", "{'labels': {'com.docker.compose.service': 'web'}}",
		NULL, NULL,
		"no grant matches shop-web-1 (service web); see `mayfly explain shop-web-1`", "" },
	{ "no grant, without Compose", "{'labels': {}}", NULL, NULL,
		"no grant matches shop-web-1; see `mayfly explain shop-web-1`", "" },
	{ "labels that a terminal would obey are shown harmless",
		"{'labels': {'com.docker.compose.project': 'a\\u001b[2J\\n'}}", NULL, NULL,
		"no grant matches shop-web-1 (project a?[2J?); see",
		"compose.project is 'a?[2J?', wanted 'shop'" },
	{ "a container without a name is called by its id", "{'name': '', 'labels': {}}", NULL,
		NULL, "no grant matches eeeeeeee", "" },

	{ "a privileged container is refused", "{'privileged': true}", NULL, NULL,
		"grant shop-web refuses a privileged container; remove `privileged: true`",
		"require failed grant shop-web refuses a privileged container; remove "
		"`privileged: true` (`privileged`)" },
	{ "one grant's refusal refuses all",
		"{'labels': {'com.docker.compose.project': 'shop',"
		" 'com.docker.compose.service': 'web'}" ROOT "}",
		NULL, NULL,
		"grant shop-all refuses a container whose user is root or unknown; set `user:` to "
		"another user's number",
		"require passed grant shop-web" },
	{ "narrowed to the other grant it is no refusal",
		"{'labels': {'com.docker.compose.project': 'shop',"
		" 'com.docker.compose.service': 'web'}" ROOT "}",
		"{'grant': 'shop-web'}",
		"db-password 0:0 0400, keys/api 999:0 0440, keys/api.previous 999:0 0440", NULL,
		"a program that drops root before it reads needs `uid` in the grant" },
	{ "the host's cgroup namespace is judged where nothing says version 1",
		"{'cgroupns_mode': 'host'}", NULL, NULL,
		"grant shop-web refuses a container in a namespace of the host", "" },

	{ "an unknown grant in the options is refused with the nearest", "{}",
		"{'grant': 'shop-wbe'}", NULL,
		"the volume's option `grant` names 'shop-wbe', which is no grant; did you mean "
		"'shop-web'?",
		"options failed" },
	{ "a grant in the options that does not match is refused", "{}", "{'grant': 'shop-db'}",
		NULL,
		"grant shop-db, which the volume's options name, does not match shop-web-1 "
		"(project shop, service web); see `mayfly explain shop-web-1`",
		"compose.service is 'web', wanted 'db'" },

	{ "a user namespace shifts the owners", DB(SHIFTED), "{'grant': 'shop-db'}",
		"db-password 100070:200071 0400 plain always after-start", NULL, "" },
	{ "the container's user is shifted too", BLOG(SHIFTED), NULL, "a 101000:201000 0400", NULL,
		"owner passed the container's user 'app' is 1000:1000" },
	{ "an owner outside the user namespace is refused", BLOG(", 'id_count': 1000"), NULL, NULL,
		"grant blog: the owner 1000:1000 of 'a' is outside the engine's user namespace "
		"(1000 ids)",
		"owner failed" },
	{ "the last owner inside it is fine", BLOG(", 'id_count': 1001, 'uid_offset': 5"), NULL,
		"a 1005:1000 0400", NULL, "" },
	{ "a shift beyond all numbers is refused",
		BLOG(", 'uid_offset': 4294966295, 'id_count': 2000"), NULL, NULL,
		"is outside the engine's user namespace", "" },
	{ "the last number that there is is fine",
		BLOG(", 'uid_offset': 4294966294, 'id_count': 2000"), NULL,
		"a 4294967294:1000 0400", NULL, "" },

	{ "a user that is unknown is refused with the remedy", BLOG(UNKNOWN), NULL, NULL,
		"grant blog: the user 'app' of blog is unknown (no user app in /etc/passwd); give "
		"`uid` to 'a' in the grant",
		"owner failed grant blog: the user 'app'" },
	{ "a user that is unknown does not matter where the grant gives both", DB(UNKNOWN),
		"{'grant': 'shop-db'}", "db-password 70:71 0400 plain always after-start", NULL,
		"owner noted the container's user 'app' is unknown: no user app in /etc/passwd" },
	{ "a group that nobody chose may not read",
		"{'labels': {'com.docker.compose.project': 'shop',"
		" 'com.docker.compose.service': 'web'}" UNKNOWN "}",
		"{'grant': 'shop-web', 'files': 'keys/api'}", NULL,
		"grant shop-web: the user 'app' of shop-web-1 is unknown (no user app in "
		"/etc/passwd); give `gid` to 'keys/api' in the grant",
		"" },
	{ "a group that nobody chose and that has no permission is root's",
		"{'labels': {'com.docker.compose.project': 'shop',"
		" 'com.docker.compose.service': 'web'}" UNKNOWN "}",
		"{'grant': 'shop-web', 'files': 'keys/api:mode=0400'}", "keys/api 999:0 0400", NULL,
		"" },
	{ "a uid in the options is as good as one in the grant", BLOG(UNKNOWN),
		"{'files': 'a:uid=5'}", "a 5:0 0400", NULL, "" },

	{ "a file that the container's user cannot read is noted", DB(""), "{'grant': 'shop-db'}",
		"db-password 70:71 0400 plain always after-start", NULL,
		"owner noted grant shop-db: the container's user 1000:1000 cannot read "
		"'db-password' (owner 70:71, mode 0400)" },
	{ "the same file is root's to read with the engine's capabilities",
		DB(ROOT ", 'capabilities_dropped': []"), "{'grant': 'shop-db'}",
		"db-password 70:71 0400 plain always after-start", NULL, "!cannot read" },
	{ "and not without them", DB(ROOT), "{'grant': 'shop-db'}",
		"db-password 70:71 0400 plain always after-start", NULL,
		"the container's user 0:0 cannot read 'db-password'" },
	{ "a file that its group may read is not noted", "{}",
		"{'grant': 'shop-web', 'files': 'keys/api'}", "keys/api 999:1000 0440", NULL,
		"!cannot read" },
	{ "a file that everybody may read is not noted", DB(""),
		"{'grant': 'shop-db', 'files': 'db-password:mode=0444'}",
		"db-password 70:71 0444 plain always after-start", NULL, "!cannot read" },
	{ "an owner that may not read is noted", "{}",
		"{'grant': 'shop-web', 'files': 'db-password:mode=0044'}",
		"db-password 1000:1000 0044", NULL, "cannot read 'db-password'" },

	{ "chosen files come alone, in their order, by their new names", "{}",
		"{'files': 'url,keys/api.previous=old'}", "url 1000:1000 0400, old 999:1000 0440",
		NULL, "files passed 2 files for" },
	{ "a chosen file that nobody gives is refused with the nearest", "{}",
		"{'files': 'db-pasword'}", NULL,
		"the volume's option `files` names 'db-pasword', which no grant gives to "
		"shop-web-1; did you mean 'db-password'?",
		"files failed" },
	{ "a chosen file of a grant that does not match is refused", "{}", "{'files': 'a'}", NULL,
		"which no grant gives to shop-web-1", "" },
	{ "owner and mode are taken where the grant says nothing", "{}",
		"{'files': 'db-password:uid=5:gid=6:mode=0444'}", "db-password 5:6 0444", NULL,
		"" },
	{ "the grant's own uid may be repeated", "{}", "{'files': 'keys/api:uid=999:gid=7'}",
		"keys/api 999:7 0440", NULL, "" },
	{ "another uid than the grant's is refused", "{}", "{'files': 'keys/api:uid=0'}", NULL,
		"the volume's option `files` gives 'keys/api' the uid 0, the grant says 999", "" },
	{ "another gid than the grant's is refused", DB(""),
		"{'grant': 'shop-db', 'files': 'db-password:gid=0'}", NULL,
		"gives 'db-password' the gid 0, the grant says 71", "" },
	{ "a mode wider than the grant's is refused", "{}", "{'files': 'keys/api:mode=0444'}", NULL,
		"the volume's option `files` gives 'keys/api' the mode 0444, which is wider than "
		"0440 in the grant",
		"owner failed" },
	{ "a smaller number with another permission is refused", "{}",
		"{'files': 'keys/api:mode=0404'}", NULL, "which is wider than 0440 in the grant",
		"owner failed" },
	{ "a narrower mode than the grant's is taken", "{}", "{'files': 'keys/api:mode=0400'}",
		"keys/api 999:1000 0400", NULL, "" },
	{ "two files of one new name are refused", "{}", "{'files': 'db-password=x,keys/api=x'}",
		NULL, "the volume's option `files` gives two files the name 'x'", "" },
	{ "a file and a directory of one new name are refused", "{}",
		"{'files': 'db-password=x,keys/api=x/y'}", NULL,
		"the volume's option `files` makes a directory of a file: 'x/y' and 'x'", "" },
	{ "the other way round too", "{}", "{'files': 'db-password=x/y,keys/api=x'}", NULL,
		"makes a directory of a file", "" },
	{ "a name that only begins like another is fine", "{}",
		"{'files': 'db-password=x,keys/api=x-y/z'}",
		"x 1000:1000 0400, x-y/z 999:1000 0440", NULL, "" },

	{ "a pid namespace that others share is guarded always",
		BLOG(", 'shares_pid_namespace': true"), NULL, "a 1000:1000 0400 always", NULL,
		"guard noted the container shares a pid namespace" },
	{ "another container's pid namespace is guarded always",
		BLOG(", 'pid_mode': 'container:abc'"), NULL, "a 1000:1000 0400 always", NULL, "" },
};

static json_t *json_of(const char *text)
{
	char *copied = strdup(text);
	json_t *json;

	for (char *c = copied; *c; c++)
		if (*c == '\'')
			*c = '"';
	json = json_loads(copied, 0, NULL);
	ck_assert_msg(json != NULL, "%s", text);
	free(copied);
	return json;
}

static void describe_plan(const struct plan *plan, char *text, size_t size)
{
	static const char *const releases[] = { "", "guard", " after-start", " mount" };
	size_t used = 0;

	for (size_t i = 0; i < plan->files_count; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s %u:%u 0%03o",
			i ? ", " : "", plan->files[i].path, plan->files[i].uid, plan->files[i].gid,
			plan->files[i].mode);
	(void)snprintf(text + used, size - used, "%s%s%s",
		plan->layout == LAYOUT_PLAIN ? " plain" : "",
		plan->guard == GUARD_ALWAYS ? " always" : "", releases[plan->release]);
}

/* One line for each step: "step outcome evidence". */
static void describe_trail(const struct trail *trail, char *text, size_t size)
{
	size_t used = 0, i;
	json_t *step;

	text[0] = '\0';
	json_array_foreach (trail->steps, i, step)
		used += (size_t)snprintf(text + used, size - used, "%s %s %s\n",
			json_string_value(json_object_get(step, "step")),
			json_string_value(json_object_get(step, "outcome")),
			json_string_value(json_object_get(step, "evidence")));
}

static void check_row(const struct row *row, int r, const struct plan *plan,
	const struct trail *trail, const struct mayfly_error *err)
{
	const bool absent = row->trail[0] == '!';
	char plan_text[1024] = "", trail_text[8192];

	describe_trail(trail, trail_text, sizeof trail_text);
	if (row->plan) {
		ck_assert_msg(r == 0, "%s: %s", row->reads_as, err->text);
		describe_plan(plan, plan_text, sizeof plan_text);
		ck_assert_msg(
			strcmp(plan_text, row->plan) == 0, "%s: %s", row->reads_as, plan_text);
	} else {
		ck_assert_msg(r == -EPERM, "%s", row->reads_as);
		ck_assert_msg(
			strstr(err->text, row->says) != NULL, "%s: %s", row->reads_as, err->text);
		ck_assert_ptr_null(plan->files);
		/* The last word is a step that failed. */
		ck_assert_ptr_nonnull(strstr(trail_text, " failed "));
	}
	ck_assert_msg((strstr(trail_text, row->trail + absent) != NULL) == !absent, "%s:\n%s",
		row->reads_as, trail_text);
}

START_TEST(a_decision)
{
	const struct row *row = &rows[_i];
	struct policy *policy = policy_example(policy_text);
	json_t *changes = json_of(row->changes);
	json_t *options_json = json_of(row->options ? row->options : "{}");
	char *changes_text = json_dumps(changes, 0);
	struct container_facts facts = container_example(changes_text);
	struct volume_options options;
	const struct policy_question question = { .facts = &facts,
		.volume = "shop_secrets",
		.options = row->options ? &options : NULL,
		.environment = "staging",
		.cgroup_version = 2 };
	struct trail trail = { 0 };
	struct plan plan = { 0 };
	struct mayfly_error err = { 0 };
	int r;

	ck_assert_int_eq(volume_options_parse(options_json, &options, NULL), 0);
	r = policy_decide(policy, &question, &trail, &plan, &err);
	check_row(row, r, &plan, &trail, &err);
	ck_assert_uint_eq(policy->references, r == 0 ? 2 : 1);
	plan_done(&plan);
	trail_done(&trail);
	volume_options_done(&options);
	container_facts_done(&facts);
	free(changes_text);
	json_decref(changes);
	json_decref(options_json);
	policy_unref(policy);
}
END_TEST

START_TEST(a_host_without_environment_serves_only_grants_with_a_set)
{
	struct policy *policy = policy_example(policy_text);
	struct container_facts facts = container_example(NULL);
	struct container_facts blog =
		container_example("{\"name\": \"blog\", \"labels\": {\"role\": \"front\"}}");
	struct policy_question question = { .facts = &facts, .volume = "v", .cgroup_version = 2 };
	struct trail trail = { 0 };
	struct plan plan = { 0 };
	struct mayfly_error err;

	ck_assert_int_eq(policy_decide(policy, &question, &trail, &plan, &err), -EPERM);
	ck_assert_str_eq(err.text,
		"grant shop-web names no set and this host has no environment; run `mayfly init "
		"--environment NAME` or set `environment` in mayflyd.json");
	ck_assert_int_eq(policy_decide(policy, &question, &trail, &plan, NULL), -EPERM);
	question.facts = &blog;
	ck_assert_int_eq(policy_decide(policy, &question, &trail, &plan, &err), 0);
	plan_done(&plan);
	trail_done(&trail);
	container_facts_done(&facts);
	container_facts_done(&blog);
	policy_unref(policy);
}
END_TEST

START_TEST(more_files_than_a_delivery_holds_are_refused)
{
	static char text[65536];
	struct container_facts facts = container_example(NULL);
	const struct policy_question question = {
		.facts = &facts, .volume = "v", .environment = "dev", .cgroup_version = 2
	};
	size_t used = (size_t)snprintf(text, sizeof text, "{\"grants\": [");
	struct policy *policy;
	struct trail trail = { 0 };
	struct plan plan = { 0 };
	struct mayfly_error err;

	for (int grant = 0; grant < 2; grant++) {
		used += (size_t)snprintf(text + used, sizeof text - used,
			"%s{\"name\": \"g%d\", \"match\": {\"compose.project\": \"shop\"},"
			"\"secrets\": [",
			grant ? "," : "", grant);
		for (int i = 0; i < 65; i++)
			used += (size_t)snprintf(text + used, sizeof text - used,
				"%s{\"name\": \"s%d-%d\"}", i ? "," : "", grant, i);
		used += (size_t)snprintf(text + used, sizeof text - used, "]}");
	}
	(void)snprintf(text + used, sizeof text - used, "]}");
	policy = policy_example(text);
	ck_assert_int_eq(policy_decide(policy, &question, &trail, &plan, &err), -EPERM);
	ck_assert_ptr_nonnull(
		strstr(err.text, "the grants of shop-web-1 give 130 files, at most 128 fit"));
	trail_done(&trail);
	container_facts_done(&facts);
	policy_unref(policy);
}
END_TEST

START_TEST(of_many_grants_only_the_near_ones_are_explained)
{
	static char text[32768];
	struct container_facts facts = container_example("{\"labels\": {\"a\": \"1\"}}");
	const struct policy_question question = {
		.facts = &facts, .volume = "v", .environment = "dev", .cgroup_version = 2
	};
	size_t used = (size_t)snprintf(text, sizeof text, "{\"grants\": [");
	struct policy *policy;
	struct trail trail = { 0 };
	struct plan plan = { 0 };
	char steps[8192];

	for (int i = 0; i < 100; i++)
		used += (size_t)snprintf(text + used, sizeof text - used,
			"%s{\"name\": \"g%d\", \"match\": {\"container.label.a\": \"%d\","
			"\"container.label.b\": \"x\"}, \"secrets\": [{\"name\": \"s\"}]}",
			i ? "," : "", i, i);
	(void)snprintf(text + used, sizeof text - used, "]}");
	policy = policy_example(text);
	ck_assert_int_eq(policy_decide(policy, &question, &trail, &plan, NULL), -EPERM);
	describe_trail(&trail, steps, sizeof steps);
	ck_assert_str_eq(steps,
		"match failed grant g1 (example.json:1): container.label.b is not there, wanted "
		"'x'\nmatch noted 99 further grants do not match\n");
	trail_done(&trail);
	container_facts_done(&facts);
	policy_unref(policy);
}
END_TEST

/* Two containers, the second with CHANGES and OPTIONS: is it the same plan? */
static const struct {
	const char *reads_as;
	const char *changes;
	const char *options;
	bool equal;
} pairs[] = {
	{ "another container of the same service", "{'name': 'shop-web-2'}", "{}", true },
	{ "another user", "{'user': {'text': 'x', 'uid': 1001, 'gid': 1000, 'error': null}}", "{}",
		false },
	{ "another group", "{'user': {'text': 'x', 'uid': 1000, 'gid': 1001, 'error': null}}", "{}",
		false },
	{ "another user namespace", "{'uid_offset': 1}", "{}", false },
	{ "another service", DB(""), "{}", false },
	{ "fewer files", "{}", "{'grant': 'shop-web'}", false },
	{ "a file by another name", "{}",
		"{'files': 'db-password=x,keys/api,keys/api.previous,url'}", false },
	{ "a file of another mode", "{}",
		"{'files': 'db-password:mode=0000,keys/api,keys/api.previous,url'}", false },
	{ "current and previous exchanged", "{}",
		"{'files': "
		"'db-password,keys/api.previous=keys/api,keys/api=keys/api.previous,url'}",
		false },
	{ "another guard", "{'pid_mode': 'container:x'}", "{}", false },
};

START_TEST(plans_are_equal_for)
{
	struct policy *policy = policy_example(policy_text);
	json_t *changes = json_of(pairs[_i].changes), *options_json = json_of(pairs[_i].options);
	char *changes_text = json_dumps(changes, 0);
	struct container_facts a = container_example(NULL), b = container_example(changes_text);
	struct volume_options options;
	struct policy_question question = {
		.facts = &a, .volume = "v", .environment = "dev", .cgroup_version = 2
	};
	struct trail trail = { 0 };
	struct plan plan_a, plan_b;

	ck_assert_int_eq(volume_options_parse(options_json, &options, NULL), 0);
	ck_assert_int_eq(policy_decide(policy, &question, &trail, &plan_a, NULL), 0);
	question.facts = &b;
	question.options = &options;
	ck_assert_int_eq(policy_decide(policy, &question, &trail, &plan_b, NULL), 0);
	ck_assert_msg(plan_equal(&plan_a, &plan_b) == pairs[_i].equal, "%s", pairs[_i].reads_as);
	ck_assert(plan_equal(&plan_b, &plan_a) == pairs[_i].equal);
	plan_done(&plan_a);
	plan_done(&plan_b);
	trail_done(&trail);
	volume_options_done(&options);
	container_facts_done(&a);
	container_facts_done(&b);
	free(changes_text);
	json_decref(changes);
	json_decref(options_json);
	policy_unref(policy);
}
END_TEST

/* Of two grants, whichever comes first. NULL: not said. */
static const struct {
	const char *stricter, *laxer;
} releases[] = {
	{ "guard", NULL },
	{ "guard", "after-start" },
	{ "guard", "mount" },
	{ NULL, "after-start" },
	{ NULL, "mount" },
	{ "after-start", "mount" },
	{ "mount", "mount" },
	{ NULL, NULL },
};

static enum grant_release planned_release(const char *first, const char *second)
{
	char text[1024], words[2][64] = { "", "" };
	struct container_facts facts = container_example(NULL);
	const struct policy_question question = {
		.facts = &facts, .volume = "v", .environment = "dev", .cgroup_version = 2
	};
	struct trail trail = { 0 };
	struct policy *policy;
	struct plan plan;
	enum grant_release release;

	if (first)
		(void)snprintf(words[0], 64, ", \"release\": \"%s\"", first);
	if (second)
		(void)snprintf(words[1], 64, ", \"release\": \"%s\"", second);
	(void)snprintf(text, sizeof text,
		"{\"grants\": [{\"name\": \"a\", \"match\": {\"compose.project\": \"shop\"},"
		" \"secrets\": [{\"name\": \"a\"}]%s},"
		"{\"name\": \"b\", \"match\": {\"compose.project\": \"shop\"},"
		" \"secrets\": [{\"name\": \"b\"}]%s}]}",
		words[0], words[1]);
	policy = policy_example(text);
	ck_assert_int_eq(policy_decide(policy, &question, &trail, &plan, NULL), 0);
	release = plan.release;
	plan_done(&plan);
	trail_done(&trail);
	policy_unref(policy);
	container_facts_done(&facts);
	return release;
}

START_TEST(the_strictest_release_counts)
{
	const char *stricter = releases[_i].stricter, *laxer = releases[_i].laxer;
	const enum grant_release expect = planned_release(stricter, stricter);

	ck_assert_int_eq(planned_release(stricter, laxer), expect);
	ck_assert_int_eq(planned_release(laxer, stricter), expect);
}
END_TEST

START_TEST(a_plan_outlives_the_policy_s_owner)
{
	struct policy *policy = policy_example(policy_text);
	struct container_facts facts = container_example(NULL);
	const struct policy_question question = {
		.facts = &facts, .volume = "v", .environment = "dev", .cgroup_version = 2
	};
	struct trail trail = { 0 };
	struct plan plan;

	ck_assert_int_eq(policy_decide(policy, &question, &trail, &plan, NULL), 0);
	policy_unref(policy);
	ck_assert_str_eq(plan.files[0].grant->name, "shop-web");
	ck_assert_str_eq(plan.files[0].entry->name, "db-password");
	plan_done(&plan);
	plan_done(&plan);
	trail_done(&trail);
	container_facts_done(&facts);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_decision, 0, sizeof rows / sizeof rows[0]);
	tcase_add_test(cases, a_host_without_environment_serves_only_grants_with_a_set);
	tcase_add_test(cases, more_files_than_a_delivery_holds_are_refused);
	tcase_add_test(cases, of_many_grants_only_the_near_ones_are_explained);
	tcase_add_loop_test(cases, plans_are_equal_for, 0, sizeof pairs / sizeof pairs[0]);
	tcase_add_loop_test(
		cases, the_strictest_release_counts, 0, sizeof releases / sizeof releases[0]);
	tcase_add_test(cases, a_plan_outlives_the_policy_s_owner);
}

int main(void)
{
	return unit_test_run("policy_decide", add);
}
