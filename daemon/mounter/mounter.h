/* mayfly-mounter: makes, guards, finds and wipes deliveries. uid 0 with five capabilities.
 * Keep it free of JSON, libuv and heap; it re-checks everything that the broker says.
 *
 * Glossary
 *   delivery    see proto/mounter_protocol.h; its phase says which operations may be asked
 *   arena       the mounter's mount namespace: one tmpfs with the own mounts on it, nothing of the host.
 *               The supervisor holds a descriptor of it, so that a new mounter finds every own mount in
 *               its place
 *   own mount   the writable mount of a delivery, in the arena: nobody else reaches it
 *   worker      a forked child for one operation in another mount namespace, or on a delivery that a
 *               container can already reach; killed after 2 s, so that a hostile or hanging file system
 *               costs that operation and nothing else
 *
 * Start reading in mounter_ops.c: the table of operations and phases. */
#pragma once

#include "proto/error.h"
#include "proto/mounter_protocol.h"
#include "proto/supervisor_protocol.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define DELIVERY_HEX_SIZE (2 * DELIVERY_ID_BYTES + 1)
#define WORKERS_MAX	  64
#define STRAYS_MAX	  64 /* wiped by one sweep */

struct delivery {
	uint8_t id[DELIVERY_ID_BYTES];
	uint32_t phase; /* enum delivery_phase; 0: the slot is free */
	uint32_t generation;
	uint32_t group;
	bool is_plain;
	bool is_marked;
	bool sees_closes;     /* the shared group is told when a file has been read to its close */
	bool is_attached;     /* on the host path */
	bool is_busy;	      /* a worker is at it */
	int mount;	      /* own mount, O_PATH */
	int target;	      /* the container's mount, between LOCATE and RETREAT */
	int engine_namespace; /* where the host path is; -1: in the host's mount namespace */
	uint64_t device;
	uint64_t mount_id;   /* of the container's mount */
	int64_t deadline_ms; /* of boot_clock_ms(); 0: none */
};

/* What the kernel can do, found out by trying (never by its version). */
struct kernel_abilities {
	bool open_guard;      /* fanotify permission events */
	bool noswap;	      /* tmpfs option, 6.4 */
	bool unique_mount_id; /* statx, 6.8 */
};

struct worker {
	pid_t pid;	     /* 0: the slot is free */
	int socket;	     /* -1: it is answered for, and has not ended yet */
	int64_t deadline_ms; /* CLOCK_MONOTONIC; of one that is answered for: since when */
	struct mounter_request request;
	struct delivery *delivery; /* NULL for operations that concern none */
	bool is_own;		   /* nobody has asked for it */
};

struct mounter {
	int control;
	int broker;  /* -1 while there is none */
	int proc;    /* the host's /proc */
	int volumes; /* directory of the host paths, in the host's mount namespace */
	uint64_t volumes_device;
	const char *volumes_path;
	int groups[GUARD_GROUPS_MAX + 1];
	uint32_t groups_count; /* with the shared one, which is the last */
	int host_namespace;    /* entered to attach and detach, and left at once */
	int arena_namespace;
	int arena;	   /* its root directory */
	dev_t root_device; /* the host's root directory */
	ino_t root_inode;
	/* inodes of the host's namespaces */
	uint64_t mount_namespace, pid_namespace, ipc_namespace, cgroup_namespace;
	struct kernel_abilities has;
	struct worker workers[WORKERS_MAX];
	struct delivery *deliveries; /* MOUNTER_MAX_DELIVERIES slots of the program's own memory,
					used from the front */
	uint16_t *delivery_index;    /* by hash of the id: slot + 1; 0: free */
	/* What a sweep is to wipe, listed before its worker is forked: that has the table of its
	 * birth, and would take what is made after it for a stray. */
	char strays[STRAYS_MAX][DELIVERY_HEX_SIZE];
	int strays_count;
	int64_t next_deadline_ms; /* the earliest of the deliveries' deadlines, or before it; 0: none */
};

/* The request's descriptors, at most two; -1 when absent. Borrowed by the operation. */
struct request_descriptors {
	int init;
	int other;
};

/* Writes the 64 hex digits of ID and a NUL. */
void delivery_hex(const uint8_t *id, char hex[DELIVERY_HEX_SIZE]);

/* Fills DETAIL of REPLY and returns CODE: the one way in which an operation fails. */
int reply_fail(struct mounter_reply *reply, int code, const char *detail);
