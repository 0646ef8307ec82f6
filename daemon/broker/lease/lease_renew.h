/* What a lease's term (lease_term.h) has done to it: the policy is asked again with what the engine says of
 * the container by then, whoever watches is warned, the files are emptied at the end. The mounter is told
 * of the end, for when nobody of us is there. Loop thread only. */
#pragma once

#include "daemon/broker/lease/lease.h"

/* What LEASE delivers can be read from now on: its term begins. Its row is the caller's to save. */
void lease_term_start(struct lease *lease);

/* LEASE was taken up after a restart, of us or of the mounter: what is due is done at once. */
void lease_term_resume(struct lease *lease);

/* It ends: no alarm, no question any more. Twice is fine. */
void lease_term_stop(struct lease *lease);
