/* The table of operations: who may ask for what, when, and what it means for the delivery. */
#pragma once

#include "daemon/mounter/mounter.h"

/* False for what the broker can only send by a bug or an attack: unknown operation, unclean name,
 * numbers beyond the limits. The mounter then ends. */
bool mounter_request_is_sane(const struct mounter_request *request, uint32_t groups_count);

/* Carries out REQUEST, or starts a worker for it. DESCRIPTORS are borrowed.
 * Returns true when *REPLY (and *RET_FD, owned by the caller, -1 without) is to be sent now, false
 * when a worker will bring the reply. */
bool mounter_request_run(struct mounter *mounter, const struct mounter_request *request,
	const struct request_descriptors *descriptors, struct mounter_reply *reply, int *ret_fd);

/* Takes the outcome of REQUEST (reply->status) into account: the delivery's phase and descriptors;
 * completes REPLY. Called for what a worker has done when it has finished. DELIVERY is NULL for an
 * operation that concerns none. */
void mounter_settle(struct mounter *mounter, const struct mounter_request *request,
	struct delivery *delivery, struct mounter_reply *reply, int *ret_fd);
