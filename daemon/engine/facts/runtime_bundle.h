/* The directory that containerd makes for a container's runtime: it names, before the container's
 * first instruction, which of our host paths it will mount. */
#pragma once

#include "daemon/engine/facts/container_files.h"
#include "proto/error.h"

#include <stdint.h>
#include <sys/types.h>

/* A mount id is the last part of a host path ".../run/mayfly-volumes/<64 hex digits>". */
#define BUNDLE_VOLUMES_DIRECTORY "/run/mayfly-volumes/"

struct runtime_bundle {
	char mount_ids[CONTAINER_VOLUMES_MAX][CONTAINER_ID_LENGTH + 1];
	size_t count;
	uint32_t uid, gid; /* as the runtime will set them, inside the container */
};

/* Reads config.json in DIRECTORY (below PLACE's root). Returns 0; -ENOENT or -EBADMSG when it is
 * not there or not whole (yet); another negative errno. */
int runtime_bundle_read(const struct engine_place *place, const char *directory,
	struct runtime_bundle *ret_bundle, struct mayfly_error *err);

/* The process that the bundle's init.pid names; 0 when there is none (yet). */
pid_t runtime_bundle_pid(const struct engine_place *place, const char *directory);
