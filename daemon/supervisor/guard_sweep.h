/* After a broker's death, before the next one: denies every event that the dead one had read and
 * not answered. Its descriptor numbers are all the kernel knows them by; a new broker's answer for
 * the same number would release the wrong opener. ENOENT is the usual result. About 20 ms for 8,192
 * numbers of 65 groups. */
#pragma once

#include <stdint.h>

/* Returns how many openers were denied. */
unsigned guard_sweep(const int *groups, uint32_t groups_count, int numbers);
