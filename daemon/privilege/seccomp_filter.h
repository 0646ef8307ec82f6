/* System call filters: an allow list for each process, everything else ends the process (SIGSYS).
 * The lists stand in seccomp_filter.c beside each other, so that they can be compared. */
#pragma once

#include "proto/error.h"

/* SECCOMP_BROKER_OUTGOING is SECCOMP_BROKER that may connect to servers: for hosts with a set of
 * provider `vault`, and for no others. */
enum seccomp_role {
	SECCOMP_ROLE_INVALID = 0,
	SECCOMP_BROKER,
	SECCOMP_BROKER_OUTGOING,
	SECCOMP_ENGINE,
	SECCOMP_MOUNTER
};

/* Puts the calling process, and threads and children that it makes later, behind the filter of
 * ROLE. Needs no_new_privs. Irreversible; takes about 2 ms. Returns 0 or a negative errno. Source:
 * seccomp(2), kernel 3.17; rules by number for calls that libseccomp 2.5 does not know. */
int seccomp_enter(enum seccomp_role role, struct mayfly_error *err);
