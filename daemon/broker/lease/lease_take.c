#include "daemon/broker/lease/lease_take.h"

#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/lease/lease_steps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MS  10
#define READ_ONCE "it was read once"

static void take_next(struct lease *lease);

static bool is_opened(json_t *once)
{
	return json_is_true(json_object_get(once, "opened"));
}

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

/* The grants that still give something. Of a row from before files knew their grant: all, as before. */
static void keep_grants(struct lease *lease)
{
	json_t *left = json_array(), *grant;
	size_t i;

	json_array_foreach (lease->grants, i, grant) {
		bool gives = false;

		for (size_t k = 0; k < lease->used->count; k++)
			gives |= !lease->used->items[k].grant[0] ||
				 strcmp(lease->used->items[k].grant, json_string_value(grant)) == 0;
		if (gives)
			(void)json_array_append(left, grant);
	}
	json_decref(lease->grants);
	lease->grants = left;
}

static void forget(struct lease *lease, const char *path)
{
	json_t *left = used_without(lease, path, false);
	struct used_secrets *used;

	/* Without memory it is listed still, and not there any more. */
	if (used_secrets_new(left, &used) == 0) {
		free(lease->used);
		lease->used = used;
		keep_grants(lease);
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

static bool is_everything_taken(const struct lease *lease)
{
	for (size_t i = 0; lease->used && i < lease->used->count; i++)
		if (!is_taken(lease, lease->used->items[i].path))
			return false;
	return true;
}

static void want(struct lease *lease, const char *path, const char *reason)
{
	if (!lease->to_take)
		lease->to_take = json_object();
	if (!is_taken(lease, path))
		(void)json_object_set_new(lease->to_take, path, json_string(reason));
}

/* Begins with what is wanted: with all of it, if nothing would be left. */
static void begin(struct lease *lease, const char *reason)
{
	if (is_everything_taken(lease)) {
		lease_end(lease, reason);
		return;
	}
	/* A restart goes on with it. */
	lease_save(lease);
	take_next(lease);
}

void lease_take(struct lease *lease, json_t *paths, const char *reason)
{
	json_t *path;
	size_t i;

	if (json_array_size(paths) == 0 || lease->end_reason)
		return;
	json_array_foreach (paths, i, path)
		want(lease, json_string_value(path), reason);
	begin(lease, reason);
}

void lease_take_later(struct deadline *deadline)
{
	struct lease *lease = container_of(deadline, struct lease, take_later);
	void *first = json_object_iter(lease->to_take);
	json_t *reason = first ? json_incref(json_object_iter_value(first)) : NULL;

	if (reason && !lease->end_reason)
		begin(lease, json_string_value(reason));
	json_decref(reason);
}

void lease_take_resume(struct lease *lease)
{
	const char *path;
	json_t *once;

	json_object_foreach (lease->once, path, once)
		if (is_opened(once) && !is_taken(lease, path))
			want(lease, path, READ_ONCE);
	lease_take_later(&lease->take_later);
}

/* --- files that are read once --- */

void lease_once_set(struct lease *lease, const struct plan *plan)
{
	json_decref(lease->once);
	lease->once = NULL;
	for (size_t i = 0; i < plan->files_count; i++) {
		if (!plan->files[i].entry->once)
			continue;
		if (!lease->once)
			lease->once = json_object();
		(void)json_object_set_new(lease->once, plan->files[i].path,
			json_pack("{s:[], s:b}", "inodes", "opened", 0));
	}
	lease_filled(lease)->sees_closes = lease->once != NULL;
}

void lease_once_note(struct lease *lease)
{
	const struct delivery *delivery = lease_filled(lease);

	for (size_t i = 0; lease->once && i < delivery->files_count; i++) {
		const struct delivery_file *file = &delivery->files[i];

		(void)json_array_append_new(
			json_object_get(json_object_get(lease->once, file->path), "inodes"),
			json_integer((json_int_t)file->inode));
	}
}

/* The path of the file that INODE was in this or an earlier generation, if it is read once. */
static const char *once_path(const struct lease *lease, uint64_t inode)
{
	json_t *once, *known;
	const char *path;
	size_t i;

	json_object_foreach (lease->once, path, once)
		json_array_foreach (json_object_get(once, "inodes"), i, known)
			if ((uint64_t)json_integer_value(known) == inode)
				return path;
	return NULL;
}

static void set_opened(struct lease *lease, const char *path, bool is_open)
{
	(void)json_object_set_new(
		json_object_get(lease->once, path), "opened", json_boolean(is_open));
}

/* An open that waits while the marks change hands is asked for once more, by the shared group. */
static bool is_asked_again(json_t *once, const struct opener *opener)
{
	json_t *group = json_object_get(once, "group");

	if (!group || json_integer_value(group) == (json_int_t)opener->group ||
		json_integer_value(json_object_get(once, "pid")) != opener->pid)
		return false;
	(void)json_object_del(once, "group");
	return true;
}

bool lease_once_take(struct lease *lease, const struct opener *opener, const char **ret_path)
{
	const char *path = once_path(lease, opener->inode);
	json_t *once = path ? json_object_get(lease->once, path) : NULL;

	*ret_path = NULL;
	if (!path)
		return true;
	if (is_taken(lease, path))
		return false;
	if (is_opened(once))
		return is_asked_again(once, opener);
	set_opened(lease, path, true);
	(void)json_object_set_new(once, "group", json_integer(opener->group));
	(void)json_object_set_new(once, "pid", json_integer(opener->pid));
	*ret_path = path;
	return true;
}

void lease_once_give_back(struct lease *lease, const char *path)
{
	set_opened(lease, path, false);
}

void lease_once_closed(struct lease *lease, uint64_t inode)
{
	const char *path = once_path(lease, inode);

	if (!path || !is_opened(json_object_get(lease->once, path)) || is_taken(lease, path) ||
		lease->end_reason)
		return;
	want(lease, path, READ_ONCE);
	/* What was sent on with sendfile(2) is in the pages still. */
	deadline_arm(&lease->take_later, LEASE_DRAIN_MS);
}

/* --- the next generation --- */

/* What is being read for the only time has no next generation either. */
static bool is_left_out(const struct lease *lease, const char *path)
{
	return is_taken(lease, path) || is_opened(json_object_get(lease->once, path));
}

void lease_leave_out_taken(const struct lease *lease, struct fetched *fetched)
{
	json_t *all = used_secrets_to_json(fetched->used), *used, *left = json_array();
	struct used_secrets *kept;
	size_t count = 0, i;

	for (i = 0; i < fetched->files_count; i++)
		if (!is_left_out(lease, fetched->files[i].path))
			fetched->files[count++] = fetched->files[i];
		else
			held_value_done(&fetched->files[i].value);
	fetched->files_count = count;
	json_array_foreach (all, i, used)
		if (!is_left_out(lease, json_string_value(json_object_get(used, "path"))))
			(void)json_array_append(left, used);
	if (used_secrets_new(left, &kept) == 0) {
		free(fetched->used);
		fetched->used = kept;
	}
	json_decref(all);
	json_decref(left);
}
