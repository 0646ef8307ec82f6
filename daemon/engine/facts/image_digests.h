/* The digests by which an image is known: the engine's table of repository names, turned around. */
#pragma once

#include "daemon/engine/facts/engine_place.h"
#include "daemon/engine/facts/engine_root.h"
#include "proto/error.h"

#include <jansson.h>

/* More digests of one image are not reported. */
#define IMAGE_DIGESTS_MAX 64

struct image_digest;

/* The table of one storage driver, read again when its file has changed. */
struct image_digests {
	struct image_digest *items; /* sorted by image */
	size_t count;
	struct file_mark mark;
};

/* All digests of the image IMAGE_ID: the id itself, MANIFEST_DIGEST unless NULL, and the digest of
 * each name "repository@sha256:..." that DRIVER's table gives it. A table that cannot be read gives
 * none. Returns an array that the caller owns, NULL when out of memory. */
json_t *image_digests_of(struct image_digests *digests, const struct engine_place *place,
	const char *driver, const char *image_id, const char *manifest_digest);

void image_digests_done(struct image_digests *digests);
