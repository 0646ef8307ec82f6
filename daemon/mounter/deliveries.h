/* The table of deliveries and what becomes of one when an operation has succeeded. No system calls
 * but close, umount of our own arena, and the marks of an adopted delivery. */
#pragma once

#include "daemon/mounter/mounter.h"

/* Twice the slots: short ways of probing. */
#define DELIVERY_INDEX_SIZE (2 * MOUNTER_MAX_DELIVERIES)

/* The delivery with ID, or NULL. */
struct delivery *delivery_find(const struct mounter *mounter, const uint8_t *id);

/* A slot in PHASE_EMPTY for ID, which is not in the table yet; NULL when it is full. */
struct delivery *delivery_add(struct mounter *mounter, const uint8_t *id);

/* Closes what the slot holds and frees it. */
void delivery_free(struct mounter *mounter, struct delivery *delivery);

/* Remembers the mount namespace of ENGINE, a pidfd (-1: unknown, taken for ours), as that of the
 * host path. */
int delivery_note_engine(struct mounter *mounter, struct delivery *delivery, int engine);

/* What the success of REQUEST means. Takes *FD over where the operation brought a descriptor for
 * us. May turn the success into a failure by reply->status. */
void delivery_apply(struct mounter *mounter, struct delivery *delivery,
	const struct mounter_request *request, struct mounter_reply *reply, int *fd);

/* Fills REPLY with what LIST says of DELIVERY. */
void delivery_describe(const struct delivery *delivery, struct mounter_reply *reply);

/* --- the ends that deliveries have even when everybody else is dead ---
 * At its deadline a delivery is wiped by the mounter itself. While a broker is connected it is left some time
 * to do that, in its own order and with its record. */

/* The supervisor kills a broker that stands still for that long. */
#define DEADLINE_GRACE_MS 2500

/* DELIVERY is to be wiped at DEADLINE_MS of boot_clock_ms(); 0: never. */
void deadline_set(struct mounter *mounter, struct delivery *delivery, int64_t deadline_ms);

/* Starts wiping what is due at NOW_MS. What no worker is free for, or one is at, is looked at again. */
void deadlines_look(struct mounter *mounter, int64_t now_ms);

/* How long nothing is due from NOW_MS on, at most MAX_MS. */
int deadlines_wait_ms(const struct mounter *mounter, int64_t now_ms, int max_ms);
