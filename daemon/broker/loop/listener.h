/* A listening socket on the loop with a limit on the connections that come of it, as a member of an
 * operation (handle_group.h). Loop thread only. */
#pragma once

#include "daemon/broker/loop/handle_group.h"

#include <stdbool.h>
#include <stddef.h>

struct listener {
	uv_poll_t poll;
	struct handle_group *group;
	int fd; /* the caller's */
	bool is_accepting;
	size_t count, max; /* of connections */
	/* A connection FD, not blocking, which the callee owns. It holds the group for it and says
	 * listener_is_connected(), or closes it. */
	void (*on_connection)(struct listener *listener, int fd);
};

/* Accepts from FD, at most MAX connections at a time; the others wait in the kernel's queue.
 * on_connection is set by the caller before. Returns 0, or a negative errno; then there is nothing to
 * close. */
int listener_init(
	struct listener *listener, uv_loop_t *loop, struct handle_group *group, int fd, size_t max);

/* A connection more, and one that is gone: one that waits may come. */
void listener_is_connected(struct listener *listener);
void listener_has_room(struct listener *listener);

/* Accepts no more. */
void listener_close(struct listener *listener);
