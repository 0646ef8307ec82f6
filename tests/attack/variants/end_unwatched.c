/* Naive control: a container's end is what the engine says, its init is not watched. */
#define lease_watch_init checked_lease_watch_init
#include "daemon/broker/lease/lease.c"
#undef lease_watch_init

bool lease_watch_init(struct lease *lease);

bool lease_watch_init(struct lease *lease)
{
	return lease_is_alive(lease);
}
