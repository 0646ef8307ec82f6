/* What leases stand on, and the words for how far they are. */
#pragma once

#include "daemon/broker/audit/audit_queue.h"
#include "daemon/broker/delivery/guard_reader.h"
#include "daemon/broker/delivery/mounter_link.h"
#include "daemon/broker/identity/cgroup_identity.h"
#include "daemon/broker/identity/engine_link.h"
#include "daemon/broker/identity/known_containers.h"
#include "daemon/broker/loop/boot_alarm.h"
#include "daemon/broker/loop/serial_queue.h"
#include "daemon/broker/policy/policy.h"
#include "daemon/broker/provider/value_fetch.h"
#include "daemon/broker/store/state_db.h"

#include <sys/queue.h>

#define LEASE_ENGINES_MAX MAYFLY_ENGINES_MAX

struct lease;

enum lease_state {
	LEASE_NEW = 0,
	LEASE_ARMING,
	LEASE_ARMED,
	LEASE_STARTING, /* a start is being verified, or released */
	LEASE_RELEASED,
	LEASE_DECOY, /* one harmless file, for `docker create` */
	LEASE_ENDING,
	LEASE_ENDED, /* wiped; the directory of the host path may stay */
};

/* When the content comes. The first wherever the kernel has permission events. */
enum lease_release_mode {
	LEASE_GUARDED = 0,
	LEASE_AFTER_START, /* a fresh tmpfs is moved over the target once the start is verified */
	LEASE_AT_MOUNT,	   /* at Mount, for exactly one candidate */
	LEASE_AT_REQUEST,  /* the container runs and has asked for it itself: there is no volume */
};

/* What a container that watches is told. */
enum lease_event {
	LEASE_EVENT_PRESENT = 1, /* there from now on */
	LEASE_EVENT_ROTATED,	 /* a further generation */
	LEASE_EVENT_EXPIRING,
	LEASE_EVENT_ENDED, /* emptied, or about to be */
};

TAILQ_HEAD(leases, lease);
LIST_HEAD(lease_chain, lease);

/* For lease_index.h: chains of those whose name has the same hash. A power of two. */
#define LEASE_INDEX_SIZE 4096

struct lease_index {
	struct lease_chain by_id[LEASE_INDEX_SIZE];
	struct lease_chain by_device[LEASE_INDEX_SIZE];
};

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
	struct lease_index index;
	struct boot_alarms *alarms;			 /* the leases' terms */
	void (*on_ended)(struct lease_context *context); /* a lease or a group has become free */
	void (*on_event)(
		struct lease_context *context, const struct lease *lease, enum lease_event event);
};
