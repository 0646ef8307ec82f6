#include "daemon/broker/loop/work_queue.h"

#include <errno.h>

static void on_thread(uv_work_t *request)
{
	struct work_item *item = request->data;

	item->run(item);
}

static void on_loop(uv_work_t *request, int status)
{
	struct work_item *item = request->data;

	/* UV_ECANCELED, the only status but 0, comes from work_queue_abandon(). */
	(void)status;
	item->is_under_way = false;
	item->on_done(item, item->is_abandoned);
}

int work_queue_start(uv_loop_t *loop, struct work_item *item, struct mayfly_error *err)
{
	int r;

	if (item->is_under_way)
		return error_errno(err, -EBUSY, "start work that is under way");
	item->request.data = item;
	item->is_abandoned = false;
	r = uv_queue_work(loop, &item->request, on_thread, on_loop);
	if (r < 0)
		return error_errno(err, r, "start work on another thread");
	item->is_under_way = true;
	return 0;
}

void work_queue_abandon(struct work_item *item)
{
	if (!item->is_under_way || item->is_abandoned)
		return;
	item->is_abandoned = true;
	/* -EBUSY: a thread has it. ON_DONE comes in both cases. */
	(void)uv_cancel((uv_req_t *)&item->request);
}

bool work_queue_is_under_way(const struct work_item *item)
{
	return item->is_under_way;
}
