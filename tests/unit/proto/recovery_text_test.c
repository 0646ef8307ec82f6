#include "proto/recovery_text.h"

#include "proto/cleanup.h"
#include "unit_test.h"

#include <ctype.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define TEXT_LENGTH 77

static struct arena *new_arena(void)
{
	struct arena *arena = NULL;

	ck_assert_int_eq(arena_new((size_t)64 * 4096, &arena, NULL), 0);
	return arena;
}

/* A random key as text in TEXT, with an end. */
static void random_text(struct arena *arena, unsigned char *key_bytes, char *text)
{
	AUTO_SECRET key = { 0 }, written = { 0 };

	ck_assert_int_eq(secret_new(arena, RECOVERY_KEY_BYTES, &key, NULL), 0);
	randombytes_buf(key.bytes, key.length);
	ck_assert_int_eq(recovery_text_write(&key, &written, NULL), 0);
	ck_assert_uint_eq(written.length, TEXT_LENGTH);
	memcpy(key_bytes, key.bytes, RECOVERY_KEY_BYTES);
	memcpy(text, written.bytes, TEXT_LENGTH);
	text[TEXT_LENGTH] = '\0';
}

static int read_text(
	struct arena *arena, const char *text, unsigned char *key_bytes, struct mayfly_error *err)
{
	AUTO_SECRET typed = { 0 }, key = { 0 };
	int r;

	ck_assert_int_eq(secret_new(arena, strlen(text), &typed, NULL), 0);
	if (typed.length > 0)
		memcpy(typed.bytes, text, typed.length);
	r = recovery_text_read(&typed, &key, err);
	if (r == 0)
		memcpy(key_bytes, key.bytes, RECOVERY_KEY_BYTES);
	return r;
}

START_TEST(every_key_comes_back)
{
	unsigned char key[RECOVERY_KEY_BYTES], back[RECOVERY_KEY_BYTES];
	struct arena *arena = new_arena();
	char text[TEXT_LENGTH + 1];

	for (int i = 0; i < 300; i++) {
		random_text(arena, key, text);
		ck_assert_int_eq(read_text(arena, text, back, NULL), 0);
		ck_assert_mem_eq(key, back, sizeof key);
	}
	ck_assert_uint_eq(arena_used_bytes(arena), 0);
	arena_free(arena);
}
END_TEST

START_TEST(case_spaces_and_look_alikes_are_forgiven)
{
	unsigned char key[RECOVERY_KEY_BYTES], back[RECOVERY_KEY_BYTES];
	char text[TEXT_LENGTH + 1], sloppy[2 * TEXT_LENGTH + 2], *end = sloppy;
	struct arena *arena = new_arena();

	random_text(arena, key, text);
	for (const char *c = text; *c; c++) {
		*end++ = *c == '-' ? ' ' : *c == '0' ? 'o' : *c == '1' ? 'l' : (char)tolower(*c);
		if (c - text == 20)
			*end++ = '\t';
	}
	*end++ = '\n';
	*end = '\0';
	ck_assert_int_eq(read_text(arena, sloppy, back, NULL), 0);
	ck_assert_mem_eq(key, back, sizeof key);
	arena_free(arena);
}
END_TEST

/* Fails unless ERR says "group N" with N the group of position AT. */
static void assert_locates(const struct mayfly_error *err, size_t at)
{
	char group[16];

	snprintf(group, sizeof group, "group %zu ", at / 6 + 1);
	ck_assert_msg(strstr(err->text, group) != NULL, "'%s' should say '%s'", err->text, group);
}

START_TEST(any_one_wrong_character_is_located)
{
	static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
	unsigned char key[RECOVERY_KEY_BYTES];
	struct arena *arena = new_arena();
	char text[TEXT_LENGTH + 1];

	random_text(arena, key, text);
	for (size_t at = 0; at < TEXT_LENGTH; at++) {
		const char right = text[at];

		if (right == '-')
			continue;
		for (const char *wrong = alphabet; *wrong; wrong++) {
			struct mayfly_error err = { 0 };

			if (*wrong == right)
				continue;
			text[at] = *wrong;
			ck_assert_int_eq(read_text(arena, text, key, &err), -EINVAL);
			assert_locates(&err, at);
		}
		text[at] = right;
	}
	arena_free(arena);
}
END_TEST

START_TEST(neighbours_and_groups_that_change_places_are_found)
{
	unsigned char key[RECOVERY_KEY_BYTES];
	struct arena *arena = new_arena();
	char text[TEXT_LENGTH + 1], wrong[TEXT_LENGTH + 1], group[5];

	random_text(arena, key, text);
	for (size_t at = 0; at + 1 < TEXT_LENGTH; at++) {
		struct mayfly_error err = { 0 };

		memcpy(wrong, text, sizeof text);
		wrong[at] = text[at + 1];
		wrong[at + 1] = text[at];
		if (text[at] == text[at + 1] || text[at] == '-' || text[at + 1] == '-')
			continue;
		ck_assert_int_eq(read_text(arena, wrong, key, &err), -EINVAL);
		assert_locates(&err, at);
	}
	for (size_t a = 0; a < 13; a++) {
		for (size_t b = a + 1; b < 13; b++) {
			memcpy(wrong, text, sizeof text);
			memcpy(group, wrong + a * 6, 5);
			memmove(wrong + a * 6, wrong + b * 6, 5);
			memcpy(wrong + b * 6, group, 5);
			if (strcmp(wrong, text) == 0)
				continue;
			ck_assert_int_eq(read_text(arena, wrong, key, NULL), -EINVAL);
		}
	}
	arena_free(arena);
}
END_TEST

static const struct {
	const char *name;
	const char *text; /* NULL: a right one, changed by the next two */
	size_t cut;	  /* so many characters are missing at the end */
	const char *tail;
	const char *says;
} malformed[] = {
	{ "nothing", "", 0, "", "empty" },
	{ "dashes only", "-- --", 0, "", "group 1 " },
	{ "the last character is missing", NULL, 1, "", "64" },
	{ "the last group is missing", NULL, 6, "", "group 13 " },
	{ "a character too many", NULL, 0, "A", "66" },
	{ "a character that no key has", NULL, 1, "U", "group 13 " },
	{ "a byte that is no character", NULL, 1, "\xff", "group 13 " },
};

START_TEST(what_is_no_recovery_key_is_refused)
{
	unsigned char key[RECOVERY_KEY_BYTES];
	struct mayfly_error err = { 0 };
	struct arena *arena = new_arena();
	char text[TEXT_LENGTH + 8];

	random_text(arena, key, text);
	if (malformed[_i].text)
		strcpy(text, malformed[_i].text);
	text[strlen(text) - malformed[_i].cut] = '\0';
	strcat(text, malformed[_i].tail);
	ck_assert_msg(
		read_text(arena, text, key, &err) == -EINVAL, "%s is taken", malformed[_i].name);
	ck_assert_msg(strstr(err.text, malformed[_i].says) != NULL, "%s: '%s'", malformed[_i].name,
		err.text);
	arena_free(arena);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, every_key_comes_back);
	tcase_add_test(cases, case_spaces_and_look_alikes_are_forgiven);
	tcase_add_test(cases, any_one_wrong_character_is_located);
	tcase_add_test(cases, neighbours_and_groups_that_change_places_are_found);
	tcase_add_loop_test(cases, what_is_no_recovery_key_is_refused, 0,
		sizeof malformed / sizeof malformed[0]);
}

int main(void)
{
	return unit_test_run("recovery_text", add);
}
