#include "daemon/supervisor/guard_sweep.h"

#include <sys/fanotify.h>
#include <unistd.h>

unsigned guard_sweep(const int *groups, uint32_t groups_count, int numbers)
{
	unsigned denied = 0;

	for (uint32_t i = 0; i < groups_count; i++)
		for (int number = 0; number < numbers; number++) {
			const struct fanotify_response response = { .fd = number,
				.response = FAN_DENY };

			if (write(groups[i], &response, sizeof response) == sizeof response)
				denied++;
		}
	return denied;
}
