/* What an engine means when it unmounts: the container has ended, or `docker cp` has. */
#include "daemon/broker/lease/lease.h"

void lease_on_mount_again(struct lease *lease)
{
	lease->mounted_again++;
}

/* `docker cp` unmounts with the id of the living container, which keeps its files. Before the
 * container is known only the count tells; after that its life does, and is never wrong. */
static bool is_of_docker_cp(struct lease *lease)
{
	if (lease->holder.id)
		return lease_is_alive(lease);
	if (lease->mounted_again == 0)
		return false;
	lease->mounted_again--;
	return true;
}

void lease_on_unmount(struct lease *lease, void (*on_forgotten)(struct lease *, void *), void *data)
{
	if (is_of_docker_cp(lease)) {
		on_forgotten(lease, data);
		return;
	}
	lease->was_unmounted = true;
	if (lease->on_forgotten) {
		/* Somebody waits for it already; both want the same. */
		on_forgotten(lease, data);
		return;
	}
	lease->on_forgotten = on_forgotten;
	lease->on_forgotten_data = data;
	lease_end(
		lease, lease->holder.id ? "the container has ended" : "unmounted without a start");
}
