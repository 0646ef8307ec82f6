/* Who is at the other end of a container socket's connection? Asked of the kernel and of the
 * engine, never of the process itself: the connected process, as a pidfd -> its place in the cgroup
 * tree -> the outermost known container there -> the engine's init for it, pinned -> its cgroup,
 * mount and pid namespace are init's (the mounter compares the namespaces: a process without
 * capabilities may not) Each step leaves a fact with how it is known. The verdict is
 * identity/peer_verdict.h's. Loop thread only. */
#pragma once

#include "daemon/broker/request/broker.h"

/* A process that was found to be in a container. Owned; attested_done() empties it. */
struct attested {
	pid_t pid;
	struct cgroup_chain place;
	unsigned engine;
	struct container_facts facts; /* as the engine says */
	struct container_process init;
	uint32_t flags; /* what the mounter has seen (enum mounter_reply_flags) */
	json_t *steps;	/* [{"fact", "value", "known_by"}] */
};

void attested_done(struct attested *attested);

/* Again, right before something is released: PIDFD is of the process that was attested, it lives,
 * it is where it was, and so is init. Returns NULL, or the fact that failed. Does not block. */
const char *attested_fails(const struct broker *broker, const struct attested *attested, int pidfd);

struct attestation;

/* STATUS 0 with ATTESTED (the callee takes it over); -EPERM with WHY it cannot be taken for a
 * container; -EAGAIN with WHY it cannot be told now. */
typedef void attestation_done_function(
	void *data, int status, struct attested *attested, const char *why);

/* Asks about the process behind PIDFD (borrowed), whose pid is PID. Returns 0, and ON_DONE is
 * called once, never before this returns; or a negative errno, and it is never called.
 * *RET_ATTESTATION is valid until then. */
int attestation_start(struct broker *broker, int pidfd, pid_t pid,
	attestation_done_function *on_done, void *data, struct attestation **ret_attestation);

/* ON_DONE is not called any more. */
void attestation_abandon(struct attestation *attestation);

/* A container has become known: those whose container was not known yet are looked at again. */
void attestations_wake(struct broker *broker);

/* The key of whoever is at PID for fairness: of its container, of its cgroup where nobody but root
 * could have made that, or of its user on the host. */
uint64_t peer_share_key(const struct broker *broker, int pidfd, pid_t pid, uid_t uid);
