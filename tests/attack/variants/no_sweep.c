/* Naive control: a new broker answers opens while those that the dead one had read are still
 * pending. */
#include "daemon/supervisor/guard_sweep.h"

unsigned guard_sweep(const int *groups, uint32_t groups_count, int numbers)
{
	(void)groups;
	(void)groups_count;
	(void)numbers;
	return 0;
}
