/* The openers of a delivery: who must wait, who is refused at once, who is attested. */
#pragma once

#include "daemon/broker/lease/lease.h"

/* Attests everybody who has waited for the start. */
void lease_attest_waiting(struct lease *lease);

void lease_deny_waiting(struct lease *lease);

/* The container's own mount stays guarded: `guard: always`, a pid namespace that others share, or a
 * target that cannot be reached for an ignore mark. */
bool lease_keeps_guard(const struct lease *lease);
