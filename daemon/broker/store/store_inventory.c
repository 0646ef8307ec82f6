#include "daemon/broker/store/store_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void info_of(const struct head *head, struct secret_info *ret_info)
{
	*ret_info = (struct secret_info){
		.current = head->current,
		.versions = head->version_count,
		.keep = head->keep,
		.prepared = head->prepared,
		.changed_unix_s = head->changed_unix_s,
		.removed_unix_s = head->row.is_removed ? head->removed_unix_s : 0,
	};
	memcpy(ret_info->name, head->name, sizeof ret_info->name);
}

int store_info(struct store *store, const struct secret_reference *reference,
	struct secret_info *ret_info, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	AUTO_HEAD *head = NULL;
	struct vault vault;
	int r;

	r = store_require_unlocked(store, &vault, &head, err);
	if (r < 0)
		return r;
	r = head_find(&vault, reference, head, err);
	if (r < 0)
		return r;
	info_of(head, ret_info);
	return 0;
}

int store_history(struct store *store, const struct secret_reference *reference,
	struct version_info *ret_versions, size_t max, size_t *ret_count, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	AUTO_HEAD *head = NULL;
	struct vault vault;
	int r;

	r = store_require_unlocked(store, &vault, &head, err);
	if (r < 0)
		return r;
	r = head_find(&vault, reference, head, err);
	if (r < 0)
		return r;
	*ret_count = head->version_count < max ? head->version_count : max;
	for (size_t i = 0; i < *ret_count; i++) {
		const struct version *version = &head->versions[head->version_count - 1 - i];

		ret_versions[i] = (struct version_info){
			version->number,
			version->created_unix_s,
			version->bytes,
		};
	}
	return 0;
}

/* A secret whose record does not open stands in the list under a name that no secret can have, so
 * that it is seen and the others are not lost with it. */
static void damaged_info(const struct head *head, struct secret_info *ret_info)
{
	*ret_info = (struct secret_info){ 0 };
	(void)snprintf(
		ret_info->name, sizeof ret_info->name, "?damaged-%lld", (long long)head->row.id);
	if (head->row.is_removed)
		ret_info->removed_unix_s = 1;
}

static int by_name(const void *left, const void *right)
{
	const struct secret_info *a = left, *b = right;

	return strcmp(a->name, b->name);
}

struct list {
	struct secret_info *items;
	size_t count;
	size_t room;
};

static struct secret_info *list_append(struct list *list)
{
	if (list->count == list->room) {
		const size_t room = list->room ? list->room * 2 : 64;
		void *items = reallocarray(list->items, room, sizeof list->items[0]);

		if (!items)
			return NULL;
		list->items = items;
		list->room = room;
	}
	return &list->items[list->count++];
}

static int read_set(const struct vault *vault, const char *set, struct head *head,
	struct list *list, struct mayfly_error *err)
{
	AUTO_STATEMENT *read = db_statement(vault->db, HEAD_OF_SET);
	int r;

	bind_text(read, 1, set);
	while ((r = db_next(vault->db, read, "list the secrets", err)) == 1) {
		struct secret_info *info = list_append(list);

		if (!info)
			return error_errno(err, -ENOMEM, "list the secrets");
		if (head_from_row(vault, read, head) == 0)
			info_of(head, info);
		else
			damaged_info(head, info);
	}
	return r;
}

int store_list(struct store *store, const char *set, struct secret_info **ret_list,
	size_t *ret_count, struct mayfly_error *err)
{
	AUTO_FREE struct secret_info *items = NULL;
	struct list list = { 0 };
	int r;

	{
		AUTO_HELD *held = mutex_hold(&store->mutex);
		AUTO_HEAD *head = NULL;
		struct vault vault;

		r = store_require_unlocked(store, &vault, &head, err);
		if (r == 0)
			r = read_set(&vault, set, head, &list, err);
	}
	items = list.items;
	if (r < 0)
		return r;
	if (list.count > 0)
		qsort(items, list.count, sizeof items[0], by_name);
	*ret_list = ptr_take(&items);
	*ret_count = list.count;
	return 0;
}

int store_count(struct store *store, const char *set, uint64_t *ret_count, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	int r = store_require_file(store, err);

	if (r < 0)
		return r;

	AUTO_STATEMENT *count = db_statement(store->db, set ? LIVE_COUNT_OF_SET : LIVE_COUNT);
	if (set)
		bind_text(count, 1, set);
	r = db_next(store->db, count, "count the secrets", err);
	if (r < 0)
		return r;
	*ret_count = (uint64_t)sqlite3_column_int64(count, 0);
	return 0;
}
