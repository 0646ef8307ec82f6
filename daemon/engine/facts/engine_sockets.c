#include "daemon/engine/facts/engine_sockets.h"

#include "daemon/engine/facts/engine_root.h"
#include "daemon/engine/facts/mount_target.h"
#include "proto/cleanup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The sockets and every directory above them. */
#define PLACES_MAX 64

#define VOLUME_OPTIONS_MAX_BYTES 65536

struct guarded_places {
	struct {
		dev_t device;
		ino_t inode;
	} places[PLACES_MAX];
	size_t count;
};

static bool are_among(const struct guarded_places *guarded, const struct stat *status)
{
	for (size_t i = 0; i < guarded->count; i++)
		if (guarded->places[i].device == status->st_dev &&
			guarded->places[i].inode == status->st_ino)
			return true;
	/* A table that overflowed cannot say no. */
	return guarded->count == PLACES_MAX;
}

static void guard(struct guarded_places *guarded, int root, const char *path)
{
	struct stat status;

	if (guarded->count == PLACES_MAX || root_stat(root, path, &status) < 0 ||
		are_among(guarded, &status))
		return;
	guarded->places[guarded->count].device = status.st_dev;
	guarded->places[guarded->count].inode = status.st_ino;
	guarded->count++;
}

/* PATH and every directory above it, once its links are resolved. */
static void guard_with_parents(struct guarded_places *guarded, int root, const char *path)
{
	char canonical[ENGINE_PATH_SIZE];
	char *slash;

	if (mount_target_resolve(root, ROOT_ALL_MOUNTS, path, canonical, sizeof canonical, NULL) <
		0)
		return;
	guard(guarded, root, canonical);
	while ((slash = strrchr(canonical, '/'))) {
		*slash = '\0';
		guard(guarded, root, canonical);
	}
	guard(guarded, root, "/");
}

static void guard_all(struct guarded_places *guarded, const struct engine_place *place)
{
	char own_containerd[ENGINE_PATH_SIZE];

	(void)snprintf(own_containerd, sizeof own_containerd, "%s/containerd/containerd.sock",
		place->exec_root);
	guard_with_parents(guarded, place->root, place->socket);
	/* Whatever the configured one is, these are the engine's when they are there. */
	guard_with_parents(guarded, place->root, "/run/docker.sock");
	guard_with_parents(guarded, place->root, "/run/containerd/containerd.sock");
	guard_with_parents(guarded, place->root, own_containerd);
}

static bool is_guarded(
	const struct guarded_places *guarded, const struct engine_place *place, const char *path)
{
	struct stat status;

	return root_stat(place->root, path, &status) == 0 && are_among(guarded, &status);
}

/* What a volume of the engine's own driver binds, before it is mounted: its options say it. */
static bool volume_is_guarded(
	const struct guarded_places *guarded, const struct engine_place *place, const char *name)
{
	MAYFLY_CLEANUP(file_bytes_done) struct file_bytes file = { 0 };
	char path[2 * ENGINE_PATH_SIZE];
	const char *device;
	json_t *options;
	bool result;

	if (strlen(name) >= ENGINE_PATH_SIZE / 2 || strchr(name, '/') || strcmp(name, "..") == 0)
		return false;
	(void)snprintf(path, sizeof path, "%s/volumes/%s/opts.json", place->data_root, name);
	/* No such file: a plain volume. */
	if (root_read_file(
		    place->root, path, ROOT_ALL_MOUNTS, VOLUME_OPTIONS_MAX_BYTES, &file, NULL) < 0)
		return false;
	options = json_loadb(file.bytes, file.length, 0, NULL);
	device = json_string_value(json_object_get(options, "MountDevice"));
	result = device && device[0] == '/' && is_guarded(guarded, place, device);
	json_decref(options);
	return result;
}

bool engine_sockets_are_mounted(
	const struct engine_place *place, json_t *bind_sources, json_t *local_volumes)
{
	struct guarded_places guarded = { .count = 0 };
	json_t *item;
	size_t i;

	if (json_array_size(bind_sources) == 0 && json_array_size(local_volumes) == 0)
		return false;
	guard_all(&guarded, place);
	json_array_foreach (bind_sources, i, item) {
		if (is_guarded(&guarded, place, json_string_value(item)))
			return true;
	}
	json_array_foreach (local_volumes, i, item) {
		if (volume_is_guarded(&guarded, place, json_string_value(item)))
			return true;
	}
	return false;
}
