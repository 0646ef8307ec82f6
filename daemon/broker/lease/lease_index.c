#include "daemon/broker/lease/lease_index.h"

#include "daemon/broker/lease/lease.h"

#include <string.h>

/* Ids are random, or a hash that the engine has made: any of their digits are a hash. */
static struct lease_chain *chain_of_id(struct lease_context *context, const char *mount_id)
{
	size_t hash = 0;

	for (size_t i = 0; i < 6 && mount_id[i]; i++)
		hash = hash * 31 + (unsigned char)mount_id[i];
	return &context->index.by_id[hash % LEASE_INDEX_SIZE];
}

/* Device numbers of tmpfs count up. */
static struct lease_chain *chain_of_device(struct lease_context *context, uint64_t device)
{
	return &context->index.by_device[(device ^ device >> 20) % LEASE_INDEX_SIZE];
}

void lease_index_add(struct lease *lease)
{
	struct lease_context *context = lease->context;

	TAILQ_INSERT_TAIL(&context->leases, lease, entry);
	LIST_INSERT_HEAD(chain_of_id(context, lease->delivery.hex), lease, by_id);
}

void lease_index_remove(struct lease *lease)
{
	TAILQ_REMOVE(&lease->context->leases, lease, entry);
	LIST_REMOVE(lease, by_id);
	if (lease->is_known_by_device)
		LIST_REMOVE(lease, by_device);
	lease->is_known_by_device = false;
}

struct lease *lease_find(struct lease_context *context, const char *mount_id)
{
	struct lease *lease;

	LIST_FOREACH(lease, chain_of_id(context, mount_id), by_id)
	if (strcmp(lease->delivery.hex, mount_id) == 0)
		return lease;
	return NULL;
}

static bool is_on(const struct lease *lease, uint64_t device)
{
	return lease->delivery.device == device && lease->state != LEASE_ENDED;
}

/* The mounter says the device long after a lease was begun: it is kept when it is first asked for. */
static struct lease *look_through_all(struct lease_context *context, uint64_t device)
{
	struct lease *lease;

	TAILQ_FOREACH(lease, &context->leases, entry)
	{
		if (!is_on(lease, device))
			continue;
		if (lease->is_known_by_device)
			LIST_REMOVE(lease, by_device);
		LIST_INSERT_HEAD(chain_of_device(context, device), lease, by_device);
		lease->is_known_by_device = true;
		return lease;
	}
	return NULL;
}

struct lease *lease_find_by_device(struct lease_context *context, uint64_t device)
{
	struct lease *lease;

	LIST_FOREACH(lease, chain_of_device(context, device), by_device)
	if (is_on(lease, device))
		return lease;
	return look_through_all(context, device);
}
