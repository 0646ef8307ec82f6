/* Giving up privileges, for good, and proving it.
 * Called once by every child of the supervisor, before its first byte of input. Irreversible. */
#pragma once

#include "proto/error.h"

#include <stdint.h>
#include <sys/types.h>

/* A set of capabilities, one bit each, as in <linux/capability.h>. */
#define CAPABILITY(name) (UINT64_C(1) << (name))

struct drop_target {
	uid_t uid;
	gid_t gid;
	uint64_t capabilities; /* what stays permitted and effective; 0 for none */
};

/* In this order: undumpable, no core files, no_new_privs; supplementary groups, gids, uids; the
 * capability bounding and ambient sets emptied, permitted and effective cut to the target, secure
 * bits locked (no capabilities by uid 0 or by exec). Then proves it: every id and set is read back,
 * regaining uid 0 and any other capability is tried and must fail.
 * Single-threaded callers only. Does not block.
 * Returns 0, or a negative errno; the process must then exit.
 * Source: capabilities(7), credentials(7), prctl(2). */
int privilege_drop(const struct drop_target *target, struct mayfly_error *err);

/* The first lines of every main(): PR_SET_DUMPABLE 0, RLIMIT_CORE 0, umask 077, SIGPIPE ignored. */
void process_harden(void);
