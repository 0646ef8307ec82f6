/* Naive control, with first_candidate.c: what other volume plugins do. There is no guard: the files
 * have their content from Mount on, where the grant says `"release": "mount"`. */
#define guard_is_available checked_guard_is_available
#include "daemon/broker/delivery/guard_reader.c"
#undef guard_is_available

bool guard_is_available(const struct guard *guard);

bool guard_is_available(const struct guard *guard)
{
	(void)guard;
	return false;
}
