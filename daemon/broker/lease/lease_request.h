/* A delivery that a container has asked for itself: made, written and sealed while nobody can reach
 * it, then attached in the mount namespace of the container's init. No guard is needed on the way:
 * who gets it was proved before it is there. */
#pragma once

#include "daemon/broker/lease/lease.h"

struct lease_request {
	const struct container_process *init; /* the lease keeps a descriptor of its own */
	const struct container_facts *facts;
	const char *target; /* without a leading "/" */
	/* Asked again right before it is attached: NULL, or why not any more. */
	const char *(*fails)(void *data);
	/* Once: 0, or a negative errno with WHY; the lease then ends by itself. -EROFS and -EACCES: the
	 * target cannot be made; -EBUSY: a mount is there; -EPERM: it may not have it any more. */
	void (*on_delivered)(struct lease *lease, int status, const char *why, void *data);
	void *data;
};

/* A lease for a container of ENGINE, with an id of its own; it has no plan yet. */
int lease_new_for_request(struct lease_context *context, unsigned engine, struct lease **ret_lease,
	struct mayfly_error *err);

/* Records, makes, writes, seals, attaches LEASE, which has a plan. */
void lease_deliver(struct lease *lease, const struct lease_request *request);
/* ON_DELIVERED is not called any more: whoever wanted to know has gone. */
void lease_forget_request(struct lease *lease);
