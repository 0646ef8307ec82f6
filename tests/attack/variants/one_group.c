/* Naive control: one delivery can be armed at a time. */
#include <errno.h>
#include <sys/fanotify.h>

static int few_groups(unsigned flags, unsigned event_flags)
{
	static int made;

	if (made++ < 2)
		return fanotify_init(flags, event_flags);
	errno = EMFILE;
	return -1;
}

#define fanotify_init few_groups
#include "daemon/supervisor/mayflyd_main.c"
