/* Alarms at times of boot_clock_ms(): many, over one timer of the kernel on CLOCK_BOOTTIME, so that one
 * that has passed while the machine slept is told at once when it wakes. Loop thread only.
 *
 * Glossary
 *   place   where an alarm stands in the heap; the earliest one is at 0 */
#pragma once

#include "daemon/broker/loop/handle_group.h"
#include "proto/error.h"

#include <stddef.h>
#include <stdint.h>

struct boot_alarms;

/* A member of the caller's struct. All zeros: none, every function accepts it. */
struct boot_alarm {
	struct boot_alarms *alarms; /* NULL: none, or closed */
	size_t place;		    /* SIZE_MAX: not armed */
	int64_t due_ms;
	void (*on_due)(struct boot_alarm *alarm);
};

int boot_alarms_new(uv_loop_t *loop, struct boot_alarms **ret_alarms, struct mayfly_error *err);

/* Makes room for one more, so that arming it cannot fail. -ENOMEM. */
int boot_alarm_init(struct boot_alarms *alarms, struct boot_alarm *alarm,
	void (*on_due)(struct boot_alarm *alarm));

/* Calls ON_DUE once, from the loop, when DUE_MS has come (at once if it has passed). An earlier wish is
 * forgotten. */
void boot_alarm_arm(struct boot_alarm *alarm, int64_t due_ms);
void boot_alarm_cancel(struct boot_alarm *alarm);

/* Cancels and gives its room back. */
void boot_alarm_close(struct boot_alarm *alarm);
