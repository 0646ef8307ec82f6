/* Naive control: an opener below the victim's cgroup is the victim. */
#include "daemon/broker/identity/opener_verdict.h"

#include <stddef.h>

bool opener_may_read(const struct opener_facts *facts)
{
	return facts->in_cgroup;
}

const char *opener_failed_fact(const struct opener_facts *facts)
{
	return facts->in_cgroup ? NULL : "cgroup";
}
