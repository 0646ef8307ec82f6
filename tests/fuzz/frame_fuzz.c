/* Frames between the broker and mayfly-engine: however the bytes are cut into pieces, the same
 * objects come out. */
#include "proto/frame.h"
#include "tests/fuzz/fuzz.h"

static void add(struct frame_reader *reader, const uint8_t *bytes, size_t count)
{
	size_t room = 0;
	char *place = frame_reader_room(reader, count > 0 ? count : 1, &room);

	assert(place && room >= count);
	if (count > 0)
		memcpy(place, bytes, count);
	frame_reader_added(reader, count);
}

/* Takes what is complete out of READER into ALL. Negative when the peer broke the rules. */
static int take(struct frame_reader *reader, json_t *all)
{
	struct mayfly_error err;
	json_t *object = NULL;
	int r;

	while ((r = frame_reader_next(reader, &object, &err)) > 0) {
		assert(json_is_object(object));
		(void)json_array_append_new(all, object);
	}
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	size_t length = size;
	const size_t piece = 1u + fuzz_byte(bytes, &length) % 64;
	struct frame_reader once = { 0 }, pieces = { 0 };
	json_t *all = json_array(), *same = json_array();
	int r, s = 0;

	add(&once, bytes, length);
	r = take(&once, all);
	for (size_t at = 0; at < length && s == 0; at += piece) {
		add(&pieces, bytes + at, length - at < piece ? length - at : piece);
		s = take(&pieces, same);
	}
	assert(r == s && json_equal(all, same));
	json_decref(all);
	json_decref(same);
	frame_reader_done(&once);
	frame_reader_done(&pieces);
	return 0;
}
