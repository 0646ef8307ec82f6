/* Requests of the broker to the mounter and its replies: one fixed-size record each over a
 * SOCK_SEQPACKET pair, descriptors beside them. No paths but checked names, no secrets.
 *
 * Glossary
 *   delivery    one tmpfs for one container; named by the engine's Mount ID (32 bytes, 64 hex digits),
 *               or at random where a container has asked for it itself
 *   generation  the files of a delivery at one time, in the directory `..<number>` until COMMIT
 *   own mount   the mounter's detached mount of the tmpfs: the only one that may write
 *   group       a fanotify group, by its index in what both were born with; the last one is shared
 *
 * The broker sends the next request for a delivery when the previous one was answered; MAKE, FILE,
 * COMMIT, MARK and ATTACH of a delivery may follow each other at once. A request in the wrong phase
 * is answered -EPROTO, anything malformed ends the mounter. */
#pragma once

#include "include/mayfly/limits.h"

#include <stdint.h>
#include <sys/types.h>

#define DELIVERY_ID_BYTES	   32
#define MOUNTER_MAX_DELIVERIES	   16384
#define MOUNTER_WORKER_DEADLINE_MS 2000

enum delivery_phase {
	PHASE_EMPTY = 1 << 0,	 /* unknown to the mounter */
	PHASE_MADE = 1 << 1,	 /* detached tmpfs, reachable by nobody else */
	PHASE_MARKED = 1 << 2,	 /* opening a file of it asks the broker */
	PHASE_ATTACHED = 1 << 3, /* on the host path; unmarked if it was sealed first (a decoy) */
	PHASE_LOCATED = 1 << 4,	 /* found in a container (again); RETREAT or another LOCATE may
				    follow */
	PHASE_RELEASED = 1 << 5, /* gone from the host path, lives in its container */
	PHASE_WIPED = 1 << 6,	 /* no content, no own mount; the host path's directory may stay */
};

enum mounter_op {
	MOUNTER_OP_INVALID = 0,
	MOUNTER_OP_PROBE,  /* -> flags MOUNTER_HAS_*; values[0] groups, [1] active swap areas */
	MOUNTER_OP_LIST,   /* one reply for each delivery, then one with delivery all zero */
	MOUNTER_OP_MAKE,   /* size_bytes, inodes, flags LAYOUT_PLAIN */
	MOUNTER_OP_FILE,   /* generation, name, uid, gid, mode, size_bytes -> write descriptor */
	MOUNTER_OP_COMMIT, /* generation becomes what readers see; older ones are emptied, unless
			       flags KEEP_PREVIOUS */
	MOUNTER_OP_MARK,   /* group */
	MOUNTER_OP_ATTACH, /* + engine's pidfd: read-only clone at <volumes>/<id> there */
	MOUNTER_OP_SEAL,   /* superblock read-only; -EBUSY while a write descriptor is open */
	MOUNTER_OP_UNSEAL, /* superblock writable, for a further generation */
	MOUNTER_OP_CLEAN,  /* empties every generation but the present one; flags
			       KEEP_PREVIOUS: and what was readable since the last CLEAN */
	MOUNTER_OP_TAKE, /* name: empties and removes that file of the present generation, and empties
			       every older one; sealed before and after */
	MOUNTER_OP_DEADLINE, /* deadline_ms: the mounter wipes it by itself if it is there still then; 0:
				never. Any time, whatever else is under way */
	MOUNTER_OP_LOCATE,  /* name = target, + init's pidfd -> struct located */
	MOUNTER_OP_RETREAT, /* flags KEEP_GUARD: hand over to the shared group, leave the host path.
			     * After another LOCATE once more, with other flags */
	MOUNTER_OP_ATTACH_INSIDE, /* name = target, + init's pidfd: read-only clone at the target;
				     device: of the delivery that it may cover, 0: none; flags
				     MAKE_TARGET */
	MOUNTER_OP_DETACH_INSIDE, /* name = target, + init's pidfd: takes it away from there */
	MOUNTER_OP_WIPE,	  /* overwrite, truncate, unlink, unmount */
	MOUNTER_OP_FORGET,	/* remove the host path's directory; of a delivery that only a dead
				     mounter knew: + engine's pidfd (flag WITH_ENGINE) */
	MOUNTER_OP_COMPARE,	/* + init's pidfd, another pidfd -> flags SAME_*_NAMESPACE; flags
				     LOOK_AT_MOUNTS -> WRITABLE_CGROUP */
	MOUNTER_OP_SIGNAL,	/* mode = signal, + init's pidfd, the pidfd of a process in its pid
				     namespace: sends it */
	MOUNTER_OP_ENGINE_ROOT, /* + engine's pidfd -> descriptor of its root directory (O_PATH) */
	MOUNTER_OP_ADOPT, /* device, mount_id, generation, group, name = target, + init's pidfd (if
			     it is in a container) and engine's (flag WITH_ENGINE): take up what a
			     dead mounter has left */
	MOUNTER_OP_SWEEP, /* wipe and remove what the arena has and the table does not: at most
			     STRAYS_MAX, values[0] tells how many */
	MOUNTER_OP_COUNT,
};

enum mounter_request_flags {
	MOUNTER_LAYOUT_PLAIN = 1 << 0,
	MOUNTER_KEEP_GUARD = 1 << 1,
	MOUNTER_ON_HOST_PATH = 1 << 2, /* ADOPT: still attached there */
	MOUNTER_WITH_ENGINE = 1 << 3, /* ADOPT, FORGET: the last descriptor is the engine's pidfd */
	MOUNTER_MAKE_TARGET = 1 << 4, /* ATTACH_INSIDE: directories that are missing */
	MOUNTER_LOOK_AT_MOUNTS = 1 << 5, /* COMPARE: at the init's mount table too */
	MOUNTER_KEEP_PREVIOUS = 1 << 6, /* COMMIT, CLEAN: who reads an older generation may go on */
	MOUNTER_SEE_CLOSES =
		1 << 7, /* MARK, RETREAT, ADOPT: the shared group is told of closes too */
};

struct mounter_request {
	uint32_t op;
	uint32_t flags;
	uint64_t serial; /* comes back in the reply */
	uint8_t delivery[DELIVERY_ID_BYTES];
	uint32_t generation;
	uint32_t group;
	uint32_t uid;
	uint32_t gid;
	uint32_t mode;
	uint32_t inodes;
	uint64_t size_bytes;
	uint64_t mount_id;		  /* ADOPT */
	uint64_t device;		  /* ADOPT */
	uint64_t deadline_ms;		  /* DEADLINE: of boot_clock_ms() */
	char name[MAYFLY_FILE_PATH_SIZE]; /* NUL-terminated, zero behind */
};

enum mounter_reply_flags {
	/* PROBE */
	MOUNTER_HAS_OPEN_GUARD = 1 << 0,      /* fanotify permission events with pidfds */
	MOUNTER_HAS_NOSWAP = 1 << 1,	      /* tmpfs noswap */
	MOUNTER_HAS_UNIQUE_MOUNT_ID = 1 << 2, /* STATX_MNT_ID_UNIQUE */
	/* every reply about a delivery that has an own mount */
	MOUNTER_UNSEALED = 1 << 4,
	/* LOCATE: facts that the kernel gives about the container's init */
	MOUNTER_HOST_PID_NAMESPACE = 1 << 8,
	MOUNTER_HOST_IPC_NAMESPACE = 1 << 9,
	MOUNTER_HOST_CGROUP_NAMESPACE = 1 << 10,
	MOUNTER_ROOT_READ_ONLY = 1 << 11,
	MOUNTER_TARGET_UNREACHABLE =
		1 << 12, /* found, but the path cannot be walked: no ignore mark */
	/* COMPARE */
	MOUNTER_SAME_MOUNT_NAMESPACE = 1 << 16,
	MOUNTER_SAME_PID_NAMESPACE = 1 << 17,
	MOUNTER_WRITABLE_CGROUP = 1 << 18, /* the container can write to a cgroup file system */
};

/* At most one descriptor comes with a reply. */
struct mounter_reply {
	uint32_t op;
	int32_t status; /* 0 or a negative errno */
	uint64_t serial;
	uint8_t delivery[DELIVERY_ID_BYTES];
	uint32_t phase;
	uint32_t flags;
	uint32_t generation;
	uint32_t group;
	uint64_t mount_id; /* unique id of the container's mount (LOCATE, LIST) */
	uint64_t device;   /* st_dev of the tmpfs (MAKE, LIST) */
	uint64_t values[2];
	uint64_t mount_namespace; /* inode (LOCATE) */
	uint64_t pid_namespace;	  /* inode (LOCATE) */
	char detail[128];	  /* what failed, for a person; empty on success */
};
