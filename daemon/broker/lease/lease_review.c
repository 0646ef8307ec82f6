#include "daemon/broker/lease/lease_review.h"

#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/lease/lease_steps.h"

#include <string.h>

void lease_forget_review(struct lease *lease)
{
	struct lease_beginnings *beginnings = lease->beginnings;

	if (beginnings && beginnings->is_in_review) {
		engine_link_forget(lease->context->engines[lease->engine], &beginnings->review);
		beginnings->is_in_review = false;
	}
}

/* The only answer: one container was asked for. */
static void on_facts(struct engine_question *question, const struct container_facts *facts,
	const char *id, const char *why)
{
	struct lease *lease = container_of(question, struct lease_beginnings, review)->lease;

	(void)id;
	lease_forget_review(lease);
	/* What cannot be judged keeps its deadline. */
	if (why[0] || lease->state != LEASE_ARMED || lease->is_waiting ||
		lease->beginnings->starts_count > 0)
		return;
	if (!facts || (!facts->running && !facts->root_mounted))
		lease_end(lease, "its container is not being started any more");
}

static void on_done(struct engine_question *question, int status, const char *why)
{
	(void)status;
	(void)why;
	container_of(question, struct lease_beginnings, review)->is_in_review = false;
}

static const char *expected_id(const struct lease *lease)
{
	const struct lease_beginnings *beginnings = lease->beginnings;

	return beginnings && beginnings->bundled_id[0] ? beginnings->bundled_id
						       : lease_container_id(lease);
}

static void review(struct lease *lease)
{
	struct lease_beginnings *beginnings = lease->beginnings;

	if (lease->state != LEASE_ARMED || beginnings->is_in_review || !expected_id(lease)[0])
		return;
	beginnings->review = (struct engine_question){ .on_facts = on_facts, .on_done = on_done };
	beginnings->is_in_review = engine_link_containers(lease->context->engines[lease->engine],
					   expected_id(lease), &beginnings->review) == 0;
}

void lease_review_armed(struct lease_context *context, unsigned engine, const char *id)
{
	struct lease *lease;

	TAILQ_FOREACH(lease, &context->leases, entry)
	if (lease->engine == engine && (!id || strcmp(expected_id(lease), id) == 0))
		review(lease);
}

void lease_end_armed(struct lease_context *context, unsigned engine, const char *id)
{
	struct lease *lease, *next;

	for (lease = TAILQ_FIRST(&context->leases); lease; lease = next) {
		next = TAILQ_NEXT(lease, entry);
		if (lease->engine == engine && lease->state == LEASE_ARMED &&
			strcmp(expected_id(lease), id) == 0)
			lease_end(lease, "its container has been removed");
	}
}

/* --- what an unmount means: the container has ended, or `docker cp` has --- */

void lease_on_mount_again(struct lease *lease)
{
	lease->mounted_again++;
}

/* `docker cp` unmounts with the id of the living container, which keeps its files. Before the
 * container is known only the count tells; after that its life does, and is never wrong. */
static bool is_of_docker_cp(struct lease *lease)
{
	if (lease->holder.id)
		return lease_is_alive(lease);
	if (lease->mounted_again == 0)
		return false;
	lease->mounted_again--;
	return true;
}

void lease_on_unmount(struct lease *lease, void (*on_forgotten)(struct lease *, void *), void *data)
{
	if (is_of_docker_cp(lease)) {
		on_forgotten(lease, data);
		return;
	}
	lease->was_unmounted = true;
	if (lease->on_forgotten) {
		/* Somebody waits for it already; both want the same. */
		on_forgotten(lease, data);
		return;
	}
	lease->on_forgotten = on_forgotten;
	lease->on_forgotten_data = data;
	lease_end(
		lease, lease->holder.id ? "the container has ended" : "unmounted without a start");
}
