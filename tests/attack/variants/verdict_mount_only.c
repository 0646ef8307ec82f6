/* Naive control: whoever comes through the victim's mount is the victim. */
#include "daemon/broker/identity/opener_verdict.h"

#include <stddef.h>

bool opener_may_read(const struct opener_facts *facts)
{
	return facts->through_own_mount;
}

const char *opener_failed_fact(const struct opener_facts *facts)
{
	return facts->through_own_mount ? NULL : "mount";
}
