#include "daemon/engine/facts/runtime_bundle.h"

#include "daemon/engine/facts/engine_root.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PID_FILE_MAX_BYTES 32

static void note_source(struct runtime_bundle *bundle, const char *source)
{
	const char *slash = source ? strrchr(source, '/') : NULL;
	const size_t parent = slash ? (size_t)(slash - source) + 1 : 0;
	const size_t wanted = sizeof BUNDLE_VOLUMES_DIRECTORY - 1;

	if (!slash || !container_id_is_valid(slash + 1) || parent < wanted ||
		memcmp(source + parent - wanted, BUNDLE_VOLUMES_DIRECTORY, wanted) != 0)
		return;
	if (bundle->count < CONTAINER_VOLUMES_MAX)
		memcpy(bundle->mount_ids[bundle->count++], slash + 1, CONTAINER_ID_LENGTH + 1);
}

static int take_id(json_t *user, const char *key, uint32_t *ret_id)
{
	json_t *value = json_object_get(user, key);
	const json_int_t id = json_integer_value(value);

	if (!json_is_integer(value) || id < 0 || id > UINT32_MAX)
		return -EBADMSG;
	*ret_id = (uint32_t)id;
	return 0;
}

static int take_apart(json_t *config, struct runtime_bundle *bundle)
{
	json_t *user = json_object_get(json_object_get(config, "process"), "user");
	json_t *mount;
	size_t i;

	json_array_foreach (json_object_get(config, "mounts"), i, mount)
		note_source(bundle, json_string_value(json_object_get(mount, "source")));
	if (take_id(user, "uid", &bundle->uid) < 0 || take_id(user, "gid", &bundle->gid) < 0)
		return -EBADMSG;
	return 0;
}

int runtime_bundle_read(const struct engine_place *place, const char *directory,
	struct runtime_bundle *ret_bundle, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(file_bytes_done) struct file_bytes file = { 0 };
	struct runtime_bundle bundle = { 0 };
	char path[2 * PATH_MAX];
	json_t *config;
	int r;

	(void)snprintf(path, sizeof path, "%s/config.json", directory);
	r = root_read_file(place->root, path, ROOT_ALL_MOUNTS, ENGINE_FILE_MAX_BYTES, &file, err);
	if (r < 0)
		return error_within(err, "%s", path);
	config = json_loadb(file.bytes, file.length, 0, NULL);
	r = json_is_object(config) ? take_apart(config, &bundle) : -EBADMSG;
	json_decref(config);
	if (r < 0)
		return error_set(err, r, "%s is not whole", path);
	*ret_bundle = bundle;
	return 0;
}

pid_t runtime_bundle_pid(const struct engine_place *place, const char *directory)
{
	MAYFLY_CLEANUP(file_bytes_done) struct file_bytes file = { 0 };
	char path[2 * PATH_MAX];
	long pid;

	(void)snprintf(path, sizeof path, "%s/init.pid", directory);
	if (root_read_file(place->root, path, ROOT_ALL_MOUNTS, PID_FILE_MAX_BYTES, &file, NULL) < 0)
		return 0;
	pid = strtol(file.bytes, NULL, 10);
	return pid > 0 && pid <= INT_MAX ? (pid_t)pid : 0;
}
