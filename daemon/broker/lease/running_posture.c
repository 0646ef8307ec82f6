#include "daemon/broker/lease/running_posture.h"

#include <stdio.h>

bool running_posture_read(const struct lease_context *context, const struct container_process *init,
	const struct container_facts *facts, uint32_t flags, struct running_posture *ret_running)
{
	struct process_status status;
	struct mayfly_error err;

	if (process_status_read(&context->roots, init->pid, &status, &err) < 0 ||
		!process_is_alive(init->pidfd))
		return false;
	*ret_running = (struct running_posture){
		.uid = status.uid,
		.uid_offset = facts->uid_offset,
		.capabilities_bounding = status.capabilities_bounding,
		.capabilities_effective = status.capabilities_effective,
		.own_user_namespace = facts->uid_offset != 0,
		.no_new_privileges = status.no_new_privileges,
		.host_pid_namespace = flags & MOUNTER_HOST_PID_NAMESPACE,
		.host_ipc_namespace = flags & MOUNTER_HOST_IPC_NAMESPACE,
		.host_cgroup_namespace = flags & MOUNTER_HOST_CGROUP_NAMESPACE,
		.read_only_root = flags & MOUNTER_ROOT_READ_ONLY,
		.cgroup_v1 = !context->roots.is_v2_only,
	};
	return true;
}

bool running_posture_holds(
	const struct plan *plan, const struct running_posture *running, char *why, size_t why_size)
{
	for (size_t i = 0; i < plan->files_count; i++) {
		const struct policy_grant *grant = plan->files[i].grant;
		const enum posture_key broken = posture_running_violation(&grant->require, running);

		if (broken != POSTURE_FINE) {
			(void)snprintf(why, why_size,
				"grant %s refuses %s (as the kernel shows it)", grant->name,
				posture_advice(broken));
			return false;
		}
	}
	return true;
}

void running_posture_note(struct trail *trail, const struct container_process *init,
	const struct running_posture *running)
{
	trail_add(trail, STEP_PASSED, "running posture",
		"as the kernel shows process %d: uid %u, CapBnd %#llx, %s", init->pid, running->uid,
		(unsigned long long)running->capabilities_bounding,
		running->no_new_privileges ? "no_new_privs" : "no no_new_privs");
}
