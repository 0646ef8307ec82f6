/* Naive control: a container of the right name is the right one, whatever else its grant asks for.
 */
#define grant_mismatch checked_grant_mismatch
#include "daemon/broker/policy/policy_match.c"
#undef grant_mismatch

const struct policy_term *grant_mismatch(
	const struct policy_grant *grant, const struct container_facts *facts, const char *volume);

const struct policy_term *grant_mismatch(
	const struct policy_grant *grant, const struct container_facts *facts, const char *volume)
{
	for (size_t i = 0; i < grant->terms_count; i++)
		if (grant->terms[i].key == MATCH_CONTAINER_NAME &&
			term_holds(&grant->terms[i], facts, volume))
			return NULL;
	return checked_grant_mismatch(grant, facts, volume);
}
