#include "daemon/broker/request/engine_events.h"

#include "daemon/broker/lease/lease_index.h"
#include "daemon/broker/lease/lease_open.h"
#include "daemon/broker/lease/lease_review.h"
#include "daemon/broker/request/attestation.h"
#include "daemon/broker/request/engine_process.h"
#include "proto/cleanup.h"
#include "proto/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool uses_volume(const struct container_facts *facts, const char *volume)
{
	for (size_t i = 0; i < facts->volumes_count; i++)
		if (strcmp(facts->volumes[i].name, volume) == 0)
			return true;
	return false;
}

/* Did the runtime's bundle say which deliveries this container mounts? */
static bool is_bundled_for(const struct lease *lease, const char *id)
{
	return lease->beginnings && strcmp(lease->beginnings->bundled_id, id) == 0;
}

static bool is_bundled(const struct broker_engine *engine, const char *id)
{
	const struct lease *lease;

	TAILQ_FOREACH(lease, &engine->broker->leases.leases, entry)
	if (lease->engine == engine->index && is_bundled_for(lease, id))
		return true;
	return false;
}

/* The leases that are this container's by its bundle; without one, every lease of this engine whose
 * volume it uses: one of them may be the one that it has. */
static void tell_leases(struct broker_engine *engine, const struct container_facts *facts)
{
	const bool by_bundle = is_bundled(engine, facts->id);
	struct lease *lease, *next;

	for (lease = TAILQ_FIRST(&engine->broker->leases.leases); lease; lease = next) {
		next = TAILQ_NEXT(lease, entry);
		if (lease->engine == engine->index && lease->mode == LEASE_AT_REQUEST)
			lease_on_joined(lease, facts);
		else if (lease->engine == engine->index && uses_volume(facts, lease->volume) &&
			 (!by_bundle || !lease->beginnings || is_bundled_for(lease, facts->id)))
			lease_on_start(lease, facts);
	}
}

static void end_leases(struct broker_engine *engine, const char *id)
{
	struct lease *lease, *next;

	for (lease = TAILQ_FIRST(&engine->broker->leases.leases); lease; lease = next) {
		next = TAILQ_NEXT(lease, entry);
		/* Its init is watched: `die` is the second way to hear of it. A pidfd that still
		 * lives is the truth. */
		if (lease->engine == engine->index && lease->holder.id &&
			strcmp(lease->holder.id, id) == 0 && !lease_is_alive(lease) &&
			lease->state != LEASE_ENDED)
			lease_on_container_end(lease);
	}
}

/* Its place in the cgroup tree tells it from others, whether it has a secret or not. */
static void know(struct broker_engine *engine, const char *id, pid_t pid)
{
	struct lease_context *leases = &engine->broker->leases;
	struct cgroup_identity identity;

	if (cgroup_identity_of(&leases->roots, pid, -1, id, &identity) == 0)
		known_containers_add(leases->known, engine->index, id, &identity);
	attestations_wake(engine->broker);
}

static void on_event(void *data, enum engine_event event, const char *id, pid_t pid, bool by_bundle,
	const struct container_facts *facts)
{
	struct broker_engine *engine = data;

	switch (event) {
	case ENGINE_START:
		if (pid > 0)
			know(engine, id, pid);
		if (facts)
			tell_leases(engine, facts);
		if (by_bundle)
			log_notice("engine %s does not answer yet; container %.12s has started, as "
				   "its bundle says",
				engine->name, id);
		break;
	case ENGINE_DIE:
		known_containers_remove(engine->broker->leases.known, id);
		end_leases(engine, id);
		/* Of one that was never verified, or of the run before this one. */
		lease_review_armed(&engine->broker->leases, engine->index, id);
		rotations_on_unwell(&engine->broker->rotations, engine->index, id, "has ended");
		break;
	case ENGINE_DESTROY:
		known_containers_remove(engine->broker->leases.known, id);
		end_leases(engine, id);
		lease_end_armed(&engine->broker->leases, engine->index, id);
		(void)json_object_del(engine->broker->refused_while_locked, id);
		break;
	case ENGINE_UNHEALTHY:
		rotations_on_unwell(&engine->broker->rotations, engine->index, id,
			"has turned unhealthy: its own health check says so");
		break;
	case ENGINE_HEALTHY:
	case ENGINE_CREATE:
	case ENGINE_EVENT_INVALID:
		break;
	}
}

static void on_bundle(void *data, const char *id, const char *mount_id, uint32_t uid, uint32_t gid)
{
	struct broker_engine *engine = data;
	struct lease *lease = lease_find(&engine->broker->leases, mount_id);

	if (lease && lease->engine == engine->index)
		lease_on_bundle(lease, id, uid, gid);
}

static void on_running(void *data, const char *id, pid_t pid, const struct container_facts *facts)
{
	struct broker_engine *engine = data;

	know(engine, id, pid);
	if (facts)
		tell_leases(engine, facts);
	if (facts && strcmp(facts->health, "unhealthy") == 0)
		rotations_on_unwell(&engine->broker->rotations, engine->index, id, "is unhealthy");
}

static void on_state(void *data, const struct engine_status *status)
{
	struct broker_engine *engine = data;

	if (status->state == ENGINE_CONNECTED && status->data_root[0])
		broker_remember(engine->broker, engine->name, "data_root", status->data_root);
	if (status->state == ENGINE_CONNECTED)
		/* Everything that runs is told again. */
		known_containers_forget_engine(engine->broker->leases.known, engine->index);
	broker_wake(engine->broker);
}

static void on_synchronised(void *data)
{
	struct broker_engine *engine = data;

	engine->was_synchronised = true;
	lease_review_armed(&engine->broker->leases, engine->index, NULL);
	broker_wake(engine->broker);
}

int engine_events_open(struct broker *broker, unsigned index, struct mayfly_error *err)
{
	const struct engine_callbacks callbacks = { .on_event = on_event,
		.on_bundle = on_bundle,
		.on_running = on_running,
		.on_state = on_state,
		.on_synchronised = on_synchronised,
		.data = &broker->engines[index] };

	return engine_link_new(broker->loop, broker->engines[index].name, &callbacks,
		&broker->leases.engines[index], err);
}

int engine_events_connect(struct broker *broker, unsigned index, int fd, struct mayfly_error *err)
{
	AUTO_FREE char *data_root = NULL;
	char name[128];
	int r;

	(void)snprintf(name, sizeof name, "engine.%s.data_root", broker->engines[index].name);
	/* A quick read; without it mayfly-engine waits for the engine to tell. */
	(void)state_db_fact(broker->state, name, &data_root, NULL);
	r = engine_link_replace(broker->leases.engines[index], fd, data_root, err);
	if (r == 0)
		engine_process_forget_reader(&broker->engines[index]);
	return r;
}
