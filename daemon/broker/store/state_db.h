/* state.db: what is not secret and must outlive us. Volume definitions (so that the plugin's Get
 * works while the store is locked or damaged), deliveries (so that they are found again), what
 * engines said, the newest decisions. May be called from any thread; one mutex serialises. Blocks
 * on disk. Definitions are durable when the call returns (synchronous=FULL); the rest survives kill
 * -9, not power loss, after which no container of it lives. */
#pragma once

#include "proto/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state_db;

/* Opens or creates DIRECTORY/state.db. -EUCLEAN for a file of another kind or a newer version, both
 * named. */
int state_db_open(const char *directory, struct state_db **ret_db, struct mayfly_error *err);
void state_db_close(struct state_db *db);

/* Volume definitions. OPTIONS is the `driver_opts` object, stored as it came. */
int state_db_volume_put(struct state_db *db, const char *engine, const char *name, json_t *options,
	int64_t created_unix_s, struct mayfly_error *err);
int state_db_volume_remove(
	struct state_db *db, const char *engine, const char *name, struct mayfly_error *err);
/* An array of {engine, name, options, created}. The caller owns it. */
int state_db_volumes(struct state_db *db, json_t **ret_volumes, struct mayfly_error *err);

/* Deliveries, by Mount ID (64 hex digits). RECORD is delivery/'s own object; it holds no value. */
int state_db_delivery_put(
	struct state_db *db, const char *mount_id, json_t *record, struct mayfly_error *err);
int state_db_delivery_remove(struct state_db *db, const char *mount_id, struct mayfly_error *err);
/* An object {mount_id: record, ...}. The caller owns it. */
int state_db_deliveries(struct state_db *db, json_t **ret_deliveries, struct mayfly_error *err);

/* Rotations under way, by their id. RECORD is rotation/'s own object; it holds no value. */
int state_db_rotation_put(
	struct state_db *db, const char *id, json_t *record, struct mayfly_error *err);
int state_db_rotation_remove(struct state_db *db, const char *id, struct mayfly_error *err);
/* An array of records, oldest first. The caller owns it. */
int state_db_rotations(struct state_db *db, json_t **ret_rotations, struct mayfly_error *err);

/* Small facts by name: "engine.docker.data_root", "boot_id". *RET_VALUE is the caller's, NULL when
 * unknown. */
int state_db_fact_put(
	struct state_db *db, const char *name, const char *value, struct mayfly_error *err);
int state_db_fact(
	struct state_db *db, const char *name, char **ret_value, struct mayfly_error *err);

int state_db_fact_remove(struct state_db *db, const char *name, struct mayfly_error *err);
/* Those whose names begin with PREFIX: an object {name: value}, the caller's. */
int state_db_facts(
	struct state_db *db, const char *prefix, json_t **ret_facts, struct mayfly_error *err);

#define STATE_DB_DECISIONS_KEPT 1000

/* The newest decisions for `mayfly explain`: DECISION is the operator interface's type. One row per
 * KEY (a second put replaces it and makes it the newest); the oldest go. */
int state_db_decision_put(struct state_db *db, const char *key, const char *container_id,
	const char *container_name, bool refused, json_t *decision, struct mayfly_error *err);
/* The container of decision KEY has ended: its outcome becomes "ended", SUMMARY the summary and a
 * last step. Unknown is fine. */
int state_db_decision_end(
	struct state_db *db, const char *key, const char *summary, struct mayfly_error *err);

/* The newest one for CONTAINER: a name, an id or the beginning of one (at least 4 digits); NULL:
 * the newest refusal. -ENOENT when there is none. The caller owns *RET_DECISION. */
int state_db_decision(struct state_db *db, const char *container, json_t **ret_decision,
	struct mayfly_error *err);
