/* Naive control, with no_guard.c: the first container that may be mounting the volume is taken for
 * the one. */
#define lease_add_candidate checked_lease_add_candidate
#include "daemon/broker/lease/lease.c"
#undef lease_add_candidate

int lease_add_candidate(struct lease *lease, const struct container_facts *facts);

int lease_add_candidate(struct lease *lease, const struct container_facts *facts)
{
	return lease->beginnings->candidates_count > 0 ? 0
						       : checked_lease_add_candidate(lease, facts);
}
