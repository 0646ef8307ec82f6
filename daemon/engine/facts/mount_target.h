/* Where a container's runtime will mount what is configured for a path: symbolic links in the image
 * are resolved below the container's root, a part that does not exist is taken as it stands, ".."
 * never leads above the root.
 * The image's author chooses every link, so the work is bounded. */
#pragma once

#include "daemon/engine/facts/engine_root.h"
#include "proto/error.h"

#include <stddef.h>

/* More links than the kernel itself follows, or deeper paths, are refused. */
#define MOUNT_TARGET_LINKS_MAX 40
#define MOUNT_TARGET_PARTS_MAX 256

/* Writes PATH, resolved below ROOT (an O_PATH descriptor; -1: nothing is looked up, the path is
 * only made tidy), to BUFFER of SIZE bytes, without a leading "/"; "" is the root itself. A
 * directory that may not be searched counts as one without links: a wrong answer is found when the
 * mount is looked for there. Returns 0, -ELOOP, -ENAMETOOLONG, or another negative errno. */
int mount_target_resolve(int root, enum root_scope scope, const char *path, char *buffer,
	size_t size, struct mayfly_error *err);
