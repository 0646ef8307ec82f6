#include "daemon/broker/request/attestation.h"

#include "daemon/broker/identity/peer_verdict.h"
#include "proto/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENGINE_DEADLINE_MS 5000
#define START_DEADLINE_MS \
	3000 /* from a container's first instruction to the engine's `start` event */
#define SHARE_OF_A_USER (UINT64_C(1) << 63) /* no inode number is that large */

struct attestation {
	TAILQ_ENTRY(attestation) entry; /* while it is a stranger */
	struct handle_group handles;
	struct broker *broker;
	int pidfd; /* owned */
	struct attested attested;
	struct peer_facts facts;
	char id[CONTAINER_ID_LENGTH + 1];
	struct cgroup_identity identity; /* of the container, as known before */
	struct engine_question question;
	bool is_asking, is_stranger;
	struct deadline deadline;
	attestation_done_function *on_done;
	void *data;
};

void attested_done(struct attested *attested)
{
	container_facts_done(&attested->facts);
	container_process_done(&attested->init);
	json_decref(attested->steps);
	*attested = (struct attested){ .init.pidfd = -1 };
}

static void on_empty(struct handle_group *handles)
{
	struct attestation *attestation = container_of(handles, struct attestation, handles);

	attested_done(&attestation->attested);
	fd_close_p(&attestation->pidfd);
	free(attestation);
}

static void be_no_stranger(struct attestation *attestation)
{
	if (attestation->is_stranger)
		TAILQ_REMOVE(&attestation->broker->strangers, attestation, entry);
	attestation->is_stranger = false;
}

/* Its one answer, if somebody still wants it. */
static void finish(struct attestation *attestation, int status, const char *why)
{
	if (!handle_group_end(&attestation->handles))
		return;
	if (attestation->is_asking)
		engine_link_forget(
			attestation->broker->leases.engines[attestation->attested.engine],
			&attestation->question);
	be_no_stranger(attestation);
	if (attestation->on_done)
		attestation->on_done(attestation->data, status, &attestation->attested, why);
	deadline_close(&attestation->deadline);
	handle_group_release(&attestation->handles);
}

static void note(
	struct attestation *attestation, const char *fact, const char *known_by, const char *value)
{
	char shown[256];

	/* A fact that is lost for lack of memory costs an explanation, never a decision. */
	(void)json_array_append_new(attestation->attested.steps,
		json_pack("{s:s, s:s, s:s}", "fact", fact, "value",
			error_quote(shown, sizeof shown, value, strlen(value)), "known_by",
			known_by));
}

static void note_number(struct attestation *attestation, const char *fact, uint64_t number)
{
	char text[24];

	(void)snprintf(text, sizeof text, "%llu", (unsigned long long)number);
	note(attestation, fact, "kernel", text);
}

static bool is_in_cgroup(const struct broker *broker, const struct cgroup_chain *place,
	const struct cgroup_identity *container)
{
	return cgroup_chain_has(place, container) &&
	       !known_containers_cross(broker->leases.known, place, container);
}

/* In a user namespace of the engine's (as the engine says: a process can make one for itself) nobody
 * is the owner of another container's cgroup, whatever the mounts there allow; engines with cgroups
 * of version 1 leave them writable in such a container. */
static bool no_cgroup_is_its(const struct attested *attested, const struct mounter_reply *reply)
{
	return !(reply->flags & MOUNTER_WRITABLE_CGROUP) || attested->facts.uid_offset != 0;
}

/* The last step: what the mounter says of namespaces and cgroup mounts. */
static void on_compared(const struct mounter_reply *reply, int fd, void *data)
{
	struct attestation *attestation = data;
	struct attested *attested = &attestation->attested;
	struct peer_facts *facts = &attestation->facts;
	const char *failed;

	(void)fd;
	if (attestation->handles.is_ending) {
		/* Given up meanwhile. */
	} else if (reply->status < 0 && reply->status != -ESRCH) {
		finish(attestation, -EAGAIN, "mayfly-mounter is being restarted");
	} else {
		facts->in_mount_namespace =
			reply->status == 0 && (reply->flags & MOUNTER_SAME_MOUNT_NAMESPACE);
		facts->in_pid_namespace =
			reply->status == 0 && (reply->flags & MOUNTER_SAME_PID_NAMESPACE);
		facts->cgroups_are_read_only =
			reply->status == 0 && no_cgroup_is_its(attested, reply);
		facts->is_alive = process_is_alive(attestation->pidfd);
		facts->init_is_alive = process_is_alive(attested->init.pidfd);
		attested->flags = reply->flags;
		failed = peer_failed_fact(facts);
		note(attestation, "mount and pid namespace", "kernel", "those of init");
		finish(attestation, peer_is_container(facts) ? 0 : -EPERM, failed ? failed : "");
	}
	handle_group_release(&attestation->handles);
}

static void compare(struct attestation *attestation)
{
	struct mounter_request request = { .op = MOUNTER_OP_COMPARE,
		.flags = MOUNTER_LOOK_AT_MOUNTS };
	const int pidfds[2] = { attestation->attested.init.pidfd, attestation->pidfd };

	handle_group_hold(&attestation->handles);
	if (mounter_link_send(attestation->broker->leases.mounter, &request, pidfds, 2, on_compared,
		    attestation) < 0) {
		finish(attestation, -EAGAIN, "mayfly-mounter is being restarted");
		handle_group_release(&attestation->handles);
	}
}

/* The engine says which process is the container's init; the kernel says where that is. */
static void pin(struct attestation *attestation)
{
	struct attested *attested = &attestation->attested;
	const struct container_facts *facts = &attested->facts;
	struct mayfly_error err;

	if (!facts->object || !facts->running ||
		container_process_pin(&attestation->broker->leases.roots, facts->pid, facts->id,
			&attested->init, &err) < 0) {
		finish(attestation, -EPERM, "its container is not running, as its engine says");
		return;
	}
	note(attestation, "container", "engine", facts->name);
	note_number(attestation, "init", (uint64_t)facts->pid);
	/* What was known of its place before, and what init shows now, must be one. */
	attestation->facts.in_cgroup =
		attestation->identity.id == attested->init.cgroup.id &&
		attestation->identity.hierarchy == attested->init.cgroup.hierarchy &&
		is_in_cgroup(attestation->broker, &attested->place, &attested->init.cgroup);
	note_number(attestation, "cgroup", attested->init.cgroup.id);
	compare(attestation);
}

static void on_facts(struct engine_question *question, const struct container_facts *facts,
	const char *id, const char *why)
{
	struct attestation *attestation = container_of(question, struct attestation, question);

	(void)id;
	(void)why;
	if (facts && !attestation->attested.facts.object && strcmp(facts->id, attestation->id) == 0)
		attestation->attested.facts = container_facts_ref(facts);
}

static void on_facts_done(struct engine_question *question, int status, const char *why)
{
	struct attestation *attestation = container_of(question, struct attestation, question);

	attestation->is_asking = false;
	if (status < 0)
		finish(attestation, status == -ECONNRESET ? -EAGAIN : -EPERM, why);
	else
		pin(attestation);
}

static void on_late(struct deadline *deadline)
{
	struct attestation *attestation = container_of(deadline, struct attestation, deadline);

	if (attestation->is_stranger)
		finish(attestation, -EPERM, "it is in no container that an engine has told of");
	else
		finish(attestation, -EAGAIN, "mayfly-engine gave no answer in 5 s");
}

/* A process may ask before its engine has told of the start. Only one whose cgroup looks like a
 * container's is waited for: whether it is one is another question. */
static void wait_for_start(struct attestation *attestation)
{
	struct broker *broker = attestation->broker;

	if (attestation->is_stranger)
		return;
	if (!cgroup_names_a_container(&broker->leases.roots, attestation->attested.pid)) {
		finish(attestation, -EPERM, "it is in no container that an engine has told of");
		return;
	}
	attestation->is_stranger = true;
	TAILQ_INSERT_TAIL(&broker->strangers, attestation, entry);
	attestation->deadline.on_passed = on_late;
	deadline_arm(&attestation->deadline, START_DEADLINE_MS);
}

/* From the process to a known container. */
static void look_up(struct attestation *attestation)
{
	struct broker *broker = attestation->broker;
	struct attested *attested = &attestation->attested;
	const char *id;
	int r = cgroup_chain_read(&broker->leases.roots, attested->pid, attestation->pidfd,
		CGROUP_NONE, &attested->place);

	if (r < 0) {
		finish(attestation, -EPERM,
			r == -ENOENT ? "it is in no cgroup of its own: a process of the host"
				     : "the process that has connected has ended");
		return;
	}
	id = known_containers_outermost(
		broker->leases.known, &attested->place, &attested->engine, &attestation->identity);
	if (!id) {
		wait_for_start(attestation);
		return;
	}
	be_no_stranger(attestation);
	(void)snprintf(attestation->id, sizeof attestation->id, "%s", id);
	attestation->question.on_facts = on_facts;
	attestation->question.on_done = on_facts_done;
	if (engine_link_containers(broker->leases.engines[attested->engine], attestation->id,
		    &attestation->question) < 0) {
		finish(attestation, -EAGAIN, "mayfly-engine is being restarted");
		return;
	}
	attestation->is_asking = true;
	attestation->deadline.on_passed = on_late;
	deadline_arm(&attestation->deadline, ENGINE_DEADLINE_MS);
}

/* Not from within the call that starts it. */
static void on_begin(struct deadline *deadline)
{
	look_up(container_of(deadline, struct attestation, deadline));
}

void attestations_wake(struct broker *broker)
{
	struct attestation *attestation, *next;

	for (attestation = TAILQ_FIRST(&broker->strangers); attestation; attestation = next) {
		next = TAILQ_NEXT(attestation, entry);
		look_up(attestation);
	}
}

int attestation_start(struct broker *broker, int pidfd, pid_t pid,
	attestation_done_function *on_done, void *data, struct attestation **ret_attestation)
{
	struct attestation *attestation = calloc(1, sizeof *attestation);

	if (!attestation)
		return -ENOMEM;
	attestation->broker = broker;
	attestation->pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 0);
	attestation->attested =
		(struct attested){ .pid = pid, .init.pidfd = -1, .steps = json_array() };
	if (attestation->pidfd < 0 || !attestation->attested.steps) {
		const int code = attestation->pidfd < 0 ? -errno : -ENOMEM;

		fd_close_p(&attestation->pidfd);
		attested_done(&attestation->attested);
		free(attestation);
		return code;
	}
	attestation->on_done = on_done;
	attestation->data = data;
	handle_group_init(&attestation->handles, on_empty);
	deadline_init(&attestation->deadline, broker->loop, &attestation->handles, on_begin);
	note_number(attestation, "process", (uint64_t)pid);
	deadline_arm(&attestation->deadline, 0);
	*ret_attestation = attestation;
	return 0;
}

void attestation_abandon(struct attestation *attestation)
{
	attestation->on_done = NULL;
	finish(attestation, -ECANCELED, "");
}

const char *attested_fails(const struct broker *broker, const struct attested *attested, int pidfd)
{
	struct peer_facts facts = {
		.in_mount_namespace = true, .in_pid_namespace = true, .cgroups_are_read_only = true
	};
	struct cgroup_chain place;

	facts.in_cgroup = cgroup_chain_read(&broker->leases.roots, attested->pid, pidfd,
				  attested->init.cgroup.hierarchy, &place) == 0 &&
			  is_in_cgroup(broker, &place, &attested->init.cgroup);
	facts.is_alive = process_is_alive(pidfd);
	facts.init_is_alive = process_is_alive(attested->init.pidfd);
	return peer_failed_fact(&facts);
}

uint64_t peer_share_key(const struct broker *broker, int pidfd, pid_t pid, uid_t uid)
{
	struct cgroup_chain place;
	struct cgroup_identity identity;
	unsigned engine;

	if (cgroup_chain_read(&broker->leases.roots, pid, pidfd, CGROUP_NONE, &place) < 0)
		return SHARE_OF_A_USER | uid;
	if (known_containers_outermost(broker->leases.known, &place, &engine, &identity))
		return identity.id;
	/* A container that its engine has not told of yet must not be able to take what others have
	 * at their start: most run as one user, root. */
	return place.is_of_root ? place.ids[place.depth - 1] : SHARE_OF_A_USER | uid;
}
