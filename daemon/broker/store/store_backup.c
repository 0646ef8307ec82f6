/* The store's secrets for a backup, as they are at one moment, and into a store that is made of
 * one. */
#include "daemon/broker/store/store_backup.h"

#include "daemon/broker/store/store_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Others are let in between, as while verifying (store_walk.c). */
#define RESTS_NS      200000
#define PAGES_AT_ONCE 64

/* An export under way: a copy of the file, and of the keys that open it. */
struct export
{
	struct db_copy *copying;
	struct db *db;
	struct secret memory; /* a struct unlocked */
};

static void export_done(struct export *export)
{
	db_copy_free_p(&export->copying);
	db_close(export->db);
	secret_done(&export->memory);
}

static int begin(struct store *store, struct export *export, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	AUTO_HEAD *head = NULL;
	struct vault vault;
	int r = store_require_unlocked(store, &vault, &head, err);

	if (r == 0)
		r = unlocked_new(
			store->arena, &store->identity, vault.keys->root, &export->memory, err);
	if (r == 0)
		r = db_copy_new(store->db, store->directory, &export->copying, err);
	return r;
}

/* Locking the store ends a backup: its keys are to be gone. So does another root key: its records
 * would be in the copy, and the copy's keys would not open them. */
static int require_same(
	const struct store *store, const struct export *export, struct mayfly_error *err)
{
	const struct unlocked *own = (const struct unlocked *)(const void *)export->memory.bytes;
	AUTO_HEAD *head = NULL;
	struct vault vault;
	const int r = store_require_unlocked(store, &vault, &head, err);

	if (r == 0 && memcmp(&own->keys.identity, &store->identity, sizeof store->identity) != 0)
		return error_set(err, -EAGAIN, "the root key was changed in the meantime");
	return r;
}

/* 1: there is more. */
static int copy_some(struct store *store, struct export *export, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);
	int r = require_same(store, export, err);

	return r < 0 ? r : db_copy_step(export->copying, PAGES_AT_ONCE, err);
}

static int copy(struct store *store, struct export *export, struct mayfly_error *err)
{
	static const struct timespec rest = { .tv_nsec = RESTS_NS };
	int r = begin(store, export, err);

	while (r == 0 && (r = copy_some(store, export, err)) == 1) {
		(void)nanosleep(&rest, NULL); /* shorter is fine */
		r = 0;
	}
	if (r == 0)
		r = db_copy_open(export->copying, &export->db, err);
	return r;
}

static int still_same(struct store *store, const struct export *export, struct mayfly_error *err)
{
	AUTO_HELD *held = mutex_hold(&store->mutex);

	return require_same(store, export, err);
}

static struct backup_secret secret_of(const struct head *head)
{
	struct backup_secret secret = {
		.is_removed = head->row.is_removed,
		.current = head->current,
		.next = head->next,
		.keep = head->keep,
		.changed_unix_s = head->changed_unix_s,
		.removed_unix_s = head->removed_unix_s,
	};

	memcpy(secret.reference.set, head->row.set, sizeof head->row.set);
	memcpy(secret.reference.name, head->name, sizeof head->name);
	return secret;
}

static int export_versions(const struct vault *vault, const struct head *head,
	const struct store_export *to, struct mayfly_error *err)
{
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < head->version_count; i++) {
		const struct backup_version version = { head->versions[i].number,
			head->versions[i].created_unix_s };
		AUTO_SECRET value = { 0 };
		char name[2 * MAYFLY_REFERENCE_MAX];

		r = value_open(vault, head, &head->versions[i], &value, err);
		if (r == 0)
			r = to->on_version(to->data, &version, &value, err);
		else if (r == -EBADMSG) {
			(void)snprintf(name, sizeof name, "%s/%s version %u", head->row.set,
				head->name, version.number);
			to->on_damaged(to->data, name);
			r = 0;
		}
	}
	return r;
}

static int export_head(const struct vault *vault, const struct head *head,
	const struct store_export *to, struct mayfly_error *err)
{
	const struct backup_secret secret = secret_of(head);
	const int r = to->on_secret(to->data, &secret, err);

	return r < 0 ? r : export_versions(vault, head, to, err);
}

int store_export(struct store *store, const struct store_export *to, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(export_done) struct export export = { 0 };
	char damaged[MAYFLY_SET_NAME_MAX + 32];
	AUTO_HEAD *head = NULL;
	struct vault vault;
	int64_t after = 0;
	int r = copy(store, &export, err);

	if (r < 0)
		return r;
	vault = (struct vault){ .db = export.db, .arena = store->arena };
	vault.keys = &((struct unlocked *)(void *)export.memory.bytes)->keys;
	vault.plain = ((struct unlocked *)(void *)export.memory.bytes)->plain;
	head = &((struct unlocked *)(void *)export.memory.bytes)->head;
	for (;;) {
		r = still_same(store, &export, err);
		if (r < 0)
			return r;
		r = head_next(&vault, after, head, err);
		if (r == 0 || (r < 0 && r != -EBADMSG))
			return r;
		after = head->row.id;
		if (r == 1)
			r = export_head(&vault, head, to, err);
		else {
			(void)snprintf(damaged, sizeof damaged, "record %lld of set %s",
				(long long)head->row.id, head->row.set);
			to->on_damaged(to->data, damaged);
			r = 0;
		}
		if (r < 0)
			return r;
	}
}

int store_uuid(
	struct store *store, unsigned char ret_uuid[BACKUP_STORE_BYTES], struct mayfly_error *err)
{
	struct store_identity identity;
	const int r = store_identity_unlocked(store, &identity, err);

	static_assert(sizeof identity.uuid == BACKUP_STORE_BYTES, "as a backup says it");
	if (r == 0)
		memcpy(ret_uuid, identity.uuid, sizeof identity.uuid);
	return r;
}

int store_fill_end(struct store_filling *filling, struct mayfly_error *err)
{
	struct head *head = filling->head;
	int r = 0;

	/* A secret none of whose versions could be read when the backup was made. */
	if (head->version_count > 0) {
		bool has_current = false;

		for (uint32_t i = 0; i < head->version_count; i++)
			has_current |= head->versions[i].number == head->current;
		if (!has_current)
			head->current = head->versions[head->version_count - 1].number;
		r = head_insert(filling->vault, filling->ledger, head, err);
	}
	memset(head, 0, sizeof *head);
	return r;
}

int store_fill_secret(
	struct store_filling *filling, const struct backup_secret *secret, struct mayfly_error *err)
{
	struct head *head = filling->head;
	int r = store_fill_end(filling, err);

	if (r < 0)
		return r;
	r = head_find(filling->vault, &secret->reference, head, err);
	if (r == 0)
		return error_set(err, -EBADMSG, "%s/%s is in it twice", secret->reference.set,
			secret->reference.name);
	if (r != -ENOENT)
		return r;
	r = head_start(filling->vault, filling->ledger, &secret->reference, head, err);
	if (r < 0)
		return r;
	head->row.is_removed = secret->is_removed;
	head->current = secret->current;
	head->next = secret->next;
	head->keep = secret->keep;
	head->changed_unix_s = secret->changed_unix_s;
	head->removed_unix_s = secret->removed_unix_s;
	return 0;
}

int store_fill_version(struct store_filling *filling, const struct backup_version *version,
	const struct secret *value, struct mayfly_error *err)
{
	struct head *head = filling->head;
	struct version *to = &head->versions[head->version_count];

	/* The reader of the backup has counted. */
	if (head->version_count >= MAYFLY_VERSIONS_KEPT_MAX)
		return error_set(
			err, -EBADMSG, "%s/%s has too many versions", head->row.set, head->name);
	head->version_count++;
	version_make(to, version->number, value->length, version->created_unix_s);
	filling->ledger->values++;
	return value_insert(filling->vault, head, to, value, err);
}
