#include "daemon/broker/policy/policy.h"

#include "daemon/broker/policy/policy_build.h"
#include "daemon/broker/policy/policy_match.h"
#include "policy/policy_example.h"
#include "unit_test.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

/* ---- Against every container of a small universe: two grants overlap exactly when some container
 * would get a file twice, or a file where there is a directory. ---- */

#define PROJECT "com.docker.compose.project"
#define SERVICE "com.docker.compose.service"

static const char *const matches[] = {
	"\"compose.project\": \"shop\"",
	"\"compose.project\": \"blog\"",
	"\"compose.project\": \"shop*\"",
	"\"compose.service\": \"web\"",
	"\"compose.service\": \"web-*\"",
	"\"compose.project\": \"shop\", \"compose.service\": \"web\"",
	"\"compose.project\": \"shop\", \"volume.name\": \"v1\"",
	"\"compose.service\": \"web\", \"volume.name\": \"v2\"",
	"\"compose.project\": \"shop-2\", \"compose.service\": \"w*\"",
};

static const char *const entries[] = {
	"{\"name\": \"a\"}",
	"{\"name\": \"b\"}",
	"{\"name\": \"a/b\"}",
	"{\"name\": \"a\", \"versions\": [\"previous\"]}",
	"{\"name\": \"a\", \"versions\": [\"current\", \"previous\"]}",
	"{\"name\": \"a.previous\"}",
	"{\"name\": \"a.previous/x\"}",
	"{\"name\": \"c/d\"}",
	"{\"name\": \"c/d/e\"}",
	"{\"name\": \"c/f\", \"versions\": [\"previous\"]}",
	"{\"name\": \"c/f.previous/g\"}",
	"{\"name\": \"ab\"}",
};

static const char *const projects[] = { NULL, "shop", "shop-2", "blog" };
static const char *const services[] = { NULL, "web", "web-1", "db" };
static const char *const volumes[] = { "v1", "v2" };

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

#define PICK(state, array) (array)[next_random(state) % (sizeof(array) / sizeof(array)[0])]

static void random_grant(uint32_t *state, size_t number, char *text, size_t size)
{
	size_t used = (size_t)snprintf(text, size,
		"{\"name\": \"g%zu\", \"match\": {%s}, \"secrets\": [%s", number,
		PICK(state, matches), PICK(state, entries));

	if (next_random(state) % 3 == 0)
		used += (size_t)snprintf(text + used, size - used, ",%s", PICK(state, entries));
	(void)snprintf(text + used, size - used, "]}");
}

/* The policy of TEXT, or NULL when it is refused. */
static struct policy *parse(const char *text)
{
	const struct policy_text file = { "f.json", text, strlen(text) };
	struct complaints complaints = { 0 }, notes = { 0 };
	struct policy *policy = NULL;
	const int r = policy_parse(&file, 1, NULL, 0, &policy, &complaints, &notes);

	ck_assert(r == 0 || (r == -EINVAL && complaints.count > 0));
	complaints_done(&complaints);
	complaints_done(&notes);
	return policy;
}

static size_t add_paths(const struct policy_grant *grant, char paths[][MAYFLY_FILE_PATH_SIZE])
{
	size_t count = 0;

	for (size_t i = 0; i < grant->entries_count; i++) {
		if (grant->entries[i].current)
			(void)snprintf(paths[count++], MAYFLY_FILE_PATH_SIZE, "%s",
				grant->entries[i].path);
		if (grant->entries[i].previous)
			(void)snprintf(paths[count++], MAYFLY_FILE_PATH_SIZE, "%s.previous",
				grant->entries[i].path);
	}
	return count;
}

static bool clash(const char *a, const char *b)
{
	const size_t length = strlen(a);

	return strncmp(a, b, length) == 0 && (b[length] == '\0' || b[length] == '/');
}

/* Whether this container gets a clash from the grants that match it. */
static bool container_clashes(struct policy *const *singles, size_t count, const char *project,
	const char *service, const char *volume)
{
	struct container_facts facts = { .labels = json_object(), .name = "", .image_name = "" };
	char paths[32][MAYFLY_FILE_PATH_SIZE];
	size_t paths_count = 0;
	bool found = false;

	if (project)
		json_object_set_new(facts.labels, PROJECT, json_string(project));
	if (service)
		json_object_set_new(facts.labels, SERVICE, json_string(service));
	for (size_t i = 0; i < count; i++)
		if (!grant_mismatch(&singles[i]->grants[0], &facts, volume))
			paths_count += add_paths(&singles[i]->grants[0], &paths[paths_count]);
	for (size_t i = 0; i < paths_count; i++)
		for (size_t k = 0; k < paths_count; k++)
			found |= i != k && clash(paths[i], paths[k]);
	json_decref(facts.labels);
	return found;
}

static bool any_container_clashes(struct policy *const *singles, size_t count)
{
	for (size_t p = 0; p < 4; p++)
		for (size_t s = 0; s < 4; s++)
			for (size_t v = 0; v < 2; v++)
				if (container_clashes(
					    singles, count, projects[p], services[s], volumes[v]))
					return true;
	return false;
}

START_TEST(policies_are_refused_exactly_when_some_container_would_get_a_clash)
{
	uint32_t state = 88172645;
	size_t refused = 0, accepted = 0;

	for (int round = 0; round < 2000; round++) {
		char grants[3][512], whole[2048], single[600];
		struct policy *singles[3] = { 0 }, *policy;
		bool all_good = true;

		for (size_t i = 0; i < 3; i++) {
			random_grant(&state, i, grants[i], sizeof grants[i]);
			(void)snprintf(single, sizeof single, "{\"grants\": [%s]}", grants[i]);
			singles[i] = parse(single);
			all_good &= singles[i] != NULL;
		}
		if (all_good) {
			(void)snprintf(whole, sizeof whole, "{\"grants\": [%s,\n%s,\n%s]}",
				grants[0], grants[1], grants[2]);
			policy = parse(whole);
			ck_assert_msg(
				(policy == NULL) == any_container_clashes(singles, 3), "%s", whole);
			refused += policy == NULL;
			accepted += policy != NULL;
			policy_unref(policy);
		}
		for (size_t i = 0; i < 3; i++)
			policy_unref(singles[i]);
	}
	ck_assert_uint_gt(refused, 200);
	ck_assert_uint_gt(accepted, 200);
}
END_TEST

/* ---- Size. ---- */

#define GRANTS 1000

#ifdef MAYFLY_SANITIZED
#define SLOWER 20
#else
#define SLOWER 1
#endif

/* Of this process: what else the machine does is not counted. */
static double now_ms(void)
{
	struct timespec now;

	ck_assert_int_eq(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now), 0);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* A thousand grants with five files each. EXCLUDING: all files have the same five names and the
 * matches exclude each other; else nothing excludes anything and no name is the same. */
static char *many_grants(bool excluding)
{
	const size_t size = (size_t)GRANTS * 600;
	char *text = malloc(size);
	size_t used = (size_t)snprintf(text, size, "{\n\"grants\": [");

	for (int i = 0; i < GRANTS; i++) {
		used += (size_t)snprintf(text + used, size - used,
			"%s\n{\"name\": \"grant-%d\", \"match\": {\"compose.project\": "
			"\"project-%d\","
			" \"%s-%d\": \"service-%d\"},\n \"require\": {\"non_root\": true},\n"
			" \"secrets\": [",
			i ? "," : "", i, excluding ? i / 4 : 0,
			excluding ? "container.label.x" : "container.label.y", excluding ? 0 : i,
			i % 4);
		for (int k = 0; k < 5; k++)
			used += (size_t)snprintf(text + used, size - used,
				"%s{\"name\": \"shop/secret-%d-%d\"}", k ? ", " : "",
				excluding ? 0 : i, k);
		used += (size_t)snprintf(text + used, size - used, "]}");
	}
	(void)snprintf(text + used, size - used, "]}\n");
	return text;
}

static void measure(const char *what, bool excluding)
{
	static const char *files[GRANTS];
	char *text = many_grants(excluding);
	struct complaints complaints = { 0 };
	struct policy_build build = { .files = files, .complaints = &complaints };
	double start = now_ms(), parsed, checked;
	struct policy *policy = parse(text);

	parsed = now_ms() - start;
	ck_assert_ptr_nonnull(policy);
	ck_assert_uint_eq(policy->grants_count, GRANTS);
	build.policy = policy;
	start = now_ms();
	ck_assert_int_eq(overlap_check(&build), 0);
	checked = now_ms() - start;
	ck_assert_uint_eq(complaints.count, 0);
	printf("# %d grants, %s: parsed in %.1f ms, of that the overlap check %.1f ms\n", GRANTS,
		what, parsed, checked);
	ck_assert_double_lt(checked, 100.0 * SLOWER);
	policy_unref(policy);
	free(text);
}

START_TEST(a_thousand_grants_are_checked_quickly)
{
	measure("all with the same names, excluding each other", true);
	measure("all with other names, excluding nothing", false);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, policies_are_refused_exactly_when_some_container_would_get_a_clash);
	tcase_add_test(cases, a_thousand_grants_are_checked_quickly);
}

int main(void)
{
	return unit_test_run("policy_overlap", add);
}
