#include "daemon/broker/store/store_keys.h"

/* Stands in for the product's: the lowest cost that slots may have. */
struct slot_cost slot_cost_of_new(void)
{
	return (struct slot_cost){ COST_PASSES_MIN, COST_MEMORY_KIB_MIN };
}
