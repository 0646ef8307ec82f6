/* Does a container get the engine's socket, and with it the host? A mount is told by what it is
 * (device and inode), not by its path: a symbolic link to /var/run, a directory above the socket
 * and a named volume that binds one are the same to the container. */
#pragma once

#include "daemon/engine/facts/engine_place.h"

#include <jansson.h>

/* Is one of BIND_SOURCES (paths), or what one of LOCAL_VOLUMES (names) binds, a socket of the
 * engine or of its containerd, or a directory in which one of them lies? A dozen stats and one for
 * each mount. A source in a directory that only another user may search counts as harmless: homes
 * are closed like that, and refusing them would refuse every developer's bind mount. */
bool engine_sockets_are_mounted(
	const struct engine_place *place, json_t *bind_sources, json_t *local_volumes);
