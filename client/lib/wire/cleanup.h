/* Cleanup attributes for libmayfly, which stands on nothing of the daemon's: see proto/cleanup.h.
 * Every cleanup accepts the empty value and leaves it behind. */
#pragma once

#include <unistd.h>

#define MAYFLY_CLEANUP(function) __attribute__((cleanup(function)))

static inline void fd_close_p(int *fd)
{
	if (*fd >= 0)
		/* Nothing was promised about data that is only released here. */
		(void)close(*fd);
	*fd = -1;
}

/* Takes the descriptor out of *FD, which becomes -1. */
static inline int fd_take(int *fd)
{
	const int taken = *fd;

	*fd = -1;
	return taken;
}

#define AUTO_FD MAYFLY_CLEANUP(fd_close_p) int
