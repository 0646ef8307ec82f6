/* What the files lease_*.c, and adopt/, share on the way of a lease; nobody else includes it. */
#pragma once

#include "daemon/broker/lease/lease.h"

/* Ends the lease when its container's init ends. */
bool lease_watch_init(struct lease *lease);

/* Looks at the next start that was told, if nothing else is under way. */
void lease_start_next(struct lease *lease);
void lease_keep_start(struct lease *lease, const struct container_facts *facts);

/* The start under way is the holder's: the names that are kept. -ENOMEM. */
int lease_set_holder(struct lease *lease, const char *id, const char *name, const char *image_id,
	const char *target);
void lease_clear_holder(struct lease *lease);

/* Frees what only the way to the release needed. */
void lease_forget_beginnings(struct lease *lease);

/* Tells whoever waits for the delivery, once. */
void lease_answer_armed(struct lease *lease, int status, const char *why);

/* Writes and seals at Mount, then calls ON_FILLED. See lease_unguarded.c. */
void lease_fill_at_mount(struct lease *lease, delivery_done_function *on_filled);
/* Makes, writes, seals and moves over the target, then calls ON_FILLED. */
void lease_fill_inside(struct lease *lease, delivery_done_function *on_filled);

/* What a running container has asked for leaves its target, wiped, so that it can ask again. True:
 * ON_LEFT will be called; false: there is nothing to leave. */
bool lease_leave_target(struct lease *lease, delivery_done_function *on_left);

/* Makes room for its alarm. -ENOMEM. See lease_renew.c. */
int lease_term_prepare(struct lease *lease);
/* Takes the next file that is to be taken. See lease_take.c. */
void lease_take_later(struct deadline *deadline);

/* Called first in each completion of a step. True when the lease is to go on; false
 * when its end was wanted meanwhile and has begun. */
bool lease_step_done(struct lease *lease);

/* Of adopt/lease_adopt.c: asks the present mounter for LEASE, which was in the middle of something when
 * that came. */
void lease_readopt(struct lease *lease);
/* Wipes what the mounter has and no lease, unless one is still looked for. */
void lease_sweep(struct lease_context *context);
