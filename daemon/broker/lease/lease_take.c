#include "daemon/broker/lease/lease_take.h"

#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/lease/lease_steps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MS 10

static void take_next(struct lease *lease);

static bool is_taken(const struct lease *lease, const char *path)
{
	return json_object_get(lease->taken, path) || json_object_get(lease->to_take, path);
}

/* What is known of LEASE's files without (or, IS_ONLY, only with) PATH; the caller's. */
static json_t *used_without(const struct lease *lease, const char *path, bool is_only)
{
	json_t *all = used_secrets_to_json(lease->used), *used, *some = json_array();
	size_t i;

	json_array_foreach (all, i, used) {
		const char *found = json_string_value(json_object_get(used, "path"));

		if ((strcmp(found, path) == 0) == is_only)
			(void)json_array_append(some, used);
	}
	json_decref(all);
	return some;
}

static void record(struct lease *lease, const char *path, const char *decision, const char *reason)
{
	json_t *record = lease_audit_record(lease, "take", decision, reason);

	if (record)
		(void)json_object_set_new(record, "secrets", used_without(lease, path, true));
	lease_append_record(lease->context, record);
}

static void forget(struct lease *lease, const char *path)
{
	json_t *left = used_without(lease, path, false);
	struct used_secrets *used;

	/* Without memory it is listed still, and not there any more. */
	if (used_secrets_new(left, &used) == 0) {
		free(lease->used);
		lease->used = used;
	}
	json_decref(left);
	if (!lease->taken)
		lease->taken = json_object();
	(void)json_object_set_new(lease->taken, path, json_true());
	(void)json_object_del(lease->to_take, path);
}

static void on_taken(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = delivery->owner;
	void *first = json_object_iter(lease->to_take);
	/* The key goes with its entry. */
	char path[MAYFLY_FILE_PATH_SIZE];

	(void)snprintf(path, sizeof path, "%s", json_object_iter_key(first));
	if (!lease_step_done(lease))
		return;
	if (status == -ECONNRESET) {
		deadline_arm(&lease->take_later, RETRY_MS);
		return;
	}
	if (status < 0) {
		/* What cannot be taken alone goes with everything else. */
		record(lease, path, "refused", detail);
		lease_end(lease, detail);
		return;
	}
	record(lease, path, "done", json_string_value(json_object_iter_value(first)));
	forget(lease, path);
	lease_save(lease);
	if (json_object_size(lease->to_take) == 0)
		lease->context->on_event(lease->context, lease, LEASE_EVENT_ROTATED);
	take_next(lease);
}

static void take_next(struct lease *lease)
{
	struct delivery *delivery = lease_filled(lease);
	void *first = json_object_iter(lease->to_take);

	if (!first || lease->end_reason)
		return;
	if (lease->state != LEASE_RELEASED || lease->is_waiting || lease->change ||
		delivery_is_busy(delivery)) {
		deadline_arm(&lease->take_later, RETRY_MS);
		return;
	}
	lease->is_waiting = true;
	if (delivery_take(delivery, json_object_iter_key(first), on_taken) < 0)
		on_taken(delivery, -ECONNRESET, "mayfly-mounter is being restarted");
}

void lease_take_later(struct deadline *deadline)
{
	take_next(container_of(deadline, struct lease, take_later));
}

static bool is_everything_taken(const struct lease *lease)
{
	for (size_t i = 0; lease->used && i < lease->used->count; i++)
		if (!is_taken(lease, lease->used->items[i].path))
			return false;
	return true;
}

void lease_take(struct lease *lease, json_t *paths, const char *reason)
{
	json_t *path;
	size_t i;

	if (json_array_size(paths) == 0 || lease->end_reason)
		return;
	if (!lease->to_take)
		lease->to_take = json_object();
	json_array_foreach (paths, i, path)
		if (!is_taken(lease, json_string_value(path)))
			(void)json_object_set_new(
				lease->to_take, json_string_value(path), json_string(reason));
	if (is_everything_taken(lease)) {
		lease_end(lease, reason);
		return;
	}
	/* A restart goes on with it. */
	lease_save(lease);
	take_next(lease);
}

void lease_take_resume(struct lease *lease)
{
	take_next(lease);
}

void lease_leave_out_taken(const struct lease *lease, struct fetched *fetched)
{
	json_t *all = used_secrets_to_json(fetched->used), *used, *left = json_array();
	struct used_secrets *kept;
	size_t count = 0, i;

	for (i = 0; i < fetched->files_count; i++)
		if (!is_taken(lease, fetched->files[i].path))
			fetched->files[count++] = fetched->files[i];
		else
			held_value_done(&fetched->files[i].value);
	fetched->files_count = count;
	json_array_foreach (all, i, used)
		if (!is_taken(lease, json_string_value(json_object_get(used, "path"))))
			(void)json_array_append(left, used);
	if (used_secrets_new(left, &kept) == 0) {
		free(fetched->used);
		fetched->used = kept;
	}
	json_decref(all);
	json_decref(left);
}
