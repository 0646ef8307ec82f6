#include "daemon/broker/loop/descriptor_watch.h"

#include <errno.h>

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct descriptor_watch *watch = container_of(poll, struct descriptor_watch, poll);

	(void)events; /* UV_READABLE is all that was asked for. */
	watch->on_ready(watch, status);
}

int descriptor_watch_resume(struct descriptor_watch *watch, struct mayfly_error *err)
{
	int r;

	if (!watch->poll.loop || uv_is_closing((uv_handle_t *)&watch->poll))
		return error_errno(err, -EINVAL, "watch a descriptor that is given up");
	r = uv_poll_start(&watch->poll, UV_READABLE, on_poll);
	return r < 0 ? error_errno(err, r, "watch a descriptor") : 0;
}

int descriptor_watch_init(struct descriptor_watch *watch, uv_loop_t *loop,
	struct handle_group *group, int fd,
	void (*on_ready)(struct descriptor_watch *watch, int status), struct mayfly_error *err)
{
	int r;

	*watch = (struct descriptor_watch){ .on_ready = on_ready };
	r = uv_poll_init(loop, &watch->poll, fd);
	if (r < 0) {
		/* Nothing is open; what libuv filled in must not look as if there were. */
		*watch = (struct descriptor_watch){ 0 };
		return error_errno(err, r, "watch descriptor %d", fd);
	}
	handle_group_add(group, (uv_handle_t *)&watch->poll);
	r = descriptor_watch_resume(watch, err);
	if (r < 0)
		descriptor_watch_close(watch);
	return r;
}

void descriptor_watch_pause(struct descriptor_watch *watch)
{
	if (watch->poll.loop && !uv_is_closing((uv_handle_t *)&watch->poll))
		/* Cannot fail for an open handle. */
		(void)uv_poll_stop(&watch->poll);
}

void descriptor_watch_close(struct descriptor_watch *watch)
{
	if (watch->poll.loop)
		handle_group_close((uv_handle_t *)&watch->poll);
}
