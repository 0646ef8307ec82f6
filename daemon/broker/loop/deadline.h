/* A timer that fires once, as a member of an operation (see handle_group.h).
 * Loop thread only. Does not block or allocate. */
#pragma once

#include "daemon/broker/loop/handle_group.h"

#include <stdbool.h>
#include <stdint.h>

struct deadline {
	uv_timer_t timer;
	void (*on_passed)(struct deadline *deadline);
};

/* Makes DEADLINE a part of GROUP; it is not armed. ON_PASSED may close it, arm it again or end the
 * operation. Cannot fail. */
void deadline_init(struct deadline *deadline, uv_loop_t *loop, struct handle_group *group,
	void (*on_passed)(struct deadline *deadline));

/* Lets it pass once, TIMEOUT_MS from now; an earlier time is forgotten. After deadline_close() it
 * does nothing. */
void deadline_arm(struct deadline *deadline, uint64_t timeout_ms);

/* It does not pass any more, until it is armed again. Twice, unarmed or closed is fine. */
void deadline_cancel(struct deadline *deadline);

bool deadline_is_armed(const struct deadline *deadline);

/* An armed deadline does not keep the loop running. For housekeeping. */
void deadline_set_background(struct deadline *deadline);

/* Cancels for good and gives up its hold on the group from the close callback. Twice is fine, and
 * so is a deadline of zeros that was never made. */
void deadline_close(struct deadline *deadline);
