/* Volume definitions of all engines: in memory for quick answers, in state.db for good. A
 * definition holds no data and no secret. */
#pragma once

#include "daemon/broker/policy/policy.h"
#include "daemon/broker/request/broker.h"

struct volume_definition {
	char *engine, *name;
	json_t *options; /* as the engine gave them */
	struct volume_options parsed;
	char created[32]; /* RFC 3339 */
	TAILQ_ENTRY(volume_definition) entry;
};

struct volume_table {
	TAILQ_HEAD(, volume_definition) definitions;
	struct broker *broker;
};

/* Reads what state.db has. A definition whose options are not understood (of a newer version) stays
 * listed and cannot be mounted. */
int volume_table_load(struct volume_table *table, struct broker *broker, struct mayfly_error *err);
void volume_table_done(struct volume_table *table);

struct volume_definition *volume_table_find(
	const struct volume_table *table, const char *engine, const char *name);

/* Defines a volume, durably: ON_DONE comes from the loop, with status 0 when it will be there after
 * a power cut too. OPTIONS may be NULL. Returns 0; or at once: -EEXIST for other options than it
 * has (*RET_SAME false) or for the same (true, nothing to do); -EINVAL for a name or options that
 * are not valid. */
int volume_table_define(struct volume_table *table, const char *engine, const char *name,
	json_t *options, void (*on_done)(void *data, int status, const char *why), void *data,
	bool *ret_same, struct mayfly_error *err);

/* Forgets one, durably; unknown is fine. */
int volume_table_remove(struct volume_table *table, const char *engine, const char *name,
	void (*on_done)(void *data, int status, const char *why), void *data,
	struct mayfly_error *err);
