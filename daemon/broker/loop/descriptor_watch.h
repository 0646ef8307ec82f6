/* Tells when a descriptor can be read (a pidfd: when its process is gone; a fanotify group: when
 * somebody waits), as a member of an operation (see handle_group.h).
 * The descriptor is borrowed: it must be open until descriptor_watch_close() returns, not longer.
 * libuv sets O_NONBLOCK on it; waitid() on a pidfd says EAGAIN then instead of waiting.
 * Loop thread only. Does not block or allocate. */
#pragma once

#include "daemon/broker/loop/handle_group.h"
#include "proto/error.h"

struct descriptor_watch {
	uv_poll_t poll;
	void (*on_ready)(struct descriptor_watch *watch, int status);
};

/* Makes WATCH a part of GROUP and starts it. ON_READY is called with status 0 whenever the loop
 * finds the descriptor readable, again and again until it is read empty: a pidfd stays readable for
 * good, so pause or close its watch there. A negative errno says that the descriptor cannot be
 * watched any more; the watch is paused then. ON_READY may end the operation.
 * Returns 0; -EPERM for a file that is always ready; -EEXIST when it is watched already; -EBADF.
 * After a failure there is nothing to close. */
int descriptor_watch_init(struct descriptor_watch *watch, uv_loop_t *loop,
	struct handle_group *group, int fd,
	void (*on_ready)(struct descriptor_watch *watch, int status), struct mayfly_error *err);

/* No call of ON_READY until descriptor_watch_resume(). Twice, or after closing, is fine. */
void descriptor_watch_pause(struct descriptor_watch *watch);

/* Returns 0, or a negative errno: -EINVAL after closing. */
int descriptor_watch_resume(struct descriptor_watch *watch, struct mayfly_error *err);

/* Stops at once; the hold on the group is given up from the close callback. Twice is fine, and so
 * is a watch of zeros that was never made. */
void descriptor_watch_close(struct descriptor_watch *watch);
