#include "daemon/broker/policy/posture.h"

#include <string.h>

#define CAPABILITY_SYS_ADMIN ((uint64_t)1 << 21)

/* What the engine gives a container that drops nothing: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL,
 * SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP. */
#define CAPABILITIES_DEFAULT                                                                 \
	(1ULL << 0 | 1ULL << 1 | 1ULL << 3 | 1ULL << 4 | 1ULL << 5 | 1ULL << 6 | 1ULL << 7 | \
		1ULL << 8 | 1ULL << 10 | 1ULL << 13 | 1ULL << 18 | 1ULL << 27 | 1ULL << 29 | \
		1ULL << 31)

static bool has_word(json_t *array, const char *word)
{
	json_t *item;
	size_t i;

	json_array_foreach (array, i, item)
		if (strcmp(json_string_value(item), word) == 0)
			return true;
	return false;
}

static bool is_host(const char *mode)
{
	return strcmp(mode, "host") == 0;
}

/* On version 1 the host's cgroup namespace is the engine's default. Any other number is judged. */
static bool has_host_namespaces(const struct container_facts *facts, int cgroup_version)
{
	return is_host(facts->pid_mode) || is_host(facts->ipc_mode) ||
	       (cgroup_version != 1 && is_host(facts->cgroupns_mode));
}

/* The engine's rules: what is added wins over "drop ALL", what is dropped wins over "add ALL". A
 * name that is both added and dropped is believed to be there. */
static bool has_sys_admin(const struct container_facts *facts)
{
	return facts->privileged || has_word(facts->capabilities_added, "SYS_ADMIN") ||
	       (has_word(facts->capabilities_added, "ALL") &&
		       !has_word(facts->capabilities_dropped, "SYS_ADMIN"));
}

/* An unknown user is no proof of anything. */
static bool may_be_root(const struct container_facts *facts)
{
	return facts->user_error || facts->uid == 0;
}

static bool has_dropped_capabilities(const struct container_facts *facts)
{
	return !facts->privileged && has_word(facts->capabilities_dropped, "ALL") &&
	       !has_word(facts->capabilities_added, "ALL");
}

bool posture_root_reads_all(const struct container_facts *facts)
{
	if (facts->privileged || has_word(facts->capabilities_added, "DAC_OVERRIDE") ||
		has_word(facts->capabilities_added, "DAC_READ_SEARCH"))
		return true;
	if (has_word(facts->capabilities_dropped, "DAC_OVERRIDE"))
		return false;
	return has_word(facts->capabilities_added, "ALL") ||
	       !has_word(facts->capabilities_dropped, "ALL");
}

enum posture_key posture_violation(const struct policy_require *require,
	const struct container_facts *facts, int cgroup_version)
{
	if (!require->allow_privileged && facts->privileged)
		return POSTURE_PRIVILEGED;
	if (!require->allow_host_namespaces && has_host_namespaces(facts, cgroup_version))
		return POSTURE_HOST_NAMESPACES;
	if (!require->allow_engine_socket && facts->engine_socket)
		return POSTURE_ENGINE_SOCKET;
	if (!require->allow_sys_admin && has_sys_admin(facts))
		return POSTURE_SYS_ADMIN;
	if (require->non_root && may_be_root(facts))
		return POSTURE_NON_ROOT;
	if (require->read_only_root && !facts->read_only_root)
		return POSTURE_READ_ONLY_ROOT;
	if (require->capabilities_dropped && !has_dropped_capabilities(facts))
		return POSTURE_CAPABILITIES_DROPPED;
	if (require->no_new_privileges && !facts->no_new_privileges)
		return POSTURE_NO_NEW_PRIVILEGES;
	if (require->pids_limit && facts->pids_limit <= 0)
		return POSTURE_PIDS_LIMIT;
	if (require->memory_limit && facts->memory_limit <= 0)
		return POSTURE_MEMORY_LIMIT;
	if (require->image_digest && !has_word(facts->image_digests, require->image_digest))
		return POSTURE_IMAGE_DIGEST;
	return POSTURE_FINE;
}

static bool runs_in_host_namespaces(const struct running_posture *running)
{
	return running->host_pid_namespace || running->host_ipc_namespace ||
	       (running->host_cgroup_namespace && !running->cgroup_v1);
}

/* A user below the offset is in no map that we know: it is not believed to be an ordinary one. */
static bool runs_as_root(const struct running_posture *running)
{
	if (running->uid == 0)
		return true;
	return running->own_user_namespace && running->uid <= running->uid_offset;
}

/* The kernel does not tell "all dropped, these added" from fewer; a full default set is neither. */
static bool runs_with_default_capabilities(const struct running_posture *running)
{
	return (running->capabilities_bounding & CAPABILITIES_DEFAULT) == CAPABILITIES_DEFAULT;
}

enum posture_key posture_running_violation(
	const struct policy_require *require, const struct running_posture *running)
{
	const uint64_t capabilities =
		running->capabilities_bounding | running->capabilities_effective;

	if (!require->allow_host_namespaces && runs_in_host_namespaces(running))
		return POSTURE_HOST_NAMESPACES;
	if (!require->allow_sys_admin && (capabilities & CAPABILITY_SYS_ADMIN))
		return POSTURE_SYS_ADMIN;
	if (require->non_root && runs_as_root(running))
		return POSTURE_NON_ROOT;
	if (require->read_only_root && !running->read_only_root)
		return POSTURE_READ_ONLY_ROOT;
	if (require->capabilities_dropped && runs_with_default_capabilities(running))
		return POSTURE_CAPABILITIES_DROPPED;
	if (require->no_new_privileges && !running->no_new_privileges)
		return POSTURE_NO_NEW_PRIVILEGES;
	return POSTURE_FINE;
}

static const struct {
	enum posture_key key;
	const char *name;
	const char *advice;
} postures[] = {
	{ POSTURE_PRIVILEGED, "privileged", "a privileged container; remove `privileged: true`" },
	{ POSTURE_HOST_NAMESPACES, "host_namespaces",
		"a container in a namespace of the host; remove `pid: host`, `ipc: host` or "
		"`cgroup: host`" },
	{ POSTURE_ENGINE_SOCKET, "engine_socket",
		"a container that has the engine's socket; remove that mount" },
	{ POSTURE_SYS_ADMIN, "sys_admin",
		"a container with CAP_SYS_ADMIN; remove `SYS_ADMIN` or `ALL` from `cap_add`, and "
		"`privileged: true`" },
	{ POSTURE_NON_ROOT, "non_root",
		"a container whose user is root or unknown; set `user:` to another user's number" },
	{ POSTURE_READ_ONLY_ROOT, "read_only_root",
		"a container whose root file system is writable; set `read_only: true`" },
	{ POSTURE_CAPABILITIES_DROPPED, "capabilities_dropped",
		"a container that keeps the engine's capabilities; set `cap_drop: [ALL]`" },
	{ POSTURE_NO_NEW_PRIVILEGES, "no_new_privileges",
		"a container whose programs can gain privileges; set "
		"`security_opt: [no-new-privileges:true]`" },
	{ POSTURE_PIDS_LIMIT, "pids_limit",
		"a container without a limit of processes; set `pids_limit:`" },
	{ POSTURE_MEMORY_LIMIT, "memory_limit",
		"a container without a limit of memory; set `mem_limit:`" },
	{ POSTURE_IMAGE_DIGEST, "image.digest",
		"an image of another digest; run the image that the grant names, or change "
		"`image.digest` in the grant" },
};

const char *posture_advice(enum posture_key key)
{
	for (size_t i = 0; i < sizeof postures / sizeof postures[0]; i++)
		if (postures[i].key == key)
			return postures[i].advice;
	return "a container in an unknown posture";
}

const char *posture_name(enum posture_key key)
{
	for (size_t i = 0; i < sizeof postures / sizeof postures[0]; i++)
		if (postures[i].key == key)
			return postures[i].name;
	return "posture";
}
