/* Files that were cut, bent or chewed: whatever comes of it is a complaint with a line, or a
 * policy. */
#include "daemon/broker/config/config.h"
#include "daemon/broker/policy/policy.h"

#include "policy/corpus_files.h"
#include "unit_test.h"

#include <errno.h>
#include <stdint.h>

#define ROUNDS 20000

static const char *const sets[] = { "common", "dev", "staging", "prod" };
static const char structure[] = "{}[],:\"";

/* Both readers fit: 0 for a good text, -EINVAL with lines for another. */
typedef int reader(const char *text, size_t length);

static int read_policy(const char *text, size_t length)
{
	const struct policy_text file = { "f.json", text, length };
	struct complaints complaints = { 0 }, notes = { 0 };
	struct policy *policy = NULL;
	const int r = policy_parse(
		&file, 1, sets, sizeof sets / sizeof sets[0], &policy, &complaints, &notes);

	ck_assert(r == 0 || r == -EINVAL);
	ck_assert((r == 0) == (policy != NULL));
	ck_assert_msg((r == 0) != all_have_lines(&complaints), "%.*s%s", (int)length, text,
		complaints_text(&complaints));
	policy_unref(policy);
	complaints_done(&complaints);
	complaints_done(&notes);
	return r;
}

static int read_config(const char *text, size_t length)
{
	struct complaints complaints = { 0 };
	struct config *config = NULL;
	const int r = config_parse("f.json", text, length, &config, &complaints);

	ck_assert(r == 0 || r == -EINVAL);
	ck_assert((r == 0) == (config != NULL));
	ck_assert_msg((r == 0) != all_have_lines(&complaints), "%.*s%s", (int)length, text,
		complaints_text(&complaints));
	config_free(config);
	complaints_done(&complaints);
	return r;
}

static const struct {
	const char *reads_as;
	const char *folder;
	reader *read;
} kinds[] = {
	{ "a policy", "policy/good", read_policy },
	{ "a configuration", "config/good", read_config },
};

#define KINDS (sizeof kinds / sizeof kinds[0])

static char *read_good(size_t kind, const char *name, size_t *ret_length)
{
	char path[512];

	return text_read(corpus_path(path, kinds[kind].folder, name), ret_length);
}

START_TEST(a_file_cut_at_any_byte_is_refused_with_a_line)
{
	size_t length = 0;
	AUTO_FREE char *text = read_good((size_t)_i, "every-key", &length);

	while (length > 0 && strchr(" \n", text[length - 1]))
		length--;
	ck_assert_int_eq(kinds[_i].read(text, length), 0);
	for (size_t cut = 0; cut < length; cut++) {
		/* Of its own size, so that a sanitizer sees a byte read too far. */
		AUTO_FREE char *part = malloc(cut + 1);

		memcpy(part, text, cut);
		ck_assert_msg(kinds[_i].read(part, cut) == -EINVAL, "cut at %zu", cut);
	}
}
END_TEST

START_TEST(each_structural_character_exchanged_is_refused_with_a_line)
{
	size_t length = 0;
	AUTO_FREE char *text = read_good((size_t)_i, "every-key", &length);
	bool in_string = false;

	for (size_t i = 0; i < length; i++) {
		const char kept = text[i];
		const bool was_inside = in_string;

		if (kept == '"')
			in_string = !in_string;
		if (!strchr(structure, kept) || (was_inside && kept != '"'))
			continue;
		for (const char *other = structure; *other; other++) {
			if (*other == kept)
				continue;
			text[i] = *other;
			ck_assert_msg(kinds[_i].read(text, length) == -EINVAL,
				"'%c' for '%c' at %zu", *other, kept, i);
		}
		text[i] = kept;
	}
}
END_TEST

/* ---- 20,000 mutations, always the same ones. ---- */

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static const char *const tokens[] = { "{", "}", "[", "]", "\"", ":", ",", "*", "{{", "}}", "|url",
	"|x", "null", "true", "false", "-1", "0", "1e9", "99999999999999999999", "\\u0000",
	"\\ud800", "\\", "\n", "\"grants\"", "\"name\"", "\"note\"", "\"match\"", "\"secrets\"",
	"\"as\"", "\"template\"", "\"versions\"", "\"previous\"", "\"compose.project\"",
	"\"inherits\"", "\"sets\"", "/", "..", "\xc3\xa4", "\xff",
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };

#define TEXT_ROOM 16384

static size_t replace(
	char *text, size_t length, size_t at, size_t gone, const char *by, size_t by_length)
{
	if (length - gone + by_length > TEXT_ROOM)
		return length;
	memmove(text + at + by_length, text + at + gone, length - at - gone);
	memcpy(text + at, by, by_length);
	return length - gone + by_length;
}

static size_t mutate(char *text, size_t length, uint32_t *state)
{
	const size_t at = length ? next_random(state) % length : 0;
	const size_t left = length - at;
	const size_t some = left ? next_random(state) % (left < 40 ? left : 40) : 0;
	const char *token = tokens[next_random(state) % (sizeof tokens / sizeof tokens[0])];
	char piece[40];

	switch (next_random(state) % 5) {
	case 0:
		if (left > 0)
			text[at] = (char)(text[at] ^ (1 << next_random(state) % 8));
		return length;
	case 1:
		return replace(text, length, at, some, "", 0);
	case 2:
		memcpy(piece, text + at, some);
		return replace(
			text, length, length ? next_random(state) % length : 0, 0, piece, some);
	case 3:
		return replace(text, length, at, some, token, strlen(token));
	default:
		return replace(text, length, at, 0, token, strlen(token));
	}
}

START_TEST(no_mutation_does_worse_than_a_complaint)
{
	AUTO_FREE char *room = malloc(TEXT_ROOM);
	size_t good = 0, bad = 0;
	uint32_t state = 123456789;
	glob_t lists[KINDS];

	for (size_t kind = 0; kind < KINDS; kind++)
		corpus_list(kinds[kind].folder, &lists[kind]);
	for (int round = 0; round < ROUNDS; round++) {
		const size_t kind = next_random(&state) % KINDS;
		const glob_t *list = &lists[kind];
		size_t length = 0;
		AUTO_FREE char *seed =
			text_read(list->gl_pathv[next_random(&state) % list->gl_pathc], &length);
		AUTO_FREE char *exact = NULL;

		memcpy(room, seed, length);
		for (uint32_t i = 0; i <= next_random(&state) % 4; i++)
			length = mutate(room, length, &state);
		exact = malloc(length + 1);
		memcpy(exact, room, length);
		if (kinds[kind].read(exact, length) == 0)
			good++;
		else
			bad++;
	}
	printf("# %d mutations: %zu still good, %zu complained of\n", ROUNDS, good, bad);
	ck_assert_uint_gt(good, ROUNDS / 50);
	ck_assert_uint_gt(bad, ROUNDS / 2);
	for (size_t kind = 0; kind < KINDS; kind++)
		globfree(&lists[kind]);
}
END_TEST

static void add(TCase *cases)
{
	tcase_set_timeout(cases, 200);
	tcase_add_loop_test(cases, a_file_cut_at_any_byte_is_refused_with_a_line, 0, KINDS);
	tcase_add_loop_test(
		cases, each_structural_character_exchanged_is_refused_with_a_line, 0, KINDS);
	tcase_add_test(cases, no_mutation_does_worse_than_a_complaint);
}

int main(void)
{
	return unit_test_run("policy_broken", add);
}
