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

/* How many terms of GRANT hold: how near it is, for explanations. */
size_t grant_terms_held(
	const struct policy_grant *grant, const struct container_facts *facts, const char *volume);

/* A key of `match` as it stands in the file; NULL for MATCH_CONTAINER_LABEL, whose text goes on. */
const char *match_key_name(enum match_key key);

/* The container's label that KEY means; NULL when it means none, or any (MATCH_CONTAINER_LABEL). */
const char *match_key_label(enum match_key key);

/* TERM's key as it stands in the file, in BUFFER, safe to show. Returns BUFFER. */
const char *term_key(const struct policy_term *term, char *buffer, size_t size);

/* True when no container can fulfil both A and B: they look at the same thing, which has one value,
 * and want different ones. */
bool terms_exclude(const struct policy_term *a, const struct policy_term *b);
