#include "daemon/broker/loop/deadline.h"

static void on_timer(uv_timer_t *timer)
{
	struct deadline *deadline = container_of(timer, struct deadline, timer);

	deadline->on_passed(deadline);
}

void deadline_init(struct deadline *deadline, uv_loop_t *loop, struct handle_group *group,
	void (*on_passed)(struct deadline *deadline))
{
	/* Only fills in the struct. */
	(void)uv_timer_init(loop, &deadline->timer);
	deadline->on_passed = on_passed;
	handle_group_add(group, (uv_handle_t *)&deadline->timer);
}

void deadline_arm(struct deadline *deadline, uint64_t timeout_ms)
{
	/* The loop's clock stands still during callbacks; a long one would make this pass early. */
	uv_update_time(deadline->timer.loop);
	/* Fails for a closed timer only, where nothing is to happen. */
	(void)uv_timer_start(&deadline->timer, on_timer, timeout_ms, 0);
}

void deadline_cancel(struct deadline *deadline)
{
	/* Stopping a timer that does not run is fine. */
	(void)uv_timer_stop(&deadline->timer);
}

bool deadline_is_armed(const struct deadline *deadline)
{
	return uv_is_active((const uv_handle_t *)&deadline->timer);
}

void deadline_set_background(struct deadline *deadline)
{
	uv_unref((uv_handle_t *)&deadline->timer);
}

void deadline_close(struct deadline *deadline)
{
	if (deadline->timer.loop)
		handle_group_close((uv_handle_t *)&deadline->timer);
}
