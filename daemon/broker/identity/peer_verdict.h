/* What a process on the container socket must be, to be taken for the container that its cgroup
 * says; and the verdict. Pure. Tests replace this file by variants that look at one fact only, to
 * show that each of the others stops an attack. */
#pragma once

#include <stdbool.h>

struct peer_facts {
	bool in_cgroup;		 /* of the container's init or below, no other container between */
	bool in_mount_namespace; /* of the container's init */
	bool in_pid_namespace;	 /* of the container's init */
	bool cgroups_are_read_only; /* the container cannot put itself into another cgroup */
	bool is_alive; /* the process that has connected, after all of these were read */
	bool init_is_alive;
};

bool peer_is_container(const struct peer_facts *facts);

/* The first fact that fails, in words for whoever asked; NULL when none does. */
const char *peer_failed_fact(const struct peer_facts *facts);
