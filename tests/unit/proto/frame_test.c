#include "proto/frame.h"

#include "unit_test.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static void feed(struct frame_reader *reader, const char *bytes, size_t length)
{
	size_t size;
	char *room;

	if (length == 0)
		return;
	room = frame_reader_room(reader, length, &size);

	ck_assert_ptr_nonnull(room);
	memcpy(room, bytes, length);
	frame_reader_added(reader, length);
}

START_TEST(frames_are_found_at_every_cut)
{
	json_t *object = json_pack("{s:s}", "type", "done"), *found;
	struct frame_reader reader = { 0 };
	char *bytes;
	size_t length;

	ck_assert_int_eq(frame_encode(object, &bytes, &length), 0);
	for (size_t cut = 0; cut <= length; cut++) {
		feed(&reader, bytes, cut);
		if (cut < length)
			ck_assert_int_eq(frame_reader_next(&reader, &found, NULL), 0);
		feed(&reader, bytes + cut, length - cut);
		feed(&reader, bytes, length);
		for (int i = 0; i < 2; i++) {
			ck_assert_int_eq(frame_reader_next(&reader, &found, NULL), 1);
			ck_assert(json_equal(found, object));
			json_decref(found);
		}
		ck_assert_int_eq(frame_reader_next(&reader, &found, NULL), 0);
	}
	frame_reader_done(&reader);
	json_decref(object);
	free(bytes);
}
END_TEST

static const struct {
	const char *reads_as;
	uint32_t length;
	const char *body;
	int expect;
} broken[] = {
	{ "a length of nothing", 0, "", -EMSGSIZE },
	{ "a length beyond the limit", FRAME_MAX_BYTES + 1, "", -EMSGSIZE },
	{ "a body that is no JSON", 3, "abc", -EBADMSG },
	{ "a body that is an array", 2, "[]", -EBADMSG },
	{ "a body with two of one key", 13, "{\"a\":1,\"a\":2}", -EBADMSG },
};

START_TEST(a_broken_frame_is)
{
	struct frame_reader reader = { 0 };
	json_t *found;

	feed(&reader, (const char *)&broken[_i].length, 4);
	feed(&reader, broken[_i].body, strlen(broken[_i].body));
	ck_assert_msg(frame_reader_next(&reader, &found, NULL) == broken[_i].expect, "%s",
		broken[_i].reads_as);
	frame_reader_done(&reader);
}
END_TEST

START_TEST(an_object_over_the_limit_is_not_sent)
{
	char *text = malloc(FRAME_MAX_BYTES);
	json_t *object;
	char *bytes;
	size_t length;

	memset(text, 'x', FRAME_MAX_BYTES);
	object = json_pack("{s:s%}", "x", text, (size_t)FRAME_MAX_BYTES);
	ck_assert_int_eq(frame_encode(object, &bytes, &length), -EMSGSIZE);
	json_decref(object);
	free(text);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_test(cases, frames_are_found_at_every_cut);
	tcase_add_loop_test(cases, a_broken_frame_is, 0, sizeof broken / sizeof broken[0]);
	tcase_add_test(cases, an_object_over_the_limit_is_not_sent);
}

int main(void)
{
	return unit_test_run("frame", add);
}
