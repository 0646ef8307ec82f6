#include "daemon/broker/request/container_presence.h"

#include "daemon/broker/lease/lease_change.h"

#include <string.h>

static bool has_grant(const struct lease *lease, const char *name)
{
	json_t *known;
	size_t i;

	json_array_foreach (lease->grants, i, known)
		if (strcmp(json_string_value(known), name) == 0)
			return true;
	return false;
}

static bool covers(const struct lease *lease, const struct plan *plan)
{
	for (size_t i = 0; i < plan->files_count; i++)
		if (!lease_has_path(lease, plan->files[i].path) ||
			!has_grant(lease, plan->files[i].grant->name))
			return false;
	return true;
}

bool lease_is_of(const struct lease *lease, const struct attested *who)
{
	return lease->holder.id && strcmp(lease->holder.id, who->facts.id) == 0 &&
	       lease->init.pid == who->init.pid;
}

struct container_presence container_presence(
	const struct broker *broker, const struct attested *who, const struct plan *plan)
{
	const char *target = plan->files[0].grant->target;
	struct container_presence found = { 0 };
	struct lease *lease;

	TAILQ_FOREACH(lease, &broker->leases.leases, entry)
	{
		const bool is_settled = lease_is_released(lease);

		if (lease->state == LEASE_ENDED || !lease_is_of(lease, who))
			continue;
		if (is_settled && covers(lease, plan))
			found.covering = lease;
		if (strcmp(lease->holder.target, target) == 0) {
			found.at_target = lease;
			found.is_busy = !is_settled || lease->change || lease->is_waiting;
		}
	}
	return found;
}
