/* Frames between the broker and mayfly-engine: a length (32 bits, host order, both ends are the
 * same machine and build) and as many bytes of JSON. The broker treats every frame as hostile. The
 * messages are in PROTOCOL.md. Takes frames apart and builds them; does no I/O. */
#pragma once

#include "proto/error.h"

#include <jansson.h>
#include <stddef.h>
#include <sys/types.h>

/* One container's facts with 128 KiB of labels fit; a list of containers is one frame each. */
#define FRAME_MAX_BYTES (256 * 1024)

struct frame_reader {
	char *bytes; /* FRAME_MAX_BYTES + 4, grown on demand */
	size_t length;
	size_t capacity;
};

void frame_reader_done(struct frame_reader *reader);

/* Room for at least WANTED more bytes; *RET_SIZE is how many may be written at the returned place.
 * NULL when out of memory. Tell frame_reader_added() how many were written. */
char *frame_reader_room(struct frame_reader *reader, size_t wanted, size_t *ret_size);
void frame_reader_added(struct frame_reader *reader, size_t count);

/* Takes the next whole frame out of READER as an object that the caller owns.
 * Returns 1; 0 when none is complete; -EMSGSIZE or -EBADMSG when the peer broke the rules. */
int frame_reader_next(struct frame_reader *reader, json_t **ret_object, struct mayfly_error *err);

/* Encodes OBJECT (borrowed) as a frame that the caller frees. Returns 0, -ENOMEM, -EMSGSIZE. */
int frame_encode(json_t *object, char **ret_bytes, size_t *ret_length);
