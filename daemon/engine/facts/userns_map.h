/* How the engine shifts the ids of its containers' users. The engine says it in the name of its own
 * directory: "/var/lib/docker/100000.100000". Does no I/O. */
#pragma once

#include "daemon/engine/facts/engine_place.h"
#include "proto/error.h"

#include <stdint.h>

/* What shadow-utils and the engine give to one subordinate user. A larger range in /etc/subuid is
 * not used: an id beyond this one is refused instead of being guessed. */
#define USERNS_MAP_RANGE 65536

struct userns_map {
	uint32_t uid_offset, gid_offset, id_count;
};

/* The map of a container with the user namespace mode MODE ("", "host") at PLACE.
 * Returns 0, or -EPROTO when the engine says that it remaps but its directory does not say how. */
int userns_map_of(const struct engine_place *place, const char *mode, struct userns_map *ret_map,
	struct mayfly_error *err);
