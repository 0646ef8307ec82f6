/* Leases: one delivery for one container, until the container's end.
 *
 * Glossary
 *   candidate   a container that may be the one that mounts: it uses the volume, does not run, and
 *               is being started
 *   armed       attached with placeholders and guarded: opens wait
 *   start       the engine says that a container has started: claimed until the delivery is found in it
 *   verified    the delivery's superblock is at the container's target in its init's mount namespace:
 *               the proof of who has it
 *   released    written, sealed, open to that container
 *   beginnings  what only the way to the release needs; a released lease has none
 *   holder      the container that has it, once that is proved
 *   generation  the files of a released delivery at one time; lease_change.c makes the next one
 *
 * The way: lease_new -> lease_arm -> (lease_on_bundle) -> lease_on_start -> verified -> recorded ->
 * written -> sealed -> openers answered -> retreat -> released -> lease_end -> wiped -> forgotten.
 * Each step is asynchronous and one at a time; an end that is wanted meanwhile waits for the step's
 * completion. In lease_start.c is a start, in lease_open.c the openers, in lease_request.c what a
 * container asks for itself, in lease_renew.c what its term has done to it, in adopt/ what is
 * found after a restart. Loop thread only. */
#pragma once

#include "daemon/broker/delivery/delivery.h"
#include "daemon/broker/delivery/guard_reader.h"
#include "daemon/broker/identity/container_facts.h"
#include "daemon/broker/identity/container_process.h"
#include "daemon/broker/lease/lease_context.h"
#include "daemon/broker/lease/term/lease_term.h"
#include "daemon/broker/loop/deadline.h"
#include "daemon/broker/loop/descriptor_watch.h"
#include "daemon/broker/policy/plan.h"
#include "daemon/broker/provider/value_fetch.h"
#include "proto/error.h"

#include <stdbool.h>
#include <sys/queue.h>

#define LEASE_START_DEADLINE_MS 120000 /* armed without a start */

/* What a container writes with sendfile(2) or splice(2), as busybox's cat does, is the file's own
 * pages until somebody has read them: overwritten at once, a reader would get zeros. So long after
 * the container's end they stay, unless the engine's Unmount comes before: it has read everything
 * then. Promised are 100 ms. */
#define LEASE_DRAIN_MS 50

/* The way to the release: who it can be, and what it would get. */
struct lease_beginnings {
	struct lease *lease;
	struct container_facts *candidates;
	size_t candidates_count;
	bool has_unjudged;			  /* a candidate whose facts could not be had */
	char bundled_id[CONTAINER_ID_LENGTH + 1]; /* the runtime says who mounts it; "" */
	uint32_t bundled_uid, bundled_gid;
	bool has_new_bundle;		/* not looked at yet */
	struct container_facts *starts; /* told, and not looked at yet */
	size_t starts_count;
	struct container_facts container; /* of the start under way */
	size_t target;			  /* index of its volume that is looked at */
	bool has_plan;
	struct plan plan;
	struct plan next_plan; /* while its values are fetched */
	struct value_fetch *fetch;
	unsigned seal_attempts;
	struct engine_question review; /* of lease_review.c */
	bool is_in_review;
	struct trail trail;
	/* whoever waits for Mount's answer, or for the delivery that it has asked for */
	void (*on_armed)(struct lease *lease, int status, const char *why, void *data);
	void *on_armed_data;
	const char *(*fails)(void *data); /* of a request: asked right before the release */
};

/* Who has it. Strings are owned; NULL until it is known. */
struct lease_holder {
	char *id, *name, *image_id;
	char *target; /* of the mount in it, without a leading "/" */
};

struct lease {
	TAILQ_ENTRY(lease) entry;
	LIST_ENTRY(lease) by_id, by_device; /* of lease_index.c */
	bool is_known_by_device;
	struct lease_context *context;
	struct handle_group handles;
	struct delivery delivery;
	struct delivery *inside; /* without the guard: what is put over the empty one once the
				    start is verified; else NULL */
	enum lease_release_mode mode;
	enum lease_state state;
	unsigned engine;
	char *volume;
	struct volume_options *options;	     /* NULL: none */
	uint32_t group;			     /* GUARD_NO_GROUP: not guarded */
	struct lease_beginnings *beginnings; /* NULL once released */
	struct lease_holder holder;
	struct container_process init;
	struct descriptor_watch init_watch;
	struct used_secrets *used; /* what it delivers */
	struct lease_term term;
	struct boot_alarm alarm; /* what is due of it */
	struct engine_question renewal;
	bool is_renewing; /* it is under way */
	json_t *once;	  /* {path: {"inodes", "opened"}} of those that are read once; NULL: none */
	json_t *taken, *to_take; /* {path: ...} of lease_take.c; NULL: none */
	struct deadline take_later;
	json_t *grants;	    /* their names */
	bool guards_always; /* `guard: always` */
	struct openers waiting;
	unsigned denied; /* openers, for the audit's rate */
	uint64_t denied_told_ms;
	bool is_waiting;  /* a step is under way */
	bool is_verified; /* openers are attested from here on */
	bool is_joined;	  /* another container shares its pid namespace */
	bool keeps_guard; /* its own mount is guarded after the release too */
	bool is_refused;
	bool is_unwiped;  /* it has ended, and its container may have what it had */
	bool is_lost;	  /* the present mounter does not know it yet */
	bool is_draining; /* its container has ended */
	bool was_unmounted, is_forgetting;
	unsigned grace_turns;	  /* cleanings to come, of lease_change.c */
	unsigned mounted_again;	  /* by `docker cp`, with as many Unmounts to come */
	struct deadline deadline; /* for the start, then for draining, then for the Unmount */
	char *end_reason;	  /* an end is wanted */
	delivery_done_function *on_filled; /* of lease_unguarded.c */
	void (*on_forgotten)(struct lease *lease, void *data);
	void *on_forgotten_data;
	struct adoption *adoption; /* of lease_adopt.c */
	struct change *change;	   /* of lease_change.c: the next generation, under way */
};

/* A lease for MOUNT_ID (64 hex digits) of VOLUME, with candidates (copied by reference). It is in
 * the context's list from now on, and frees itself after its end. -EINVAL for a bad id. */
int lease_new(struct lease_context *context, const char *mount_id, unsigned engine,
	const char *volume, const struct volume_options *options, struct lease **ret_lease,
	struct mayfly_error *err);
int lease_add_candidate(struct lease *lease, const struct container_facts *facts);
void lease_clear_candidates(struct lease *lease);

/* Sets what it will deliver; takes PLAN and what FETCHED holds over. Without it the delivery is
 * armed empty. */
void lease_set_plan(struct lease *lease, struct plan *plan, struct fetched *fetched);

/* Makes, guards, attaches, records. ON_ARMED once: 0, or why not; the lease then ends by itself. */
void lease_arm(struct lease *lease,
	void (*on_armed)(struct lease *lease, int status, const char *why, void *data), void *data);
/* ON_ARMED is not called any more: whoever wanted to know has gone. */
void lease_forget_arming(struct lease *lease);
/* The same for a mount at `docker create`: read-only, one file, no secrets. */
void lease_arm_decoy(struct lease *lease,
	void (*on_armed)(struct lease *lease, int status, const char *why, void *data), void *data);

/* The runtime is about to start container ID with this delivery, as UID and GID (inside). */
void lease_on_bundle(struct lease *lease, const char *id, uint32_t uid, uint32_t gid);

/* A container that uses the volume has started, or, after a reconnect, runs: its engine says so. */
void lease_on_start(struct lease *lease, const struct container_facts *facts);

/* Somebody opens a file of it. */
void lease_on_open(struct lease *lease, struct opener *opener);

/* Denies who waits, wipes, leaves the host path. REASON: for audit and explain. Twice is fine. */
void lease_end(struct lease *lease, const char *reason);

/* Its container has ended. */
void lease_on_container_end(struct lease *lease);

/* The engine mounts once more under its id: `docker cp`. */
void lease_on_mount_again(struct lease *lease);

/* The engine's Unmount. A live container keeps its files. ON_FORGOTTEN is called once nothing is
 * left, or at once. */
void lease_on_unmount(
	struct lease *lease, void (*on_forgotten)(struct lease *lease, void *data), void *data);

/* Its container has the files, and its end has not begun. */
bool lease_is_released(const struct lease *lease);

/* Its container is known to live. */
bool lease_is_alive(const struct lease *lease);

/* Where steps for `explain` go; NULL once released: what was decided is written down then. */
struct trail *lease_trail(struct lease *lease);

/* What to ask the policy about FACTS and this volume. Borrows from both. */
struct policy_question lease_question(
	const struct lease *lease, const struct container_facts *facts);

/* The delivery that gets the files: the one at the mount, or the one that comes over it. */
struct delivery *lease_filled(struct lease *lease);

/* The container may not have it. Denies who waits, records, and lets the empty delivery stay until
 * the container's end. */
void lease_refuse(struct lease *lease, const char *why);
