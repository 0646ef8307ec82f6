/* One target at work: what rotation_target.c and rotation_tell.c share. */
#pragma once

#include "daemon/broker/policy/plan.h"
#include "daemon/broker/rotation/rotation_parts.h"

#define TELLINGS_MAX 8

/* A signal that a grant asks for. */
struct telling {
	int signal;
	char process[16]; /* "": the container's init */
};

/* Outlives its target when that is abandoned while the mounter or the engine has not answered. */
struct target_work {
	struct handle_group handles;
	struct deadline again;
	struct rotation_target *target; /* NULL: abandoned */
	struct lease_context *leases;
	struct engine_question question;
	bool is_asking;
	struct value_fetch *fetch;
	struct trail trail;
	struct plan plan;
	unsigned tries;
	uint64_t tries_until_ms;
	/* what its grants say of telling */
	bool wants_restart, is_quiet, has_restarted;
	struct telling tellings[TELLINGS_MAX];
	size_t tellings_count, telling;
	uint32_t window_s;
	struct work_item search; /* of a process by its name */
	int found;		 /* its pidfd, -1 */
	struct container_process init;
};

/* It has its files: tells the application, then ends the work. */
void target_tell(struct target_work *work);

/* Ends the work with OUTCOME. */
void target_finish(struct target_work *work, enum target_outcome outcome, const char *format, ...)
	MAYFLY_PRINTF(3, 4);

/* The target's lease, if it still lives; else the work has been ended. */
struct lease *target_lease(struct target_work *work);
