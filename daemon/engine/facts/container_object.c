#include "daemon/engine/facts/container_object.h"

#include "daemon/engine/facts/container_state.h"
#include "daemon/engine/facts/engine_sockets.h"
#include "daemon/engine/facts/mount_target.h"
#include "daemon/engine/facts/user_lookup.h"
#include "daemon/engine/facts/userns_map.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>

static void json_decref_p(json_t **json)
{
	json_decref(*json);
	*json = NULL;
}

/* The first failure is kept in *FAILED: an object is whole or it is not sent. */
static void set(json_t *object, const char *key, json_t *value, bool *failed)
{
	if (json_object_set_new(object, key, value) != 0)
		*failed = true;
}

static json_t *user_member(const char *text, int root)
{
	struct user_ids ids = { 0 };
	struct mayfly_error error;
	const int r = user_lookup(root, text, &ids, &error);

	return json_pack("{s:s, s:I, s:I, s:s?}", "text", text, "uid", (json_int_t)ids.uid, "gid",
		(json_int_t)ids.gid, "error", r < 0 ? error.text : NULL);
}

/* The volumes of our driver, their targets as the runtime will resolve them. */
static int volumes_member(const struct container_record *record, int root, json_t **ret_volumes,
	struct mayfly_error *err)
{
	MAYFLY_CLEANUP(json_decref_p) json_t *volumes = json_array();
	json_t *volume;
	size_t i;

	json_array_foreach (record->volumes, i, volume) {
		const char *target = json_string_value(json_object_get(volume, "target"));
		char resolved[PATH_MAX];
		int r;

		r = mount_target_resolve(
			root, ROOT_ONE_MOUNT, target, resolved, sizeof resolved, err);
		if (r < 0)
			return r;
		if (json_array_append_new(volumes,
			    json_pack("{s:O, s:s}", "name", json_object_get(volume, "name"),
				    "target", resolved)) != 0)
			return error_errno(err, -EINVAL, "name a volume's target");
	}
	*ret_volumes = ptr_take(&volumes);
	return 0;
}

static int add_map(json_t *object, const struct container_table *table,
	const struct container_record *record, bool *failed, struct mayfly_error *err)
{
	struct userns_map map;
	const int r = userns_map_of(table->place, record->userns_mode, &map, err);

	if (r < 0)
		return r;
	set(object, "uid_offset", json_integer(map.uid_offset), failed);
	set(object, "gid_offset", json_integer(map.gid_offset), failed);
	set(object, "id_count", json_integer(map.id_count), failed);
	return 0;
}

static void add_state(json_t *object, const struct container_table *table,
	struct container_entry *entry, int root, bool *failed)
{
	const struct container_record *record = &entry->record;
	const bool runs = container_runs(record, entry->id);

	set(object, "id", json_string(entry->id), failed);
	set(object, "running", json_boolean(runs), failed);
	set(object, "pid", json_integer(runs ? record->pid : 0), failed);
	/* The engine calls a container whose check has ended with it unhealthy. */
	set(object, "health", json_string(runs ? record->health : ""), failed);
	set(object, "announced", json_boolean(container_entry_is_announced(entry, time(NULL))),
		failed);
	set(object, "root_mounted", json_boolean(runs || root >= 0 || root == -ENOTSUP), failed);
	set(object, "shares_pid_namespace",
		json_boolean(record->pid_joined || container_table_is_joined(table, entry)),
		failed);
	set(object, "engine_socket",
		json_boolean(engine_sockets_are_mounted(
			table->place, record->bind_sources, record->local_volumes)),
		failed);
}

static int fill(json_t *object, struct container_table *table, struct container_entry *entry,
	struct image_digests *digests, struct mayfly_error *err)
{
	const struct container_record *record = &entry->record;
	AUTO_FD root = container_entry_open_root(table, entry);
	json_t *volumes = NULL;
	bool failed = false;
	int r;

	r = volumes_member(record, root >= 0 ? root : -1, &volumes, err);
	if (r < 0)
		return r;
	set(object, "volumes", volumes, &failed);
	r = add_map(object, table, record, &failed, err);
	if (r < 0)
		return r;
	add_state(object, table, entry, root, &failed);
	set(object, "user", user_member(record->user, root >= 0 ? root : -1), &failed);
	set(object, "image_digests",
		image_digests_of(digests, table->place, record->storage_driver,
			json_string_value(json_object_get(object, "image_id")),
			record->manifest_digest),
		&failed);
	if (failed)
		return error_errno(err, -EINVAL, "put its facts together");
	return 0;
}

int container_object_make(struct container_table *table, struct container_entry *entry,
	struct image_digests *digests, json_t **ret_object, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(json_decref_p) json_t *object = NULL;
	int r = container_entry_refresh(table, entry, true);

	if (r < 0)
		return error_set(err, r, "its files cannot be used: %s",
			entry->unreadable ? entry->unreadable : strerrordesc_np(-r));
	/* A copy of the outermost object: labels are shared, not copied. */
	object = json_copy(entry->record.facts);
	if (!object)
		return error_errno(err, -ENOMEM, "put its facts together");
	r = fill(object, table, entry, digests, err);
	if (r < 0)
		return r;
	*ret_object = ptr_take(&object);
	return 0;
}
