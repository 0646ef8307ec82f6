/* A worker's way into a container: entered, and described by what the kernel shows there. */
#pragma once

#include "daemon/mounter/kernel/namespaces.h"
#include "daemon/mounter/worker_jobs.h"

/* Enters the mount namespace of the container whose init the job names. Refuses a process of the
 * host: nothing of ours is ever looked for or put into the host's own mount table. */
int container_enter(
	const struct job *job, struct namespaces *ret_found, struct mounter_reply *reply);

/* MOUNTER_HOST_*_NAMESPACE: those that FOUND has in common with the host. */
uint32_t container_namespace_flags(const struct job *job, const struct namespaces *found);

/* Fills REPLY with namespaces and what ROOT, the container's root, tells. */
void container_facts_fill(const struct job *job, const struct namespaces *found, int root,
	struct mounter_reply *reply);
