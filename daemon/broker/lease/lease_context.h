/* What leases stand on. */
#pragma once

#include "daemon/broker/audit/audit_queue.h"
#include "daemon/broker/delivery/guard_reader.h"
#include "daemon/broker/delivery/mounter_link.h"
#include "daemon/broker/identity/cgroup_identity.h"
#include "daemon/broker/identity/engine_link.h"
#include "daemon/broker/identity/known_containers.h"
#include "daemon/broker/loop/serial_queue.h"
#include "daemon/broker/policy/policy.h"
#include "daemon/broker/provider/value_fetch.h"
#include "daemon/broker/store/state_db.h"

#include <sys/queue.h>

#define LEASE_ENGINES_MAX MAYFLY_ENGINES_MAX

struct lease;

/* What a container that watches is told. */
enum lease_event {
	LEASE_EVENT_PRESENT = 1, /* there from now on */
	LEASE_EVENT_ROTATED,	 /* a further generation */
	LEASE_EVENT_EXPIRING,
	LEASE_EVENT_ENDED, /* emptied, or about to be */
};

TAILQ_HEAD(leases, lease);

/* The broker owns it all and outlives every lease. */
struct lease_context {
	uv_loop_t *loop;
	struct mounter_link *mounter;
	uint32_t mounter_abilities; /* MOUNTER_HAS_* */
	struct guard *guard;
	struct cgroup_roots roots;
	struct known_containers *known;
	struct value_sources sources; /* with the present configuration */
	struct policy *policy;	      /* the present one */
	struct state_db *state;
	struct serial_queue savings; /* writes to it */
	struct audit_queue *audit;
	struct engine_link *engines[LEASE_ENGINES_MAX];
	int engine_pidfds[LEASE_ENGINES_MAX]; /* the engine's process, from its plugin connections;
						 -1 */
	const char *volumes_path;
	struct leases leases;
	void (*on_ended)(struct lease_context *context); /* a lease or a group has become free */
	void (*on_event)(
		struct lease_context *context, const struct lease *lease, enum lease_event event);
};
