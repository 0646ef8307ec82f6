#include "daemon/broker/policy/policy_match.h"

#include "policy/policy_example.h"
#include "unit_test.h"

#include <stdint.h>
#include <stdio.h>

/* MATCH is the inside of a `match`; EXPECT the key of the term that does not hold, NULL for none.
 */
static const struct {
	const char *reads_as;
	const char *match;
	const char *changes;
	const char *expect;
} matches[] = {
	{ "a project", "'compose.project': 'shop'", NULL, NULL },
	{ "another project", "'compose.project': 'blog'", NULL, "compose.project" },
	{ "a project that only begins so", "'compose.project': 'sho'", NULL, "compose.project" },
	{ "a project by its prefix", "'compose.project': 'sho*'", NULL, NULL },
	{ "a prefix that is the whole", "'compose.project': 'shop*'", NULL, NULL },
	{ "a prefix that is longer", "'compose.project': 'shop-*'", NULL, "compose.project" },
	{ "letters of another case", "'compose.service': 'Web'", NULL, "compose.service" },
	{ "a label that is not there", "'container.label.team': 'x'", NULL,
		"container.label.team" },
	{ "any value of a label that is not there",
		"'compose.project': 'shop', 'container.label.team': '*'", NULL,
		"container.label.team" },
	{ "any value of a label that is empty",
		"'compose.project': 'shop', 'container.label.team': '*'",
		"{'labels': {'com.docker.compose.project': 'shop', 'team': ''}}", NULL },
	{ "a label by its own name", "'container.label.com.docker.compose.service': 'web'", NULL,
		NULL },
	{ "a swarm service", "'swarm.service': 'shop_web'",
		"{'labels': {'com.docker.swarm.service.name': 'shop_web'}}", NULL },
	{ "no swarm service", "'swarm.service': 'shop_web'", NULL, "swarm.service" },
	{ "a container's name", "'container.name': 'shop-web-1'", NULL, NULL },
	{ "a container's name by its prefix", "'container.name': 'shop-web-*'", NULL, NULL },
	{ "another container's name", "'container.name': 'shop-web-2'", NULL, "container.name" },
	{ "an image's name", "'image.name': 'shop/web:1'", NULL, NULL },
	{ "an image's name without its tag", "'image.name': 'shop/web'", NULL, "image.name" },
	{ "an image's name by its prefix", "'image.name': 'shop/web:*'", NULL, NULL },
	{ "the image's own digest", "'image.digest': '" DIGEST_A "'", NULL, NULL },
	{ "a repository's digest", "'image.digest': '" DIGEST_B "'", NULL, NULL },
	{ "another digest", "'image.digest': '" DIGEST_C "'", NULL, "image.digest" },
	{ "any digest of an image without digests", "'image.digest': '" DIGEST_A "'",
		"{'image_digests': []}", "image.digest" },
	{ "the volume", "'volume.name': 'shop_secrets'", NULL, NULL },
	{ "another volume", "'volume.name': 'secrets'", NULL, "volume.name" },
	{ "a service, one-off or not", "'compose.service': 'web'",
		"{'labels': {'com.docker.compose.service': 'web',"
		" 'com.docker.compose.oneoff': 'True'}}",
		NULL },
	{ "no one-off", "'compose.service': 'web', 'compose.oneoff': false", NULL, NULL },
	{ "no one-off where Compose says nothing",
		"'compose.service': 'web', 'compose.oneoff': false",
		"{'labels': {'com.docker.compose.service': 'web'}}", NULL },
	{ "no one-off where it is one", "'compose.service': 'web', 'compose.oneoff': false",
		"{'labels': {'com.docker.compose.service': 'web',"
		" 'com.docker.compose.oneoff': 'True'}}",
		"compose.oneoff" },
	{ "no one-off where the label has a third value",
		"'compose.service': 'web', 'compose.oneoff': false",
		"{'labels': {'com.docker.compose.service': 'web',"
		" 'com.docker.compose.oneoff': 'true'}}",
		"compose.oneoff" },
	{ "a one-off", "'compose.service': 'web', 'compose.oneoff': true",
		"{'labels': {'com.docker.compose.service': 'web',"
		" 'com.docker.compose.oneoff': 'True'}}",
		NULL },
	{ "a one-off where it is none", "'compose.service': 'web', 'compose.oneoff': true", NULL,
		"compose.oneoff" },
	{ "a one-off where Compose says nothing",
		"'compose.service': 'web', 'compose.oneoff': true",
		"{'labels': {'com.docker.compose.service': 'web'}}", "compose.oneoff" },
	{ "all terms but the last", "'compose.project': 'shop', 'compose.service': 'db'", NULL,
		"compose.service" },
};

static void with_quotes(char *text)
{
	for (; *text; text++)
		if (*text == '\'')
			*text = '"';
}

START_TEST(a_container_is_matched_by)
{
	char text[1024], changes[1024], key[160];
	struct container_facts facts;
	struct policy *policy;
	const struct policy_term *term;

	(void)snprintf(text, sizeof text,
		"{'grants': [{'name': 'g', 'match': {%s}, 'secrets': [{'name': 'a'}]}]}",
		matches[_i].match);
	(void)snprintf(
		changes, sizeof changes, "%s", matches[_i].changes ? matches[_i].changes : "{}");
	with_quotes(text);
	with_quotes(changes);
	policy = policy_example(text);
	facts = container_example(changes);
	term = grant_mismatch(&policy->grants[0], &facts, "shop_secrets");
	if (matches[_i].expect) {
		ck_assert_msg(term != NULL, "%s: matches", matches[_i].reads_as);
		ck_assert_str_eq(term_key(term, key, sizeof key), matches[_i].expect);
		ck_assert_uint_lt(grant_terms_held(&policy->grants[0], &facts, "shop_secrets"),
			policy->grants[0].terms_count);
	} else {
		ck_assert_msg(term == NULL, "%s: does not match", matches[_i].reads_as);
	}
	container_facts_done(&facts);
	policy_unref(policy);
}
END_TEST

START_TEST(a_term_that_is_none_holds_for_nobody)
{
	struct policy_term term = { .key = MATCH_INVALID, .value = "" };
	const struct policy_grant grant = { .terms = &term, .terms_count = 1 };
	struct container_facts facts = container_example(NULL);

	ck_assert_ptr_eq(grant_mismatch(&grant, &facts, "v"), &term);
	container_facts_done(&facts);
}
END_TEST

/* ---- Exclusion against every container of a small universe. ---- */

#define PROJECT	   "com.docker.compose.project"
#define ONEOFF	   "com.docker.compose.oneoff"
#define GRANTS	   400
#define CONTAINERS (4 * 4 * 3 * 2 * 2 * 4)

static const char *const projects[] = { NULL, "shop", "shop-2", "blog" };
static const char *const oneoffs[] = { NULL, "True", "False", "other" };
static const char *const names[] = { "a", "ab", "b" };
static const char *const images[] = { "x", "x:1" };
static const char *const volumes[] = { "v", "v2" };
static const char *const digests[] = { "", "A", "B", "AB" };

#define LABEL(k, l, v, p)                                                \
	{                                                                \
		.key = (k), .label = (l), .value = (v), .is_prefix = (p) \
	}

static struct policy_term pool[] = {
	LABEL(MATCH_COMPOSE_PROJECT, PROJECT, "shop", false),
	LABEL(MATCH_COMPOSE_PROJECT, PROJECT, "shop-2", false),
	LABEL(MATCH_COMPOSE_PROJECT, PROJECT, "shop", true),
	LABEL(MATCH_COMPOSE_PROJECT, PROJECT, "shop-", true),
	LABEL(MATCH_COMPOSE_PROJECT, PROJECT, "", true),
	LABEL(MATCH_CONTAINER_LABEL, PROJECT, "b", true),
	LABEL(MATCH_CONTAINER_LABEL, PROJECT, "blog", false),
	{ .key = MATCH_COMPOSE_ONEOFF, .label = ONEOFF, .value = "", .wanted = true },
	{ .key = MATCH_COMPOSE_ONEOFF, .label = ONEOFF, .value = "", .wanted = false },
	LABEL(MATCH_CONTAINER_LABEL, ONEOFF, "True", false),
	LABEL(MATCH_CONTAINER_LABEL, ONEOFF, "False", false),
	LABEL(MATCH_CONTAINER_LABEL, ONEOFF, "F", true),
	LABEL(MATCH_CONTAINER_LABEL, ONEOFF, "oth", true),
	LABEL(MATCH_CONTAINER_NAME, NULL, "a", false),
	LABEL(MATCH_CONTAINER_NAME, NULL, "a", true),
	LABEL(MATCH_CONTAINER_NAME, NULL, "ab", true),
	LABEL(MATCH_CONTAINER_NAME, NULL, "b", false),
	LABEL(MATCH_IMAGE_NAME, NULL, "x", false),
	LABEL(MATCH_IMAGE_NAME, NULL, "x:", true),
	LABEL(MATCH_VOLUME_NAME, NULL, "v", false),
	LABEL(MATCH_VOLUME_NAME, NULL, "v2", false),
	LABEL(MATCH_IMAGE_DIGEST, NULL, "A", false),
	LABEL(MATCH_IMAGE_DIGEST, NULL, "B", false),
};

#define POOL (sizeof pool / sizeof pool[0])

static struct container_facts universe_container(size_t number, const char **ret_volume)
{
	struct container_facts facts = { 0 };
	const char *project = projects[number % 4];
	const char *oneoff = oneoffs[number / 4 % 4];
	const char *digest = digests[number / (4 * 4 * 3 * 2 * 2)];

	facts.labels = json_object();
	if (project)
		json_object_set_new(facts.labels, PROJECT, json_string(project));
	if (oneoff)
		json_object_set_new(facts.labels, ONEOFF, json_string(oneoff));
	facts.name = names[number / 16 % 3];
	facts.image_name = images[number / 48 % 2];
	*ret_volume = volumes[number / 96 % 2];
	facts.image_digests = json_array();
	for (; *digest; digest++)
		json_array_append_new(facts.image_digests, json_stringn(digest, 1));
	return facts;
}

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* One to three terms that do not contradict each other, as policy_parse() lets them through. */
static size_t random_terms(uint32_t *state, struct policy_term terms[3])
{
	const size_t wanted = 1 + next_random(state) % 3;
	size_t count = 0;

	while (count < wanted) {
		const struct policy_term *term = &pool[next_random(state) % POOL];
		bool contradicts = false;

		for (size_t i = 0; i < count; i++)
			contradicts |= terms_exclude(&terms[i], term);
		if (!contradicts)
			terms[count++] = *term;
	}
	return count;
}

START_TEST(grants_exclude_each_other_exactly_when_no_container_matches_both)
{
	static struct policy_term terms[GRANTS][3];
	static struct policy_grant grants[GRANTS];
	static bool matched[GRANTS][CONTAINERS];
	uint32_t state = 2463534242;
	size_t excluded = 0;

	for (size_t i = 0; i < GRANTS; i++)
		grants[i] = (struct policy_grant){ .terms = terms[i],
			.terms_count = random_terms(&state, terms[i]) };
	for (size_t c = 0; c < CONTAINERS; c++) {
		const char *volume;
		struct container_facts facts = universe_container(c, &volume);

		for (size_t i = 0; i < GRANTS; i++)
			matched[i][c] = !grant_mismatch(&grants[i], &facts, volume);
		json_decref(facts.labels);
		json_decref(facts.image_digests);
	}
	for (size_t a = 0; a < GRANTS; a++) {
		for (size_t b = 0; b <= a; b++) {
			bool both = false;

			for (size_t c = 0; c < CONTAINERS; c++)
				both |= matched[a][c] && matched[b][c];
			ck_assert_msg(grants_exclude(&grants[a], &grants[b]) == !both,
				"grants %zu and %zu", a, b);
			ck_assert(grants_exclude(&grants[b], &grants[a]) == !both);
			excluded += !both;
		}
	}
	/* Both answers are well represented. */
	ck_assert_uint_gt(excluded, GRANTS * GRANTS / 20);
	ck_assert_uint_lt(excluded, GRANTS * GRANTS / 2 - GRANTS * GRANTS / 20);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(
		cases, a_container_is_matched_by, 0, sizeof matches / sizeof matches[0]);
	tcase_add_test(cases, a_term_that_is_none_holds_for_nobody);
	tcase_add_test(cases, grants_exclude_each_other_exactly_when_no_container_matches_both);
}

int main(void)
{
	return unit_test_run("policy_match", add);
}
