/* The posture once more, as the kernel shows what runs: read from a container's init, judged for a
 * plan's grants. */
#pragma once

#include "daemon/broker/identity/container_process.h"
#include "daemon/broker/lease/lease_context.h"
#include "daemon/broker/policy/plan.h"
#include "daemon/broker/policy/posture.h"

/* Of the pinned INIT of the container FACTS; FLAGS are the mounter's (enum mounter_reply_flags).
 * False when it has ended. */
bool running_posture_read(const struct lease_context *context, const struct container_process *init,
	const struct container_facts *facts, uint32_t flags, struct running_posture *ret_running);

/* True when no grant of PLAN requires anything else; otherwise WHY says which and what. */
bool running_posture_holds(
	const struct plan *plan, const struct running_posture *running, char *why, size_t why_size);

/* For the trail of a decision. */
void running_posture_note(struct trail *trail, const struct container_process *init,
	const struct running_posture *running);
