/* A container's init, pinned: its pidfd, its place in the cgroup tree, and what the kernel says it
 * may do. */
#pragma once

#include "daemon/broker/identity/cgroup_identity.h"
#include "proto/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct container_process {
	pid_t pid;
	int pidfd; /* owned; -1 for the empty value */
	struct cgroup_identity cgroup;
};

/* Pins PID as the init of CONTAINER_ID: pidfd first, then everything that is read, then the pidfd
 * again. Returns 0; -ESRCH when it has ended; -ENOENT when it is in no cgroup of its own. */
int container_process_pin(const struct cgroup_roots *roots, pid_t pid, const char *container_id,
	struct container_process *ret_process, struct mayfly_error *err);
void container_process_done(struct container_process *process);

/* Not reaped and no zombie. */
bool process_is_alive(int pidfd);

/* From /proc/PID/status; the caller has PID pinned and asks process_is_alive() afterwards. */
struct process_status {
	uint32_t uid; /* real, on the host */
	uint64_t capabilities_bounding;
	uint64_t capabilities_effective;
	bool no_new_privileges;
	bool is_in_pid_namespace; /* of its own, or another's: not the host's */
};
int process_status_read(const struct cgroup_roots *roots, pid_t pid,
	struct process_status *ret_status, struct mayfly_error *err);

/* Clock ticks after boot at which PID was started (/proc/PID/stat, field 22): with the pid it names
 * one process of one boot. */
int process_start_time(const struct cgroup_roots *roots, pid_t pid, uint64_t *ret_ticks);
