#include "daemon/broker/loop/listener.h"

#include <sys/socket.h>

static void on_readable(uv_poll_t *poll, int status, int events);

static void set_accepting(struct listener *listener, bool is_accepting)
{
	if (listener->is_accepting == is_accepting || listener->group->is_ending)
		return;
	listener->is_accepting = is_accepting;
	if (is_accepting)
		(void)uv_poll_start(&listener->poll, UV_READABLE, on_readable);
	else
		(void)uv_poll_stop(&listener->poll);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct listener *listener = container_of(poll, struct listener, poll);
	const int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)status;
	(void)events;
	if (fd < 0)
		return;
	listener->on_connection(listener, fd);
	if (listener->count >= listener->max)
		set_accepting(listener, false);
}

int listener_init(
	struct listener *listener, uv_loop_t *loop, struct handle_group *group, int fd, size_t max)
{
	const int r = uv_poll_init(loop, &listener->poll, fd);

	if (r < 0)
		return r;
	listener->group = group;
	listener->fd = fd;
	listener->max = max;
	handle_group_add(group, (uv_handle_t *)&listener->poll);
	set_accepting(listener, true);
	return 0;
}

void listener_is_connected(struct listener *listener)
{
	listener->count++;
}

void listener_has_room(struct listener *listener)
{
	listener->count--;
	set_accepting(listener, true);
}

void listener_close(struct listener *listener)
{
	(void)uv_poll_stop(&listener->poll);
	handle_group_close((uv_handle_t *)&listener->poll);
}
