/* libmayfly: what a process in a container asks Mayfly for, over the container socket.
 *
 *     struct mayfly *mayfly;
 *     struct mayfly_delivery *delivery;
 *
 *     if (mayfly_open(NULL, &mayfly, &failure) == MAYFLY_OK &&
 *         mayfly_request(mayfly, NULL, 5000, &delivery, &failure) == MAYFLY_OK)
 *             mayfly_value_read(mayfly_delivery_file_path(delivery, 0), 0, &value, &failure);
 *
 * Glossary
 *   delivery    files in this container under one lease; a value is read from its file, it never
 *               comes over the socket
 *   generation  the files of a delivery as they belong together; a rotation makes the next one
 *
 * Rules
 *   Threads   An object is used by one thread at a time; different objects by different threads at
 *             once. Deliveries, identities and values do not change: many threads may read one.
 *   Fork      The broker answers the process that has connected. A child's first call on an
 *             inherited `struct mayfly` opens a connection of its own; a watch stays the parent's.
 *             A value is copied by fork: the child's copy is neither locked nor wiped with the
 *             parent's.
 *   Time      Functions that wait take TIMEOUT_MS, milliseconds on CLOCK_MONOTONIC: 0 does not
 *             wait, negative has no end. Within that time a connection that the broker has closed
 *             is opened again, a broker that is being started is waited for, and a call that came
 *             too often is repeated.
 *   Signals   A signal handler interrupts nothing (EINTR is retried); SIGPIPE is never raised.
 *   Exec      Descriptors are close-on-exec.
 *   Strings   UTF-8, and end in a NUL. A string that a function returns belongs to the object that
 *             it was asked from and lives as long.
 *   Failure   Pointers behind RET_ are untouched unless the result is MAYFLY_OK. */
#pragma once

#include <mayfly/delivery.h>
#include <mayfly/identity.h>
#include <mayfly/status.h>
#include <mayfly/value.h>
#include <mayfly/watch.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Where the host's /run/mayfly/container is bound by custom. */
#define MAYFLY_SOCKET_PATH "/run/mayfly/container.sock"

/* The broker waits at most so long for what is still to come. */
#define MAYFLY_WAIT_MAX_MS 600000

/* A connection to the broker, opened when it is needed. */
struct mayfly;

/* What is wanted. All zero: everything that the grants of this container say. */
struct mayfly_wanted {
	const char *grant; /* only of this grant; NULL: of all */
	const char *const
		*names;	  /* only these secrets, without their set; ends in NULL; NULL: all */
	uint32_t wait_ms; /* wait for what can still come, at most MAYFLY_WAIT_MAX_MS */
};

/* The version of the library, "0.1.0". The string is constant and never freed.
 * Does not block. Errors: none.
 * Source: meson.build. */
MAYFLY_API const char *mayfly_version(void);

/* Makes *RET_MAYFLY for the socket at SOCKET_PATH, at most 107 bytes; NULL: the path in the
 * environment variable MAYFLY_SOCKET (ignored in set-user-id programs), else MAYFLY_SOCKET_PATH.
 * The path is copied. Nothing is connected yet. The caller owns *RET_MAYFLY until mayfly_close().
 * Does not block. Errors, in *FAILURE too: MAYFLY_INVALID_ARGUMENT (a path that is empty or too
 * long), MAYFLY_NO_MEMORY.
 * Source: unix(7) for the length of a path. */
MAYFLY_API enum mayfly_status mayfly_open(
	const char *socket_path, struct mayfly **ret_mayfly, struct mayfly_failure *failure);

/* Ends the connection of MAYFLY and frees it; NULL is accepted. What was delivered stays.
 * Does not block. Errors: none.
 * Source: proto/org.mayfly.Container.varlink: Release is a call of its own. */
MAYFLY_API void mayfly_close(struct mayfly *mayfly);

/* Asks over MAYFLY for a delivery of WANTED (NULL: everything, without waiting), or for a report of
 * what is delivered already. WANTED is only read. The broker's wait ends a little before TIMEOUT_MS
 * does, so that its reason arrives. The caller owns *RET_DELIVERY until mayfly_delivery_free().
 * When a connection ends before the answer, the call is repeated: what the first attempt has
 * delivered is then reported as not new.
 * Blocks for at most TIMEOUT_MS. Errors, in *FAILURE too: MAYFLY_INVALID_ARGUMENT (text that is no
 * UTF-8, over 128 names, a wait over MAYFLY_WAIT_MAX_MS), MAYFLY_NOT_ATTESTED, MAYFLY_REFUSED,
 * MAYFLY_NOT_YET (also from a broker that is being started, unless there is a wait),
 * MAYFLY_NO_TARGET, MAYFLY_TOO_MUCH (it may come again only after TIMEOUT_MS), MAYFLY_FAILED,
 * MAYFLY_BAD_REPLY, MAYFLY_NOT_REACHABLE, MAYFLY_TIMED_OUT, MAYFLY_NO_MEMORY.
 * Source: proto/org.mayfly.Container.varlink, Request. */
MAYFLY_API enum mayfly_status mayfly_request(struct mayfly *mayfly,
	const struct mayfly_wanted *wanted, int timeout_ms, struct mayfly_delivery **ret_delivery,
	struct mayfly_failure *failure);

/* Empties and takes away, over MAYFLY, what mayfly_request() has delivered under LEASE. A delivery
 * that came as a volume stays until the container stops. When a connection ends before the answer,
 * the call is repeated, and MAYFLY_NOT_RELEASABLE may mean that the first attempt has done it.
 * Blocks for at most TIMEOUT_MS. Errors, in *FAILURE too: MAYFLY_NOT_RELEASABLE (no such lease of
 * this container, or one that it may not end), and those of mayfly_request() but MAYFLY_NO_TARGET.
 * Source: proto/org.mayfly.Container.varlink, Release. */
MAYFLY_API enum mayfly_status mayfly_release(
	struct mayfly *mayfly, const char *lease, int timeout_ms, struct mayfly_failure *failure);

/* Asks over MAYFLY what the broker believes about this process, and how it knows it. The caller
 * owns *RET_IDENTITY until mayfly_identity_free().
 * Blocks for at most TIMEOUT_MS. Errors, in *FAILURE too: those of mayfly_request() but
 * MAYFLY_NO_TARGET.
 * Source: proto/org.mayfly.Container.varlink, WhoAmI. */
MAYFLY_API enum mayfly_status mayfly_whoami(struct mayfly *mayfly, int timeout_ms,
	struct mayfly_identity **ret_identity, struct mayfly_failure *failure);

#ifdef __cplusplus
}
#endif
