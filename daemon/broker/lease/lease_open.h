/* The openers of a delivery: who must wait, who is refused at once, who is attested. */
#pragma once

#include "daemon/broker/lease/lease.h"

/* Attests everybody who has waited for the start. */
void lease_attest_waiting(struct lease *lease);

void lease_deny_waiting(struct lease *lease);

/* Each open is a record of its own: `guard: always`, or a pid namespace that others share. */
bool lease_asks_always(const struct lease *lease);

/* The container's own mount stays guarded: as above, or a target that cannot be reached for an
 * ignore mark. */
bool lease_keeps_guard(const struct lease *lease);

/* Guards a released delivery again whose container has come to share its pid namespace since. */
void lease_guard_again(struct lease *lease);

/* FACTS are of a container that runs: if it is this lease's and another one has joined its pid
 * namespace, every open is asked for from then on. */
void lease_on_joined(struct lease *lease, const struct container_facts *facts);
