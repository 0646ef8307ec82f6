/* Changes of this container's deliveries, as they happen. */
#pragma once

#include <mayfly/delivery.h>
#include <mayfly/status.h>

#ifdef __cplusplus
extern "C" {
#endif

enum mayfly_event {
	MAYFLY_EVENT_NONE = 0, /* never returned */
	MAYFLY_EVENT_PRESENT,  /* it is there; told once for each delivery */
	MAYFLY_EVENT_ROTATED,  /* it has another generation: read its files again */
	MAYFLY_EVENT_EXPIRING, /* its hard end comes near */
	MAYFLY_EVENT_ENDED,    /* its files are emptied */
};

/* A watch has a connection of its own and keeps it: when the broker has closed it, it is opened
 * again by and by, and what happened meanwhile is told as one change. Belongs to the process that
 * has opened it. */
struct mayfly_watch;

/* Makes *RET_WATCH for the socket at SOCKET_PATH, as mayfly_open() does. Nothing is connected yet.
 * The caller owns *RET_WATCH until mayfly_watch_close().
 * Does not block. Errors, in *FAILURE too: MAYFLY_INVALID_ARGUMENT, MAYFLY_NO_MEMORY, MAYFLY_FAILED
 * (no descriptors left).
 * Source: epoll(7), timerfd_create(2). */
MAYFLY_API enum mayfly_status mayfly_watch_open(
	const char *socket_path, struct mayfly_watch **ret_watch, struct mayfly_failure *failure);

/* The descriptor of WATCH for an event loop. It is readable when mayfly_watch_next() with a
 * TIMEOUT_MS of 0 has something to do, at first too, and stays so until all is done. The watch owns
 * it: it is to be polled, not read or closed. The same one as long as WATCH lives.
 * Does not block. Errors: none.
 * Source: epoll(7). */
MAYFLY_API int mayfly_watch_descriptor(const struct mayfly_watch *watch);

/* The next change that WATCH knows of: *RET_EVENT, and *RET_DELIVERY as it is since, which the
 * caller owns until mayfly_delivery_free().
 * Blocks for at most TIMEOUT_MS. Errors, in *FAILURE too: MAYFLY_TIMED_OUT (no change),
 * MAYFLY_NOT_REACHABLE, MAYFLY_NOT_YET, MAYFLY_TOO_MUCH (there was no watch yet at the end of the
 * time), MAYFLY_NOT_ATTESTED, MAYFLY_REFUSED, MAYFLY_FAILED, MAYFLY_BAD_REPLY, MAYFLY_NO_MEMORY,
 * MAYFLY_INVALID_ARGUMENT (called in a forked child). After any of them but the last it may be
 * called again, and goes on trying.
 * Source: proto/org.mayfly.Container.varlink, Watch. */
MAYFLY_API enum mayfly_status mayfly_watch_next(struct mayfly_watch *watch, int timeout_ms,
	enum mayfly_event *ret_event, struct mayfly_delivery **ret_delivery,
	struct mayfly_failure *failure);

/* Ends WATCH and frees it; NULL is accepted. Deliveries that it has returned stay.
 * Does not block. Errors: none.
 * Source: this header. */
MAYFLY_API void mayfly_watch_close(struct mayfly_watch *watch);

#ifdef __cplusplus
}
#endif
