/* Secrets of sets of provider `vault` that their server changes. What running containers have is watched;
 * another version there becomes a rotation, as if somebody had begun it here. Taking it back leaves the
 * server alone: this host reads the version of before, until the server has a third one. */
#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/rotation/rotation_parts.h"
#include "daemon/broker/vault/vault_sets.h"
#include "proto/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FOLLOW_MS 200 /* a thousand starts are not a thousand looks */

struct followed_path {
	TAILQ_ENTRY(followed_path) entry;
	uint64_t serial; /* of the backend */
	bool is_used;
	char set[MAYFLY_SET_NAME_MAX + 1];
	char path[VAULT_PATH_SIZE];
};

static bool is_live(const struct lease *lease)
{
	return lease_is_released(lease) && lease->used;
}

/* The server's path of USED, if it follows the newest version there. */
static struct vault_backend *backend_of(const struct rotations *rotations,
	const struct used_secret *used, struct secret_selector *ret_target)
{
	const struct vault_sets *vaults = rotations->leases->sources.vaults;
	struct vault_backend *backend = vaults ? vault_sets_find(vaults, used->set) : NULL;
	struct mayfly_error err;

	if (!backend || vault_backend_target(backend, used->name, ret_target, &err) < 0 ||
		ret_target->version != 0)
		return NULL;
	return backend;
}

/* Of the versions of a secret that LEASE has: a file `x.previous` has an older one. */
static uint32_t newest_used(const struct lease *lease, const struct used_secret *secret)
{
	uint32_t newest = 0;

	for (size_t i = 0; i < lease->used->count; i++) {
		const struct used_secret *used = &lease->used->items[i];

		if (strcmp(used->set, secret->set) == 0 && strcmp(used->name, secret->name) == 0 &&
			used->version > newest)
			newest = used->version;
	}
	return newest;
}

/* --- watching --- */

/* LEASE has USED from PATH of BACKEND. */
static void follow(struct rotations *rotations, struct vault_backend *backend, const char *path,
	const struct lease *lease, const struct used_secret *used)
{
	struct followed_path *followed;

	TAILQ_FOREACH(followed, &rotations->followed, entry)
	if (followed->serial == backend->serial && strcmp(followed->path, path) == 0) {
		followed->is_used = true;
		return;
	}
	followed = calloc(1, sizeof *followed);
	if (!followed || vault_watch(backend, path, newest_used(lease, used)) < 0) {
		log_error(
			"%s/%s: out of memory: a change there is not noticed", backend->set, path);
		free(followed);
		return;
	}
	followed->serial = backend->serial;
	followed->is_used = true;
	(void)snprintf(followed->set, sizeof followed->set, "%s", backend->set);
	(void)snprintf(followed->path, sizeof followed->path, "%s", path);
	TAILQ_INSERT_TAIL(&rotations->followed, followed, entry);
}

static void unfollow(struct rotations *rotations, struct followed_path *followed)
{
	const struct vault_sets *vaults = rotations->leases->sources.vaults;
	struct vault_backend *backend = vaults ? vault_sets_find(vaults, followed->set) : NULL;

	if (backend && backend->serial == followed->serial)
		vault_unwatch(backend, followed->path);
	TAILQ_REMOVE(&rotations->followed, followed, entry);
	free(followed);
}

static void on_follow(struct deadline *deadline)
{
	struct rotations *rotations = container_of(deadline, struct rotations, follow);
	struct followed_path *followed, *next;
	struct secret_selector target;
	const struct lease *lease;

	TAILQ_FOREACH(followed, &rotations->followed, entry)
	followed->is_used = false;
	TAILQ_FOREACH(lease, &rotations->leases->leases, entry)
	for (size_t i = 0; is_live(lease) && i < lease->used->count; i++) {
		const struct used_secret *used = &lease->used->items[i];
		struct vault_backend *backend = backend_of(rotations, used, &target);

		if (backend)
			follow(rotations, backend, target.name, lease, used);
	}
	for (followed = TAILQ_FIRST(&rotations->followed); followed; followed = next) {
		next = TAILQ_NEXT(followed, entry);
		if (!followed->is_used)
			unfollow(rotations, followed);
	}
}

void rotations_follow(struct rotations *rotations)
{
	const struct vault_sets *vaults = rotations->leases->sources.vaults;
	/* Most hosts have no such set: their leases need not be looked through. */
	const bool is_needed =
		vaults && (!TAILQ_EMPTY(&vaults->backends) || !TAILQ_EMPTY(&rotations->followed));

	if (is_needed && !rotations->is_stopping && !deadline_is_armed(&rotations->follow))
		deadline_arm(&rotations->follow, FOLLOW_MS);
}

static void on_empty(struct handle_group *handles)
{
	(void)handles;
}

void rotations_follow_init(struct rotations *rotations)
{
	TAILQ_INIT(&rotations->followed);
	handle_group_init(&rotations->handles, on_empty);
	deadline_init(&rotations->follow, rotations->leases->loop, &rotations->handles, on_follow);
}

void rotations_follow_stop(struct rotations *rotations)
{
	while (!TAILQ_EMPTY(&rotations->followed))
		unfollow(rotations, TAILQ_FIRST(&rotations->followed));
	if (handle_group_end(&rotations->handles)) {
		deadline_close(&rotations->follow);
		handle_group_release(&rotations->handles);
	}
}

/* --- a change --- */

/* The names under which containers have PATH of SET in another version. */
static size_t collect_changes(const struct rotations *rotations, const char *set, const char *path,
	uint32_t version, struct store_change *changes)
{
	struct secret_selector target;
	const struct lease *lease;
	size_t count = 0;

	TAILQ_FOREACH(lease, &rotations->leases->leases, entry)
	for (size_t i = 0; is_live(lease) && i < lease->used->count; i++) {
		const struct used_secret *used = &lease->used->items[i];
		struct store_change *change = &changes[count];
		uint32_t before;

		if (count == ROTATION_CHANGES_MAX || strcmp(used->set, set) != 0 ||
			rotation_find_change(changes, count, set, used->name) ||
			!backend_of(rotations, used, &target) || strcmp(target.name, path) != 0)
			continue;
		before = newest_used(lease, used);
		if (version != 0 && before == version)
			continue;
		*change = (struct store_change){ .before = before, .after = version };
		(void)snprintf(change->reference.set, sizeof change->reference.set, "%s", set);
		(void)snprintf(
			change->reference.name, sizeof change->reference.name, "%s", used->name);
		count++;
	}
	return count;
}

/* What came before is not taken back any more, and is nobody's goal. */
static void supersede(struct rotations *rotations, const struct store_change *changes, size_t count)
{
	struct rotation_target *target;
	struct rotation *rotation;

	TAILQ_FOREACH(rotation, &rotations->list, entry)
	for (size_t i = 0; rotation->is_remote && i < count; i++) {
		if (!rotation_change_of(
			    rotation, changes[i].reference.set, changes[i].reference.name))
			continue;
		rotation->is_superseded = true;
		TAILQ_FOREACH(target, &rotation->targets, entry)
		target->window_s = 0;
	}
}

void rotations_on_remote_change(
	struct rotations *rotations, const char *set, const char *path, uint32_t version)
{
	struct vault_backend *backend = vault_sets_find(rotations->leases->sources.vaults, set);
	const struct vault_pin *pin = backend ? vault_pin_find(backend, path) : NULL;
	const struct rotation_options options = { .is_remote = true };
	struct store_change changes[ROTATION_CHANGES_MAX];
	char id[ROTATION_ID_LENGTH + 1];
	struct rotation *rotation;
	size_t count;

	if (!backend || rotations->is_stopping || (pin && pin->refused == version))
		return;
	vault_pin_clear(backend, path);
	count = collect_changes(rotations, set, path, version, changes);
	if (count == 0)
		return;
	rotation_make_id(id);
	log_notice("set %s: %s/%s has changed: rotation %s", set, backend->config->mount, path, id);
	supersede(rotations, changes, count);
	/* Each delivery of it has a record of its own, before the release. */
	lease_append_record(rotations->leases,
		json_pack("{s:s, s:s, s:s, s:s, s:o}", "action", "rotate", "decision", "done",
			"rotation", id, "reason", "its server has another version", "secrets",
			rotation_changes_to_json(changes, count)));
	if (rotation_begin(rotations, id, changes, count, &options, &rotation) < 0)
		log_error("rotation %s: out of memory: running containers keep what they have", id);
}

/* --- taking it back --- */

int rotation_restore_remote(struct rotation *rotation, struct mayfly_error *err)
{
	struct vault_sets *vaults = rotation->rotations->leases->sources.vaults;
	struct secret_selector target;

	for (size_t i = 0; i < rotation->changes_count; i++)
		if (rotation->changes[i].before == 0 || rotation->changes[i].after == 0)
			return error_set(err, -EOPNOTSUPP,
				"%s/%s: its server keeps no earlier versions",
				rotation->changes[i].reference.set,
				rotation->changes[i].reference.name);
	for (size_t i = 0; i < rotation->changes_count; i++) {
		struct store_change *change = &rotation->changes[i];
		struct vault_backend *backend = vault_sets_find(vaults, change->reference.set);
		int r = backend ? vault_backend_target(
					  backend, change->reference.name, &target, err)
				: error_set(err, -ENOTCONN, "set %s is not of this host any more",
					  change->reference.set);

		if (r == 0)
			r = vault_pin_set(backend, target.name, change->before, change->after);
		if (r < 0)
			return r;
		*change = (struct store_change){ change->reference, change->after, change->before };
	}
	return 0;
}
