/* Naive control: whoever is in the victim's mount namespace is the victim. */
#include "daemon/broker/identity/opener_verdict.h"

#include <stddef.h>

bool opener_may_read(const struct opener_facts *facts)
{
	return facts->in_mount_namespace;
}

const char *opener_failed_fact(const struct opener_facts *facts)
{
	return facts->in_mount_namespace ? NULL : "mount namespace";
}
