#include "proto/frame.h"

#include "proto/cleanup.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH_BYTES sizeof(uint32_t)

void frame_reader_done(struct frame_reader *reader)
{
	free(reader->bytes);
	*reader = (struct frame_reader){ 0 };
}

char *frame_reader_room(struct frame_reader *reader, size_t wanted, size_t *ret_size)
{
	if (reader->capacity - reader->length < wanted) {
		const size_t capacity = reader->length + wanted;
		char *bytes = realloc(reader->bytes, capacity);

		if (!bytes)
			return NULL;
		reader->bytes = bytes;
		reader->capacity = capacity;
	}
	*ret_size = reader->capacity - reader->length;
	return reader->bytes + reader->length;
}

void frame_reader_added(struct frame_reader *reader, size_t count)
{
	reader->length += count;
}

static void drop_front(struct frame_reader *reader, size_t count)
{
	reader->length -= count;
	memmove(reader->bytes, reader->bytes + count, reader->length);
}

int frame_reader_next(struct frame_reader *reader, json_t **ret_object, struct mayfly_error *err)
{
	json_error_t where;
	uint32_t length;
	json_t *object;

	if (reader->length < LENGTH_BYTES)
		return 0;
	memcpy(&length, reader->bytes, LENGTH_BYTES);
	if (length == 0 || length > FRAME_MAX_BYTES)
		return error_set(err, -EMSGSIZE, "a frame of %u bytes", length);
	if (reader->length < LENGTH_BYTES + length)
		return 0;
	object = json_loadb(reader->bytes + LENGTH_BYTES, length, JSON_REJECT_DUPLICATES, &where);
	drop_front(reader, LENGTH_BYTES + length);
	if (!json_is_object(object)) {
		json_decref(object);
		return error_set(err, -EBADMSG, "a frame that is no JSON object");
	}
	*ret_object = object;
	return 1;
}

int frame_encode(json_t *object, char **ret_bytes, size_t *ret_length)
{
	AUTO_FREE char *text = json_dumps(object, JSON_COMPACT);
	uint32_t length;
	char *bytes;

	if (!text)
		return -ENOMEM;
	if (strlen(text) > FRAME_MAX_BYTES)
		return -EMSGSIZE;
	length = (uint32_t)strlen(text);
	bytes = malloc(LENGTH_BYTES + length);
	if (!bytes)
		return -ENOMEM;
	memcpy(bytes, &length, LENGTH_BYTES);
	memcpy(bytes + LENGTH_BYTES, text, length);
	*ret_bytes = bytes;
	*ret_length = LENGTH_BYTES + length;
	return 0;
}
