/* From grants that match to the files of one volume. Private to policy_decide.c and plan.c. */
#pragma once

#include "daemon/broker/policy/plan.h"

/* The grants that match one container; their postures are judged. */
struct matched_grants {
	struct policy *policy;
	const struct policy_grant **items; /* COUNT of them */
	size_t count;
	const char *who; /* the container's name, safe to show */
};

/* Chooses, renames and gives owners, as the volume's options and the container's user say.
 * The caller owns *RET_PLAN. Returns 0; -EPERM with the reason in ERR and TRAIL; -ENOMEM. */
int plan_build(const struct matched_grants *grants, const struct policy_question *question,
	struct trail *trail, struct plan *ret_plan, struct mayfly_error *err);
