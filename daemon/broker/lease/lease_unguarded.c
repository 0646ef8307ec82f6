/* Kernels without permission events (Docker Desktop's): what is released when, where nobody can be
 * asked. Never silently: the trail, `mayfly doctor` and the log say so. */
#include "daemon/broker/lease/lease_steps.h"

#include <errno.h>

/* The two ways differ in where the files are; the last step tells the owner. */

static void on_sealed(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = container_of(delivery, struct lease, delivery);

	/* Armed and filled: as lease_arm's own completion. */
	lease->is_verified = status == 0;
	lease->on_filled(delivery, status, detail);
}

static void on_written(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = container_of(delivery, struct lease, delivery);

	if (status == 0) {
		status = delivery_seal(delivery, on_sealed);
		detail = "mayfly-mounter is being restarted";
	}
	if (status < 0)
		lease->on_filled(delivery, status, detail);
}

void lease_fill_at_mount(struct lease *lease, delivery_done_function *on_filled)
{
	int r;

	lease->on_filled = on_filled;
	lease->is_waiting = true;
	r = delivery_write(
		&lease->delivery, lease->context->loop, lease->context->sources.keeper, on_written);
	if (r < 0)
		on_filled(&lease->delivery, r, "write the files");
}

static void on_attached_inside(struct delivery *inside, int status, const char *detail)
{
	struct lease *lease = inside->owner;

	lease->on_filled(inside, status, detail);
}

static void on_sealed_inside(struct delivery *inside, int status, const char *detail)
{
	struct lease *lease = inside->owner;

	if (status == 0) {
		status = delivery_attach_inside(inside, lease->init.pidfd, lease->holder.target,
			&lease->delivery, false, on_attached_inside);
		detail = "mayfly-mounter is being restarted";
	}
	if (status < 0)
		lease->on_filled(inside, status, detail);
}

static void on_written_inside(struct delivery *inside, int status, const char *detail)
{
	struct lease *lease = inside->owner;

	if (status == 0) {
		status = delivery_seal(inside, on_sealed_inside);
		detail = "mayfly-mounter is being restarted";
	}
	if (status < 0)
		lease->on_filled(inside, status, detail);
}

static void on_made_inside(struct delivery *inside, int status, const char *detail)
{
	struct lease *lease = inside->owner;

	if (status == 0) {
		status = delivery_write(inside, lease->context->loop,
			lease->context->sources.keeper, on_written_inside);
		detail = "write the files";
	}
	if (status < 0)
		lease->on_filled(inside, status, detail);
}

void lease_fill_inside(struct lease *lease, delivery_done_function *on_filled)
{
	int r;

	lease->on_filled = on_filled;
	lease->is_waiting = true;
	r = delivery_make(lease->inside, on_made_inside);
	if (r < 0)
		on_filled(lease->inside, r, "mayfly-mounter is being restarted");
}
