#include "daemon/broker/backup/backup.h"

#include "proto/cleanup.h"
#include "proto/recovery_text.h"

#include <errno.h>

struct restoring {
	struct arena *arena;
	int fd;
	const struct secret *recovery_key;
	struct store_filling *filling;
	struct backup_counts *counts;
};

static int on_secret(void *data, const struct backup_secret *secret, struct mayfly_error *err)
{
	struct restoring *restoring = data;

	return store_fill_secret(restoring->filling, secret, err);
}

static int on_version(void *data, const struct backup_version *version, const struct secret *value,
	struct mayfly_error *err)
{
	struct restoring *restoring = data;

	return store_fill_version(restoring->filling, version, value, err);
}

/* The second reading. Safe though the file may have been changed since the first: each piece is
 * authenticated again, and what is half made when one is not was never there. */
static int fill(struct store_filling *filling, void *data, struct mayfly_error *err)
{
	struct restoring *restoring = data;
	const struct backup_visitor visitor = {
		.on_secret = on_secret, .on_version = on_version, .data = restoring
	};

	restoring->filling = filling;
	return backup_read(restoring->arena, restoring->fd, restoring->recovery_key, &visitor,
		restoring->counts, err);
}

static int on_info(void *data, const struct backup_info *info, struct mayfly_error *err)
{
	(void)err;
	*(struct backup_info *)data = *info;
	return 0;
}

int backup_restore(struct store *store, struct arena *arena, int fd,
	const struct restore_wish *wish, struct backup_info *ret_info,
	struct backup_counts *ret_counts, struct mayfly_error *err)
{
	struct backup_info info = { 0 };
	const struct backup_visitor look = { .on_info = on_info, .data = &info };
	AUTO_SECRET recovery_key = { 0 }, made = { 0 };
	struct restoring restoring = {
		.arena = arena, .fd = fd, .recovery_key = &recovery_key, .counts = ret_counts
	};
	const struct store_init_args args = { .host_key = wish->host_key,
		.passphrase = wish->passphrase,
		.audit_key = wish->audit_key,
		.recovery_text = wish->recovery_text,
		.fill = fill,
		.fill_data = &restoring };
	int r = recovery_text_read(wish->recovery_text, &recovery_key, err);

	if (r == 0)
		r = backup_read(arena, fd, &recovery_key, &look, ret_counts, err);
	if (r == 0)
		r = store_init(store, &args, &made, err);
	if (r == 0)
		*ret_info = info;
	return r;
}
