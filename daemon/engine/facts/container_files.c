#include "daemon/engine/facts/container_files.h"

#include "daemon/engine/facts/posture_files.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PID_MODE_CONTAINER "container:"

/* Room for a container's two paths. */
#define FILE_PATH_SIZE (ENGINE_PATH_SIZE + CONTAINER_ID_LENGTH + 64)

/* Any one text that is kept for every container. */
#define RECORD_TEXT_MAX_BYTES 4096

/* Names of volumes of ours in one container, together: they are kept for every container. */
#define VOLUME_TEXT_MAX_BYTES 16384

static void json_decref_p(json_t **json)
{
	json_decref(*json);
	*json = NULL;
}

bool container_id_is_valid(const char *id)
{
	return strlen(id) == CONTAINER_ID_LENGTH &&
	       strspn(id, "0123456789abcdef") == CONTAINER_ID_LENGTH;
}

static int wrong(const char *key, struct mayfly_error *err)
{
	return error_set(err, -EBADMSG, "'%s' is missing or of the wrong kind", key);
}

/* A copy of the string KEY of OBJECT; FALLBACK where it is missing or null (NULL: an error). */
static int copy_text(json_t *object, const char *key, const char *fallback, char **ret_text,
	struct mayfly_error *err)
{
	json_t *value = json_object_get(object, key);
	const char *text = json_string_value(value);

	if (!text && (!value || json_is_null(value)))
		text = fallback;
	if (!text)
		return wrong(key, err);
	if (strlen(text) > RECORD_TEXT_MAX_BYTES)
		return error_set(
			err, -E2BIG, "'%s' has more than %d bytes", key, RECORD_TEXT_MAX_BYTES);
	*ret_text = strdup(text);
	return *ret_text ? 0 : error_errno(err, -ENOMEM, "copy '%s'", key);
}

/* "" without a check: an engine writes nothing then, or "none". */
static int read_health(json_t *state, struct container_record *record, struct mayfly_error *err)
{
	static const char *const known[] = { "", "starting", "healthy", "unhealthy" };
	json_t *health = json_object_get(state, "Health");
	json_t *status = json_object_get(health, "Status");
	const char *text = json_string_value(status);

	record->health = "";
	if (!health || json_is_null(health))
		return 0;
	if (!json_is_object(health) || (status && !text))
		return wrong("State.Health", err);
	for (size_t i = 0; text && i < sizeof known / sizeof known[0]; i++)
		if (strcmp(text, known[i]) == 0)
			record->health = known[i];
	return 0;
}

static int read_state(json_t *config, struct container_record *record, struct mayfly_error *err)
{
	json_t *state = json_object_get(config, "State");
	const json_int_t pid = json_integer_value(json_object_get(state, "Pid"));

	if (!json_is_object(state) || !json_is_boolean(json_object_get(state, "Running")))
		return wrong("State", err);
	if (pid < 0 || pid > INT_MAX)
		return wrong("State.Pid", err);
	record->pid = (pid_t)pid;
	/* While the engine waits to restart a container it says "running" without a process. */
	record->claims_running = json_is_true(json_object_get(state, "Running")) && pid > 0;
	record->has_been_started = json_is_true(json_object_get(config, "HasBeenStartedBefore"));
	return read_health(state, record, err);
}

static int read_name(json_t *config, struct container_record *record, struct mayfly_error *err)
{
	const int r = copy_text(config, "Name", NULL, &record->name, err);

	if (r == 0 && record->name[0] == '/')
		memmove(record->name, record->name + 1, strlen(record->name));
	return r;
}

static int read_pid_mode(json_t *host, struct container_record *record, struct mayfly_error *err)
{
	const size_t prefix = sizeof PID_MODE_CONTAINER - 1;
	AUTO_FREE char *mode = NULL;
	const int r = copy_text(host, "PidMode", "", &mode, err);

	if (r < 0 || strncmp(mode, PID_MODE_CONTAINER, prefix) != 0)
		return r;
	memmove(mode, mode + prefix, strlen(mode + prefix) + 1);
	record->pid_joined = ptr_take(&mode);
	return 0;
}

static const char *member(json_t *mount, const char *key)
{
	const char *text = json_string_value(json_object_get(mount, key));

	return text ? text : "";
}

static int append_text(json_t *array, const char *text)
{
	return json_array_append_new(array, json_string(text)) == 0 ? 0 : -ENOMEM;
}

/* A volume that the engine keeps itself can be a bind mount of any path of the host. */
static int note_source(struct container_record *record, json_t *mount, bool is_volume)
{
	const char *source = member(mount, "Source");
	int r = 0;

	if (is_volume && strcmp(member(mount, "Driver"), "local") == 0)
		r = append_text(record->local_volumes, member(mount, "Name"));
	if (r == 0 && source[0] == '/')
		r = append_text(record->bind_sources, source);
	return r;
}

static int note_mount(const struct engine_place *place, struct container_record *record,
	json_t *mount, struct mayfly_error *err)
{
	const bool is_volume = strcmp(member(mount, "Type"), "volume") == 0;
	int r;

	if (!json_is_object(mount))
		return wrong("MountPoints", err);
	if (!is_volume || strcmp(member(mount, "Driver"), place->plugin_name) != 0) {
		r = note_source(record, mount, is_volume);
		return r == 0 ? 0 : error_errno(err, r, "note a mount");
	}
	if (json_array_size(record->volumes) == CONTAINER_VOLUMES_MAX)
		return error_set(err, -E2BIG, "it has more than %d volumes of '%s'",
			CONTAINER_VOLUMES_MAX, place->plugin_name);
	record->uses_plugin = true;
	r = json_array_append_new(
		record->volumes, json_pack("{s:s, s:s}", "name", member(mount, "Name"), "target",
					 member(mount, "Destination")));
	return r == 0 ? 0 : error_errno(err, -ENOMEM, "note a volume");
}

static size_t volume_text(json_t *volumes)
{
	size_t length = 0;
	json_t *volume;
	size_t i;

	json_array_foreach (volumes, i, volume)
		length += json_string_length(json_object_get(volume, "name")) +
			  json_string_length(json_object_get(volume, "target"));
	return length;
}

static int read_mounts(const struct engine_place *place, json_t *config,
	struct container_record *record, struct mayfly_error *err)
{
	json_t *mounts = json_object_get(config, "MountPoints");
	const char *target;
	json_t *mount;
	int r = 0;

	record->volumes = json_array();
	record->bind_sources = json_array();
	record->local_volumes = json_array();
	if (!record->volumes || !record->bind_sources || !record->local_volumes)
		return error_errno(err, -ENOMEM, "note the mounts");
	if (mounts && !json_is_null(mounts) && !json_is_object(mounts))
		return wrong("MountPoints", err);
	if (json_object_size(mounts) > CONTAINER_MOUNTS_MAX)
		return error_set(err, -E2BIG, "it has %zu mounts, at most %d are looked at",
			json_object_size(mounts), CONTAINER_MOUNTS_MAX);
	json_object_foreach (mounts, target, mount) {
		if (r == 0)
			r = note_mount(place, record, mount, err);
	}
	if (r == 0 && volume_text(record->volumes) > VOLUME_TEXT_MAX_BYTES)
		r = error_set(err, -E2BIG, "the names of its volumes have more than %d bytes",
			VOLUME_TEXT_MAX_BYTES);
	return r;
}

static int add_labels(json_t *facts, json_t *settings, struct mayfly_error *err)
{
	json_t *labels = json_object_get(settings, "Labels");
	const char *key;
	json_t *value;

	if (labels && !json_is_null(labels) && !json_is_object(labels))
		return wrong("Labels", err);
	json_object_foreach (labels, key, value) {
		if (!json_is_string(value))
			return wrong("Labels", err);
	}
	if (json_object_set_new(facts, "labels",
		    json_is_object(labels) ? json_incref(labels) : json_object()) != 0)
		return error_errno(err, -ENOMEM, "note the labels");
	return 0;
}

/* A manifest's digest stands beside the image where the engine keeps images in containerd's store.
 */
static int read_manifest(json_t *config, struct container_record *record, struct mayfly_error *err)
{
	json_t *manifest = json_object_get(config, "ImageManifest");

	if (!json_is_object(manifest))
		return 0;
	return copy_text(manifest, "digest", NULL, &record->manifest_digest, err);
}

/* null for a container that never started: the engine writes the first day of its calendar. */
static json_t *started_at(json_t *config)
{
	json_t *value = json_object_get(json_object_get(config, "State"), "StartedAt");
	const char *text = json_string_value(value);

	if (!text || strncmp(text, "0001-", 5) == 0)
		return json_null();
	return json_incref(value);
}

static int read_facts(
	json_t *config, json_t *host, struct container_record *record, struct mayfly_error *err)
{
	json_t *settings = json_object_get(config, "Config");
	json_t *image = json_object_get(settings, "Image");
	json_t *image_id = json_object_get(config, "Image");
	int r;

	if (!json_is_string(image) || (image_id && !json_is_string(image_id)))
		return wrong("Image", err);
	record->facts = json_pack("{s:s, s:O, s:o, s:o}", "name", record->name, "image_name", image,
		"image_id", image_id ? json_incref(image_id) : json_string(""), "started_at",
		started_at(config));
	if (!record->facts)
		return error_errno(err, -ENOMEM, "note the image");
	r = add_labels(record->facts, settings, err);
	return r == 0 ? posture_add(record->facts, host, config, err) : r;
}

static int take_apart(const struct engine_place *place, json_t *config, json_t *host,
	struct container_record *record, struct mayfly_error *err)
{
	json_t *settings = json_object_get(config, "Config");
	int r = read_name(config, record, err);

	if (r == 0)
		r = read_state(config, record, err);
	if (r == 0)
		r = copy_text(config, "Driver", "", &record->storage_driver, err);
	if (r == 0)
		r = copy_text(config, "Created", "", &record->created, err);
	if (r == 0)
		r = copy_text(settings, "User", "", &record->user, err);
	if (r == 0)
		r = copy_text(host, "UsernsMode", "", &record->userns_mode, err);
	if (r == 0)
		r = read_pid_mode(host, record, err);
	if (r == 0)
		r = read_mounts(place, config, record, err);
	if (r == 0)
		r = read_manifest(config, record, err);
	if (r == 0)
		r = read_facts(config, host, record, err);
	return r;
}

static int load(const struct file_bytes *file, const char *name, json_t **ret_json,
	struct mayfly_error *err)
{
	json_error_t where;
	json_t *json = json_loadb(file->bytes, file->length, 0, &where);

	if (!json_is_object(json)) {
		json_decref(json);
		return error_set(err, -EBADMSG, "%s is no JSON object", name);
	}
	*ret_json = json;
	return 0;
}

int container_record_parse(const struct engine_place *place, const struct file_bytes *config,
	const struct file_bytes *host, struct container_record *ret_record,
	struct mayfly_error *err)
{
	MAYFLY_CLEANUP(json_decref_p) json_t *config_json = NULL;
	MAYFLY_CLEANUP(json_decref_p) json_t *host_json = NULL;
	MAYFLY_CLEANUP(container_record_done) struct container_record record = { 0 };
	int r = load(config, "config.v2.json", &config_json, err);

	if (r == 0)
		r = load(host, "hostconfig.json", &host_json, err);
	if (r == 0)
		r = take_apart(place, config_json, host_json, &record, err);
	if (r < 0)
		return r;
	*ret_record = record;
	record = (struct container_record){ 0 };
	return 0;
}

static void file_path(const struct engine_place *place, const char *id, const char *file,
	char path[FILE_PATH_SIZE])
{
	(void)snprintf(path, FILE_PATH_SIZE, "%s/containers/%s/%s", place->data_root, id, file);
}

/* Empty where the file is gone. */
static struct file_mark mark_of(const struct engine_place *place, const char *id, const char *name)
{
	struct file_mark mark = { 0 };
	char path[FILE_PATH_SIZE];

	file_path(place, id, name, path);
	if (root_mark(place->root, path, &mark) < 0)
		return (struct file_mark){ 0 };
	return mark;
}

static int read_file(const struct engine_place *place, const char *id, const char *name,
	struct file_bytes *ret_file, struct mayfly_error *err)
{
	char path[FILE_PATH_SIZE];
	int r;

	file_path(place, id, name, path);
	r = root_read_file(
		place->root, path, ROOT_ALL_MOUNTS, ENGINE_FILE_MAX_BYTES, ret_file, err);
	if (r < 0) {
		ret_file->mark = mark_of(place, id, name);
		return error_within(err, "%s", name);
	}
	return 0;
}

int container_files_read(const struct engine_place *place, const char *id,
	struct container_record *ret_record, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(file_bytes_done) struct file_bytes config = { 0 };
	MAYFLY_CLEANUP(file_bytes_done) struct file_bytes host = { 0 };
	struct container_record record = { 0 };
	int r = read_file(place, id, "config.v2.json", &config, err);

	if (r == 0)
		r = read_file(place, id, "hostconfig.json", &host, err);
	if (r == 0)
		r = container_record_parse(place, &config, &host, &record, err);
	if (r < 0 && !host.bytes)
		host.mark = mark_of(place, id, "hostconfig.json");
	record.config_mark = config.mark;
	record.host_mark = host.mark;
	*ret_record = record;
	return r;
}

bool container_files_unchanged(
	const struct engine_place *place, const char *id, const struct container_record *record)
{
	const struct file_mark config = mark_of(place, id, "config.v2.json");
	const struct file_mark host = mark_of(place, id, "hostconfig.json");

	return file_mark_equal(&config, &record->config_mark) &&
	       file_mark_equal(&host, &record->host_mark);
}

void container_record_done(struct container_record *record)
{
	free(record->name);
	free(record->storage_driver);
	free(record->created);
	free(record->manifest_digest);
	free(record->user);
	free(record->userns_mode);
	free(record->pid_joined);
	json_decref(record->volumes);
	json_decref(record->facts);
	json_decref(record->bind_sources);
	json_decref(record->local_volumes);
	*record = (struct container_record){ 0 };
}
