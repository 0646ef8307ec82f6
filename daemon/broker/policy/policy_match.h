/* Does a grant mean this container? Pure: no I/O, no clock, no allocation. */
#pragma once

#include "daemon/broker/policy/policy.h"

/* The first term of GRANT that does not hold for FACTS and VOLUME, or NULL when all hold. */
const struct policy_term *grant_mismatch(
	const struct policy_grant *grant, const struct container_facts *facts, const char *volume);

/* True when no container can fulfil both A and B. */
bool grants_exclude(const struct policy_grant *a, const struct policy_grant *b);

/* What FACTS and VOLUME have where TERM looks, for evidence; NULL when nothing. Points into FACTS.
 */
const char *term_found(
	const struct policy_term *term, const struct container_facts *facts, const char *volume);
