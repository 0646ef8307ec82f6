#include "daemon/broker/lease/lease_open.h"

#include "daemon/broker/identity/opener_verdict.h"
#include "daemon/broker/lease/lease_record.h"
#include "daemon/broker/lease/lease_steps.h"
#include "daemon/broker/lease/lease_take.h"
#include "proto/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Denied openers are recorded one by one at first, then summed up: a flood must not fill the disk.
 */
#define DENIED_ONE_BY_ONE 16
#define DENIED_PAUSE_MS	  10000

/* An opener whose last fact is being asked for. */
struct attestation {
	struct lease *lease;   /* held by lease->handles */
	struct opener *opener; /* NULL: it was denied for its lateness meanwhile */
	struct opener_facts facts;
	const char
		*once; /* the path of a file that is read once, and that this one may read; NULL */
};

bool lease_asks_always(const struct lease *lease)
{
	return lease->guards_always || lease->is_joined;
}

bool lease_keeps_guard(const struct lease *lease)
{
	const struct located *located = &lease->delivery.located;
	const struct lease *other;

	if (lease_asks_always(lease) || (located->flags & MOUNTER_TARGET_UNREACHABLE))
		return true;
	TAILQ_FOREACH(other, &lease->context->leases, entry)
	if (other != lease && other->state == LEASE_RELEASED &&
		other->delivery.located.pid_namespace == located->pid_namespace &&
		strcmp(other->holder.id, lease->holder.id) != 0)
		return true;
	return false;
}

/* Who is the opener? For people: its pid means something on the host only now. */
static void record_denied(struct lease *lease, const struct opener *opener, const char *why)
{
	const uint64_t now = uv_now(lease->context->loop);
	char reason[256];

	if (++lease->denied > DENIED_ONE_BY_ONE && now - lease->denied_told_ms < DENIED_PAUSE_MS)
		return;
	lease->denied_told_ms = now;
	(void)snprintf(reason, sizeof reason, "open by process %d refused: %s (%u refused so far)",
		opener->pid, why, lease->denied);
	lease_audit(lease, "open", "refused", reason);
}

static void deny(struct lease *lease, struct opener *opener, const char *why)
{
	record_denied(lease, opener, why);
	guard_answer(opener, false);
}

static void on_open_recorded(void *data, int status)
{
	struct attestation *attestation = data;
	struct lease *lease = attestation->lease;

	/* It was not opened then: somebody else may. */
	if (attestation->once && (!attestation->opener || status < 0))
		lease_once_give_back(lease, attestation->once);
	if (attestation->opener)
		guard_answer(attestation->opener, status == 0);
	free(attestation);
	handle_group_release(&lease->handles);
}

/* With `guard: always` each open is a record, and the record comes first. */
static void allow_recorded(void *data, int status)
{
	struct attestation *attestation = data;
	struct lease *lease = attestation->lease;
	char reason[96];
	json_t *record;
	int r = -ENOMEM;

	if (status < 0 || !attestation->opener || !lease_asks_always(lease)) {
		on_open_recorded(attestation, status);
		return;
	}
	(void)snprintf(
		reason, sizeof reason, "open by process %d allowed", attestation->opener->pid);
	record = lease_audit_record(lease, "open", "granted", reason);
	if (record)
		r = audit_queue_append(
			lease->context->audit, record, on_open_recorded, attestation, NULL);
	json_decref(record);
	if (r < 0)
		on_open_recorded(attestation, r);
}

/* That a file has been opened survives us: no restart lets a second one in. */
static void allow(struct attestation *attestation)
{
	struct lease *lease = attestation->lease;
	int r;

	if (!lease_once_take(lease, attestation->opener, &attestation->once)) {
		record_denied(lease, attestation->opener,
			"the file was opened already, and it is read once");
		on_open_recorded(attestation, -EPERM);
		return;
	}
	if (!attestation->once) {
		allow_recorded(attestation, 0);
		return;
	}
	r = lease_save_first(lease, allow_recorded, attestation);
	if (r < 0)
		on_open_recorded(attestation, r);
}

static void on_compared(const struct mounter_reply *reply, int fd, void *data)
{
	struct attestation *attestation = data;
	struct lease *lease = attestation->lease;
	struct opener *opener = attestation->opener;
	const char *failed;

	(void)fd;
	if (!opener) {
		on_open_recorded(attestation, -ETIMEDOUT);
		return;
	}
	attestation->facts.in_mount_namespace =
		reply->status == 0 && (reply->flags & MOUNTER_SAME_MOUNT_NAMESPACE);
	attestation->facts.is_alive = process_is_alive(opener->pidfd) && lease_is_alive(lease);
	failed = opener_failed_fact(&attestation->facts);
	if (!opener_may_read(&attestation->facts) || lease->end_reason) {
		record_denied(lease, opener, failed ? failed : "the delivery is ending");
		on_open_recorded(attestation, -EPERM);
		return;
	}
	allow(attestation);
}

static bool is_in_cgroup(const struct lease *lease, const struct opener *opener)
{
	const struct lease_context *context = lease->context;
	struct cgroup_chain chain;

	return cgroup_chain_read(&context->roots, opener->pid, opener->pidfd,
		       lease->init.cgroup.hierarchy, &chain) == 0 &&
	       cgroup_chain_has(&chain, &lease->init.cgroup) &&
	       !known_containers_cross(context->known, &chain, &lease->init.cgroup);
}

/* The files of a delivery have at least one byte; those of a generation that others took the place
 * of have none. Whoever waited with one of them would read an empty secret. */
static bool opens_current_file(const struct opener *opener)
{
	struct stat status;

	return fstat(opener->fd, &status) == 0 && status.st_size > 0;
}

static void on_late_attestation(struct opener *opener)
{
	struct attestation *attestation = opener->owner;

	attestation->opener = NULL;
	record_denied(attestation->lease, opener, "it could not be attested within 10 s");
}

/* Two facts are read here; the third one, of the mount namespace, only the mounter may read. */
static void attest(struct lease *lease, struct opener *opener)
{
	struct mounter_request request = { .op = MOUNTER_OP_COMPARE };
	const int pidfds[2] = { lease->init.pidfd, opener->pidfd };
	struct attestation *attestation;

	if (!opens_current_file(opener)) {
		deny(lease, opener, "the file that it opened has been replaced since");
		return;
	}
	attestation = calloc(1, sizeof *attestation);
	if (!attestation) {
		deny(lease, opener, "out of memory");
		return;
	}
	attestation->lease = lease;
	attestation->opener = opener;
	attestation->facts = (struct opener_facts){
		.in_cgroup = is_in_cgroup(lease, opener),
		.through_own_mount = opener->mount_id == lease->delivery.located.mount_id,
	};
	opener->owner = attestation;
	opener->on_late = on_late_attestation;
	handle_group_hold(&lease->handles);
	if (mounter_link_send(
		    lease->context->mounter, &request, pidfds, 2, on_compared, attestation) < 0) {
		record_denied(lease, opener, "mayfly-mounter is being restarted");
		on_open_recorded(attestation, -EPERM);
	}
}

void lease_attest_waiting(struct lease *lease)
{
	struct opener *opener;

	while ((opener = TAILQ_FIRST(&lease->waiting))) {
		TAILQ_REMOVE(&lease->waiting, opener, waiting);
		attest(lease, opener);
	}
}

void lease_deny_waiting(struct lease *lease)
{
	struct opener *opener;

	while ((opener = TAILQ_FIRST(&lease->waiting))) {
		TAILQ_REMOVE(&lease->waiting, opener, waiting);
		deny(lease, opener, "the delivery is not to be had");
	}
}

static void on_guarded_again(struct delivery *delivery, int status, const char *detail)
{
	struct lease *lease = container_of(delivery, struct lease, delivery);

	if (!lease_step_done(lease))
		return;
	if (status == 0) {
		lease->keeps_guard = true;
		if (lease->group == GUARD_NO_GROUP)
			lease->group = guard_shared_group(lease->context->guard);
		lease_save(lease);
		lease_audit(lease, "guard", "granted",
			"another container shares the pid namespace: every open is asked for");
		return;
	}
	/* With another mounter it is looked for again, and guarded as it should be then. */
	if (status == -ECONNRESET)
		return;
	lease_audit(lease, "guard", "refused", detail);
	lease_end(lease, detail);
}

static void on_located_again(struct delivery *delivery, int status, const char *detail)
{
	if (status == 0) {
		status = delivery_retreat(delivery, true, on_guarded_again);
		detail = "mayfly-mounter is being restarted";
	}
	if (status < 0)
		on_guarded_again(delivery, status, detail);
}

/* What a container has asked for itself has none yet, and may have the shared one. */
static bool can_be_guarded(const struct lease *lease)
{
	return lease->group != GUARD_NO_GROUP ||
	       (lease->mode == LEASE_AT_REQUEST && guard_is_available(lease->context->guard) &&
		       (lease->context->mounter_abilities & MOUNTER_HAS_OPEN_GUARD));
}

void lease_guard_again(struct lease *lease)
{
	if (lease->state != LEASE_RELEASED || lease->is_waiting || lease->keeps_guard ||
		!can_be_guarded(lease) || !lease_keeps_guard(lease))
		return;
	lease->is_waiting = true;
	/* Without a mounter: as in on_guarded_again(). */
	if (delivery_locate(&lease->delivery, lease->init.pidfd, lease->holder.target,
		    on_located_again) < 0)
		lease->is_waiting = false;
}

void lease_on_joined(struct lease *lease, const struct container_facts *facts)
{
	if (facts->shares_pid_namespace && strcmp(lease_container_id(lease), facts->id) == 0) {
		lease->is_joined = true;
		lease_guard_again(lease);
	}
}

/* Whoever cannot be in a candidate's cgroup would only wait for the deadline: the engine that
 * copies for `docker cp`, a process of the host. */
static bool can_be_the_one(const struct lease *lease, const struct opener *opener)
{
	const struct cgroup_roots *roots = &lease->context->roots;
	const struct lease_beginnings *beginnings = lease->beginnings;

	if (beginnings->bundled_id[0])
		return cgroup_mentions(roots, opener->pid, beginnings->bundled_id);
	for (size_t i = 0; i < beginnings->candidates_count; i++)
		if (cgroup_mentions(roots, opener->pid, beginnings->candidates[i].id))
			return true;
	/* Taken up after a restart: who it was armed for is not known any more. */
	return beginnings->candidates_count == 0;
}

static void on_late_waiting(struct opener *opener)
{
	struct lease *lease = opener->owner;

	TAILQ_REMOVE(&lease->waiting, opener, waiting);
	record_denied(lease, opener, "no verified start within 10 s");
}

void lease_on_open(struct lease *lease, struct opener *opener)
{
	if (lease->state == LEASE_RELEASED || lease->is_verified) {
		attest(lease, opener);
		return;
	}
	if (lease->state != LEASE_ARMED && lease->state != LEASE_STARTING &&
		lease->state != LEASE_ARMING) {
		deny(lease, opener, "the delivery is not to be had");
		return;
	}
	if (!can_be_the_one(lease, opener)) {
		deny(lease, opener,
			"it is not in the cgroup of a container that this was mounted for");
		return;
	}
	/* Until the start is verified. The guard bounds the wait. */
	opener->owner = lease;
	opener->on_late = on_late_waiting;
	TAILQ_INSERT_TAIL(&lease->waiting, opener, waiting);
}
