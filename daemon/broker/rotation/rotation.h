/* Rotations: secrets that have changed, on their way into every delivery that has them.
 *
 * Glossary
 *   change   a secret with the version that was current and the one that is
 *   target   one container that has a changed secret: its files are exchanged, its application is told
 *   window   how long a target's health may still take the rotation back
 *   back     the way of a rotation that is taken back: the old bytes are current again, and every
 *            container that has the new ones is a target once more
 *
 * The store has changed before a rotation begins; from then on it goes on until every target has been
 * reached, over a restart of ours too: its row in state.db says what it is, and what is left to do is
 * seen from the deliveries. One that a server of a set of provider `vault` has begun has no row: what
 * the server has and what the deliveries have is compared again after our start. Start reading at rotation_go_on(). rotation_target.c has one target's way,
 * rotation_tell.c what the application is told, rotation_back.c the way back, rotation_row.c the row,
 * rotation_remote.c what servers change.
 * Loop thread only. */
#pragma once

#include "daemon/broker/lease/lease.h"
#include "daemon/broker/store/store_prepared.h"

#include <jansson.h>
#include <sys/queue.h>

#define ROTATION_ID_LENGTH   16 /* hex digits */
#define ROTATION_CHANGES_MAX 64
#define ROTATION_AT_ONCE     32 /* targets at work; a worker of the mounter each */

enum rotation_state {
	ROTATION_GOING = 1,
	ROTATION_CANARY,  /* the first targets have it: are they well? */
	ROTATION_WATCHED, /* all have it, and some of them may still take it back */
	ROTATION_ASKED, /* it is to be taken back, and whoever rotated takes his part back first */
	ROTATION_OVER,
};

enum target_state { TARGET_WAITING = 1, TARGET_AT_WORK, TARGET_DONE };

enum target_outcome {
	TARGET_NONE = 0,
	TARGET_TOLD, /* the signal is in `text` */
	TARGET_RESTARTED,
	TARGET_WATCHES, /* a client of the container socket hears of it */
	TARGET_QUIET,	/* its grant says that it needs no telling */
	TARGET_UNTOLD,	/* it has the new files and does not know */
	TARGET_GONE,	/* it has stopped meanwhile */
	TARGET_FAILED,
};

struct rotation_target {
	TAILQ_ENTRY(rotation_target) entry;
	struct rotation *rotation;
	enum target_state state;
	enum target_outcome outcome;
	unsigned engine;
	char mount_id[DELIVERY_HEX_LENGTH + 1];
	char *container, *container_id;
	char text[192];
	uint32_t window_s;  /* 0: its health takes nothing back */
	uint64_t reached_s; /* boot time at which it had the new files */
	struct target_work *work;
};
TAILQ_HEAD(rotation_targets, rotation_target);

/* Somebody who wants to hear how it goes. */
struct rotation_watch {
	TAILQ_ENTRY(rotation_watch) entry;
	struct rotation *rotation; /* NULL once it is over */
	bool runs_apply;	   /* takes its own part back before the rotation is */
	/* EVENT is borrowed. IS_LAST: there will be no other, and the watch is not in the list any more. */
	void (*on_event)(struct rotation_watch *watch, json_t *event, bool is_last);
};
TAILQ_HEAD(rotation_watches, rotation_watch);

struct rotation {
	TAILQ_ENTRY(rotation) entry;
	struct rotations *rotations;
	struct handle_group handles;
	struct deadline deadline; /* the windows, then being forgotten */
	struct deadline saving;
	struct work_item store_work;
	char id[ROTATION_ID_LENGTH + 1];
	enum rotation_state state;
	bool is_back;	    /* on the way back */
	bool is_remote;	    /* a server has begun it */
	bool is_superseded; /* by a later change of the same secret, there */
	bool is_unresolved; /* from a row; the store was not looked at yet */
	bool is_resolving;
	char *back_reason; /* it is to be taken back, or was */
	struct store_change *changes;
	struct store_change *restored; /* the same, while the store takes them back */
	size_t changes_count;
	json_t *actor;
	unsigned canary; /* targets before the others are reached; 0: all at once */
	bool has_apply;
	uint64_t watched_until_s; /* boot time */
	struct rotation_targets targets;
	unsigned at_work;
	struct rotation_watches watches;
	struct mayfly_error store_error;
	int store_status;
};
TAILQ_HEAD(rotation_list, rotation);

TAILQ_HEAD(followed_paths, followed_path);

/* The broker has one. */
struct rotations {
	struct lease_context *leases;
	/* A client of LEASE's container watches at the container socket. NULL: nobody can. */
	bool (*is_watched)(void *data, const struct lease *lease);
	void *data;
	struct rotation_list list;
	struct handle_group handles;
	struct deadline follow;
	struct followed_paths followed; /* that somebody has, and a server may change */
	char boot_id[64];
	bool is_stopping;
};

void rotations_init(struct rotations *rotations, struct lease_context *leases);
/* What is left is left to the next start. */
void rotations_stop(struct rotations *rotations);

/* A new one's, at random. */
void rotation_make_id(char id[ROTATION_ID_LENGTH + 1]);

struct rotation_options {
	json_t *actor;	 /* who, for the audit; a reference is taken */
	unsigned canary; /* so many containers first */
	bool has_apply;
	bool is_remote;
};

/* CHANGES (copied) have been made in the store under the row that rotation_row_begin() wrote as ID,
 * or IS_REMOTE. -ENOMEM. */
int rotation_begin(struct rotations *rotations, const char *id, const struct store_change *changes,
	size_t count, const struct rotation_options *options, struct rotation **ret_rotation);

/* WATCH hears of everything from now on; first of what has been reached. */
void rotation_watch(struct rotation *rotation, struct rotation_watch *watch);
void rotation_unwatch(struct rotation_watch *watch);

/* Whoever runs --apply has taken his part back. */
void rotation_confirm_back(struct rotation *rotation);
/* Takes it back, for REASON. */
void rotation_take_back(struct rotation *rotation, const char *reason);

struct rotation *rotation_find(struct rotations *rotations, const char *id);

/* What was under way before our start, by the rows in state.db. After adoption; blocks on a short read. */
void rotations_resume(struct rotations *rotations);

/* What was in the way may have gone: the store is unlocked, the mounter is back. */
void rotations_wake(struct rotations *rotations);

/* Who has what, or which servers are asked, has changed: soon afterwards the right paths are watched. */
void rotations_follow(struct rotations *rotations);

/* PATH of vault set SET has another version (0: they have no numbers). */
void rotations_on_remote_change(
	struct rotations *rotations, const char *set, const char *path, uint32_t version);

/* The engine says that container ID has turned unhealthy, or has ended. */
void rotations_on_unwell(
	struct rotations *rotations, unsigned engine, const char *id, const char *how);

/* LEASE is released, with what was current when its container was mounted, which may have changed since;
 * or it has ended, with its container perhaps. */
void rotations_on_lease_event(
	struct rotations *rotations, const struct lease *lease, enum lease_event event);

/* CHANGES as an array of {set, name, before, after}. */
json_t *rotation_changes_to_json(const struct store_change *changes, size_t count);

/* For `mayfly status`: an array of what is under way. */
json_t *rotations_describe(const struct rotations *rotations);
