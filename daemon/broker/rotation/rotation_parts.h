/* What the files rotation*.c share; nobody else includes it. */
#pragma once

#include "daemon/broker/rotation/rotation.h"

#define CANARY_WINDOW_S 10 /* for grants that name no window */

uint64_t boot_seconds(void);

/* Starts what can be started, or ends what has come to its end. */
void rotation_go_on(struct rotation *rotation);
/* Tells whoever watches; takes EVENT over. */
void rotation_tell_watches(struct rotation *rotation, json_t *event, bool is_last);
/* LEASE as a target that waits. -ENOMEM. */
int rotation_add_target(struct rotation *rotation, const struct lease *lease);
void rotation_clear_targets(struct rotation *rotation);
/* Every delivery that has a changed secret. */
void rotation_collect(struct rotation *rotation);
/* The files of LEASE are of a secret of ROTATION. */
bool rotation_concerns(const struct rotation *rotation, const struct lease *lease);
/* ... and of the version that is current now. */
bool rotation_has_reached(const struct rotation *rotation, const struct lease *lease);
const struct store_change *rotation_change_of(
	const struct rotation *rotation, const char *set, const char *name);
/* Of COUNT CHANGES the one of NAME in SET, or NULL. */
const struct store_change *rotation_find_change(
	const struct store_change *changes, size_t count, const char *set, const char *name);

/* rotation_target.c */
void rotation_target_start(struct rotation_target *target);
/* Stops it where it is, without a word. */
void rotation_target_abandon(struct rotation_target *target);

/* rotation_back.c: reasons to take it back have been given and nothing is at work. */
void rotation_begin_back(struct rotation *rotation);

/* rotation_remote.c: the versions of before are read from now on. -EOPNOTSUPP there are none. */
int rotation_restore_remote(struct rotation *rotation, struct mayfly_error *err);
void rotations_follow_init(struct rotations *rotations);
void rotations_follow_stop(struct rotations *rotations);

/* rotation_resume.c: one that is unresolved, as soon as the store is unlocked */
void rotation_resolve(struct rotation *rotation);

/* rotation_row.c */
void rotation_save_soon(struct rotation *rotation);
void rotation_save(struct rotation *rotation);
void rotation_unsave(struct rotation *rotation);
/* A rotation from its row; -EINVAL when it is none of ours. */
int rotation_from_row(struct rotations *rotations, json_t *row, struct rotation **ret_rotation);
const char *target_outcome_name(enum target_outcome outcome);
json_t *rotation_target_event(const struct rotation_target *target);

int rotation_new(struct rotations *rotations, const char *id, size_t changes_count,
	struct rotation **ret_rotation);
