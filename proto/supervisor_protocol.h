/* What the supervisor and its children say to each other: fixed-size records over a SOCK_SEQPACKET
 * pair, and the numbers of the descriptors that a child is born with.
 * Holds numbers and layouts only. The supervisor parses nothing else. */
#pragma once

#include "include/mayfly/limits.h"

#include <stdint.h>
#include <sys/types.h>

/* Descriptors at exec. What comes behind the fixed ones is counted by the child's arguments.
 *   broker:  3 control, 4 mounter, 5 host key (or /dev/null), 6 operator socket, 7 container socket,
 *            then for each engine its plugin socket and its engine channel, then the guard's groups
 *   engine:  3 control, 4 broker
 *   mounter: 3 control, 4 broker, 5 volumes directory, 6 arena (or /dev/null), then the guard's groups
 */
enum {
	CHILD_FD_CONTROL = 3,
	BROKER_FD_MOUNTER = 4,
	BROKER_FD_HOST_KEY = 5,
	BROKER_FD_OPERATOR = 6,
	BROKER_FD_CONTAINER = 7,
	BROKER_FD_ENGINES = 8,
	ENGINE_FD_BROKER = 4,
	MOUNTER_FD_BROKER = 4,
	MOUNTER_FD_VOLUMES = 5,
	MOUNTER_FD_ARENA = 6,
	MOUNTER_FD_GROUPS = 7,
};

/* Event descriptors of the guard are numbers below this in the broker, so that the sweep after its
 * death (daemon/supervisor/guard_sweep.h) has that many numbers to deny. */
#define BROKER_MAX_DESCRIPTORS 16384

/* The last group is shared by all released deliveries; each of the others guards one armed delivery
 * at a time. The kernel allows 128 groups for root in all (fs.fanotify.max_user_groups): this
 * leaves room for others, and for several instances. Who starts while all are taken waits for one.
 */
#define GUARD_GROUPS_MAX 24

#define HEARTBEAT_INTERVAL_MS 500
#define HEARTBEAT_DEADLINE_MS 2000

enum control_type {
	CONTROL_INVALID = 0,
	CONTROL_HEARTBEAT,     /* child -> supervisor */
	CONTROL_READY,	       /* child -> supervisor, once, behind its sandbox */
	CONTROL_NEED_HOST_KEY, /* broker -> supervisor: make /etc/mayfly/host.key unless it is there
				*/
	CONTROL_HOST_KEY, /* supervisor -> broker: its descriptor, or a negative errno in value */
	CONTROL_ARENA,	  /* mounter -> supervisor: the mount namespace that its successor enters */
	CONTROL_CHANNEL_BROKER,	 /* supervisor -> engine, mounter: a new broker's end */
	CONTROL_CHANNEL_MOUNTER, /* supervisor -> broker: a new mounter's end */
	CONTROL_CHANNEL_ENGINE,	 /* supervisor -> broker: a new end for engine INDEX */
};

/* One descriptor comes with HOST_KEY, ARENA and the CHANNEL records. */
struct control_record {
	uint32_t type;
	uint32_t index;
	int32_t value;
	uint32_t reserved;
};

/* What `mayfly-broker --plan` reads from the configuration for the supervisor, written to its
 * standard output. Strings are checked by the supervisor again, character by character. */
#define LAUNCH_PLAN_MAGIC 0x6d66706cu

#define LAUNCH_PLAN_PORTS_MAX 16

struct launch_plan_engine {
	char name[64];
	char plugin_name[64];
	char socket[108]; /* sun_path */
	char exec_root[256];
};

struct launch_plan {
	uint32_t magic;
	uid_t uid;
	gid_t gid;
	gid_t operator_gid; /* (gid_t)-1: root only */
	/* where the broker may connect to, for sets of provider `vault`; the first zero ends them */
	uint16_t ports[LAUNCH_PLAN_PORTS_MAX];
	uint32_t engine_count;
	struct launch_plan_engine engines[MAYFLY_ENGINES_MAX];
};
