/* The clock that leases are counted on: milliseconds since the host's boot, CLOCK_BOOTTIME. It counts on
 * while the machine sleeps, and nobody can set it: neither a jump of the wall clock nor a time namespace
 * that one of our processes is started in moves a lease. Does not allocate. */
#pragma once

#include <stdint.h>

/* Reads how far this process's time namespace is from the host's. Once, at the start, before the sandbox:
 * without it the difference is taken for none. */
void boot_clock_init(void);

/* The same on every process of a boot, in whichever time namespace. */
int64_t boot_clock_ms(void);

/* How much later it is in this process's time namespace than on the host: what /proc says of starts of
 * processes is so much later here too. */
int64_t boot_clock_shift_ms(void);

/* The offset in TEXT, the content of /proc/PID/timens_offsets, in milliseconds; 0 without one. Pure. */
int64_t boot_clock_offset(const char *text);
