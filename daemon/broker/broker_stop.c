#include "daemon/broker/service.h"

#include <unistd.h>

#define STOP_DEADLINE_MS 600

static bool has_unreleased(const struct service *service)
{
	const struct lease *lease;

	TAILQ_FOREACH(lease, &service->broker.leases.leases, entry)
	if (lease->state != LEASE_RELEASED && lease->state != LEASE_ENDED)
		return true;
	return false;
}

/* Everything durable is durable already. While a thread is still at work for an operator only the
 * secrets go: what it works with must stay until the process is gone. */
_Noreturn void service_leave(struct service *service)
{
	struct broker *broker = &service->broker;

	if (broker->jobs == 0 && !broker->is_in_upkeep && broker->vaults.cache.jobs == 0) {
		store_close(broker->store);
		audit_close(broker->audit);
		state_db_close(broker->state);
	}
	if (broker->arena)
		arena_wipe(broker->arena);
	_exit(service->exit_status);
}

static void on_drained(void *data)
{
	service_leave(data);
}

static void on_audit_closed(void *data)
{
	struct service *service = data;

	serial_queue_drain(&service->broker.leases.savings, on_drained, service);
}

static void finish_stop(struct service *service)
{
	deadline_cancel(&service->stop);
	audit_queue_close(service->broker.leases.audit, on_audit_closed, service);
	service->broker.leases.audit = NULL;
	deadline_arm(&service->stop, STOP_DEADLINE_MS / 3);
}

static void stop_if_nothing_is_left(struct service *service)
{
	if (service->broker.leases.audit && service->has_given_tokens_back &&
		!has_unreleased(service))
		finish_stop(service);
}

static void on_vaults_stopped(void *context)
{
	struct broker *broker = context;
	struct service *service = container_of(broker, struct service, broker);

	service->has_given_tokens_back = true;
	stop_if_nothing_is_left(service);
}

void service_stop_is_late(struct deadline *deadline)
{
	struct service *service = container_of(deadline, struct service, stop);

	if (service->broker.leases.audit)
		finish_stop(service);
	else
		service_leave(service);
}

void service_lease_ended(struct lease_context *context)
{
	struct broker *broker = container_of(context, struct broker, leases);
	struct service *service = container_of(broker, struct service, broker);

	if (broker->is_stopping)
		stop_if_nothing_is_left(service);
	else
		broker_wake(broker);
}

void service_begin_stop(struct service *service)
{
	struct lease *lease, *next;

	if (service->broker.is_stopping)
		return;
	service->broker.is_stopping = true;
	for (size_t i = 0; i < service->broker.engines_count; i++)
		docker_volume_close(service->fronts[i]);
	operator_socket_close(service->operators);
	container_socket_close(service->containers);
	service->containers = NULL;
	rotations_stop(&service->broker.rotations);
	deadline_arm(&service->stop, STOP_DEADLINE_MS);
	for (lease = TAILQ_FIRST(&service->broker.leases.leases); lease; lease = next) {
		next = TAILQ_NEXT(lease, entry);
		if (lease->state != LEASE_RELEASED && lease->state != LEASE_ENDED)
			lease_end(lease, "Mayfly is stopping");
	}
	vault_sets_stop(&service->broker.vaults, on_vaults_stopped);
	stop_if_nothing_is_left(service);
}
