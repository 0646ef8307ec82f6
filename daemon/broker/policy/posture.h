/* Is this container in the posture that a grant requires? Pure: no I/O, no clock, no allocation.
 * Judged twice: on what the engine will run (its own files), and on what the kernel says that runs.
 */
#pragma once

#include "daemon/broker/policy/policy.h"

enum posture_key {
	POSTURE_FINE = 0,
	POSTURE_PRIVILEGED,
	POSTURE_HOST_NAMESPACES,
	POSTURE_ENGINE_SOCKET,
	POSTURE_SYS_ADMIN,
	POSTURE_NON_ROOT,
	POSTURE_READ_ONLY_ROOT,
	POSTURE_CAPABILITIES_DROPPED,
	POSTURE_NO_NEW_PRIVILEGES,
	POSTURE_PIDS_LIMIT,
	POSTURE_MEMORY_LIMIT,
	POSTURE_IMAGE_DIGEST,
};

/* What the kernel says about a container's init, from /proc/PID/status and its namespaces. */
struct running_posture {
	uint32_t uid;			 /* real uid on the host */
	uint32_t uid_offset;		 /* of the engine's user namespace map */
	uint64_t capabilities_bounding;	 /* CapBnd, relative to its user namespace */
	uint64_t capabilities_effective; /* CapEff */
	bool own_user_namespace;	 /* its user namespace is not the host's */
	bool no_new_privileges;
	bool host_pid_namespace, host_ipc_namespace, host_cgroup_namespace;
	bool read_only_root;
	bool cgroup_v1; /* there the engine's default is the host's cgroup namespace: not judged */
};

/* The first requirement that FACTS breaks, or POSTURE_FINE. `host_namespaces` is pid and ipc, and
 * cgroup where CGROUP_VERSION is 2 (on version 1 the host's is the engine's default). */
enum posture_key posture_violation(const struct policy_require *require,
	const struct container_facts *facts, int cgroup_version);

/* The first requirement that RUNNING breaks, or POSTURE_FINE. A requirement that the kernel does
 * not show (limits, digest, engine socket) is not judged here: the engine's files were.
 * ASKED_NON_ROOT and the like come from REQUIRE. */
enum posture_key posture_running_violation(
	const struct policy_require *require, const struct running_posture *running);

/* True when root in the container may read files of every owner (CAP_DAC_OVERRIDE is in the
 * engine's default). For warnings, not for decisions. */
bool posture_root_reads_all(const struct container_facts *facts);

/* "a privileged container; remove `privileged: true`": what was found and what to change. */
const char *posture_advice(enum posture_key key);

/* The key as it stands in the file: "privileged", "non_root", ... */
const char *posture_name(enum posture_key key);
