#include "daemon/broker/loop/handle_group.h"

#include <assert.h>

void handle_group_init(struct handle_group *group, void (*on_empty)(struct handle_group *group))
{
	*group = (struct handle_group){ .holds = 1, .on_empty = on_empty };
}

bool handle_group_end(struct handle_group *group)
{
	const bool is_first = !group->is_ending;

	group->is_ending = true;
	return is_first;
}

void handle_group_hold(struct handle_group *group)
{
	assert(group->holds > 0);
	group->holds++;
}

void handle_group_release(struct handle_group *group)
{
	assert(group->holds > 0);
	if (--group->holds > 0)
		return;
	/* An operation that nobody has ended would be freed under its owner's feet. */
	assert(group->is_ending);
	group->on_empty(group);
}

void handle_group_add(struct handle_group *group, uv_handle_t *handle)
{
	handle->data = group;
	handle_group_hold(group);
}

static void on_closed(uv_handle_t *handle)
{
	handle_group_release(handle->data);
}

void handle_group_close(uv_handle_t *handle)
{
	if (!uv_is_closing(handle))
		uv_close(handle, on_closed);
}
