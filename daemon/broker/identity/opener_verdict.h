/* The three facts that an open must bring, and the verdict. Pure. Tests replace this file by
 * variants that look at one fact only, to show that each of the others stops an attack. */
#pragma once

#include <stdbool.h>

struct opener_facts {
	bool in_cgroup;		 /* init's cgroup or below, no other known container on the way */
	bool through_own_mount;	 /* the mount of the event is the delivery's in init's mount
				    namespace */
	bool in_mount_namespace; /* a living thread of the opener is in init's mount namespace */
	bool is_alive;		 /* its pidfd says so, after all of these were read */
};

bool opener_may_read(const struct opener_facts *facts);

/* The first fact that fails, for audit: "mount", "cgroup", ... or NULL. */
const char *opener_failed_fact(const struct opener_facts *facts);
