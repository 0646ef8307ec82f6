/* Cleanup attributes: a resource is born with its cleanup and leaves by take.
 * Every cleanup accepts the empty value (-1, NULL) and leaves it behind. */
#pragma once

#include <stdlib.h>
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

static inline void free_p(void *pointer_to_pointer)
{
	void **pointer = pointer_to_pointer;

	free(*pointer);
	*pointer = NULL;
}

/* Takes the pointer out of *(POINTER), which becomes NULL. */
#define ptr_take(pointer)                        \
	({                                       \
		__auto_type taken_ = *(pointer); \
		*(pointer) = NULL;               \
		taken_;                          \
	})

#define AUTO_FD	  MAYFLY_CLEANUP(fd_close_p) int
#define AUTO_FREE MAYFLY_CLEANUP(free_p)
