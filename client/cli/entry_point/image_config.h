/* What an image runs by itself, from the engine. */
#pragma once

#include "client/cli/terminal/text.h"

/* Asks `docker image inspect` for IMAGE. *RET_ENTRYPOINT and *RET_COMMAND are arrays of texts,
 * empty where the image has none; the caller owns them. Blocks. -ENOENT when there is no docker or
 * no such image here; another negative errno. */
int image_config_read(
	const char *image, json_t **ret_entrypoint, json_t **ret_command, struct mayfly_error *err);
