#include "daemon/broker/identity/peer_verdict.h"

#include "unit_test.h"

#include <string.h>

enum {
	IN_CGROUP = 1,
	IN_MOUNT_NAMESPACE = 2,
	IN_PID_NAMESPACE = 4,
	CGROUPS_ARE_READ_ONLY = 8,
	IS_ALIVE = 16,
	INIT_IS_ALIVE = 32,
	ALL = 63,
};

static struct peer_facts facts_of(unsigned bits)
{
	return (struct peer_facts){
		.in_cgroup = bits & IN_CGROUP,
		.in_mount_namespace = bits & IN_MOUNT_NAMESPACE,
		.in_pid_namespace = bits & IN_PID_NAMESPACE,
		.cgroups_are_read_only = bits & CGROUPS_ARE_READ_ONLY,
		.is_alive = bits & IS_ALIVE,
		.init_is_alive = bits & INIT_IS_ALIVE,
	};
}

static const struct {
	const char *reads_as;
	unsigned missing;
	const char *says; /* NULL: it is the container */
} rows[] = {
	{ "every fact holds", 0, NULL },
	{ "it moved itself, or is in another container below", IN_CGROUP,
		"cgroup of the container's init" },
	{ "in the victim's cgroup with a mount namespace of its own", IN_MOUNT_NAMESPACE,
		"mount namespace" },
	{ "a container inside the container that shares its mounts", IN_PID_NAMESPACE,
		"pid namespace" },
	{ "it could put itself into any cgroup", CGROUPS_ARE_READ_ONLY, "mount it read-only" },
	{ "its container has ended meanwhile", INIT_IS_ALIVE, "container has ended" },
	{ "its number may be another process's by now", IS_ALIVE, "has connected has ended" },
	{ "nothing is known of it", ALL, "has connected has ended" },
};

START_TEST(a_verdict)
{
	const struct peer_facts facts = facts_of(ALL & ~rows[_i].missing);
	const char *failed = peer_failed_fact(&facts);

	ck_assert_msg(peer_is_container(&facts) == !rows[_i].says, "%s", rows[_i].reads_as);
	if (rows[_i].says)
		ck_assert_msg(failed && strstr(failed, rows[_i].says), "%s: %s", rows[_i].reads_as,
			failed ? failed : "nothing fails");
	else
		ck_assert_ptr_null(failed);
}
END_TEST

START_TEST(only_all_facts_together_prove_it)
{
	for (unsigned bits = 0; bits <= ALL; bits++) {
		const struct peer_facts facts = facts_of(bits);

		ck_assert_int_eq(peer_is_container(&facts), bits == ALL);
	}
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, a_verdict, 0, sizeof rows / sizeof rows[0]);
	tcase_add_test(cases, only_all_facts_together_prove_it);
}

int main(void)
{
	return unit_test_run("peer_verdict", add);
}
