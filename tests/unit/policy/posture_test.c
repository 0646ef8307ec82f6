#include "daemon/broker/policy/posture.h"

#include "policy/policy_example.h"
#include "unit_test.h"

#define FINE	   POSTURE_FINE
#define SYS_ADMIN  (1ULL << 21)
#define DEFAULT_14 0xa80425fbULL

/* The container of policy_example.h with CHANGES, under REQUIRE. */
static const struct {
	const char *reads_as;
	const char *changes;
	struct policy_require require;
	int cgroup_version;
	enum posture_key expect;
} configured[] = {
	{ "nothing asked", "{}", { 0 }, 2, FINE },
	{ "a privileged container", "{\"privileged\": true}", { 0 }, 2, POSTURE_PRIVILEGED },
	{ "a privileged container that is allowed still has SYS_ADMIN", "{\"privileged\": true}",
		{ .allow_privileged = true }, 2, POSTURE_SYS_ADMIN },
	{ "both allowed", "{\"privileged\": true}",
		{ .allow_privileged = true, .allow_sys_admin = true }, 2, FINE },
	{ "the host's pid namespace", "{\"pid_mode\": \"host\"}", { 0 }, 2,
		POSTURE_HOST_NAMESPACES },
	{ "the host's ipc namespace", "{\"ipc_mode\": \"host\"}", { 0 }, 2,
		POSTURE_HOST_NAMESPACES },
	{ "the host's cgroup namespace", "{\"cgroupns_mode\": \"host\"}", { 0 }, 2,
		POSTURE_HOST_NAMESPACES },
	{ "the host's cgroup namespace on version 1", "{\"cgroupns_mode\": \"host\"}", { 0 }, 1,
		FINE },
	{ "the host's cgroup namespace on an unknown version", "{\"cgroupns_mode\": \"host\"}",
		{ 0 }, 0, POSTURE_HOST_NAMESPACES },
	{ "the host's pid namespace on version 1", "{\"pid_mode\": \"host\"}", { 0 }, 1,
		POSTURE_HOST_NAMESPACES },
	{ "host namespaces that are allowed", "{\"pid_mode\": \"host\", \"ipc_mode\": \"host\"}",
		{ .allow_host_namespaces = true }, 2, FINE },
	{ "another container's pid namespace", "{\"pid_mode\": \"container:x\"}", { 0 }, 2, FINE },
	{ "the engine's socket", "{\"engine_socket\": true}", { 0 }, 2, POSTURE_ENGINE_SOCKET },
	{ "the engine's socket that is allowed", "{\"engine_socket\": true}",
		{ .allow_engine_socket = true }, 2, FINE },
	{ "SYS_ADMIN added", "{\"capabilities_added\": [\"NET_ADMIN\", \"SYS_ADMIN\"]}", { 0 }, 2,
		POSTURE_SYS_ADMIN },
	{ "all added", "{\"capabilities_added\": [\"ALL\"]}", { 0 }, 2, POSTURE_SYS_ADMIN },
	{ "all added but SYS_ADMIN",
		"{\"capabilities_added\": [\"ALL\"], \"capabilities_dropped\": [\"SYS_ADMIN\"]}",
		{ 0 }, 2, FINE },
	{ "SYS_ADMIN added and dropped",
		"{\"capabilities_added\": [\"SYS_ADMIN\"],"
		" \"capabilities_dropped\": [\"SYS_ADMIN\"]}",
		{ 0 }, 2, POSTURE_SYS_ADMIN },
	{ "SYS_ADMIN that is allowed", "{\"capabilities_added\": [\"SYS_ADMIN\"]}",
		{ .allow_sys_admin = true }, 2, FINE },
	{ "another capability", "{\"capabilities_added\": [\"NET_ADMIN\"]}", { 0 }, 2, FINE },
	{ "a user that is not root", "{}", { .non_root = true }, 2, FINE },
	{ "root", "{\"user\": {\"text\": \"\", \"uid\": 0, \"gid\": 0, \"error\": null}}",
		{ .non_root = true }, 2, POSTURE_NON_ROOT },
	{ "a user that nobody knows",
		"{\"user\": {\"text\": \"app\", \"uid\": 5, \"gid\": 0, \"error\": \"no\"}}",
		{ .non_root = true }, 2, POSTURE_NON_ROOT },
	{ "root that nobody minds",
		"{\"user\": {\"text\": \"\", \"uid\": 0, \"gid\": 0, \"error\": null}}", { 0 }, 2,
		FINE },
	{ "a read-only root", "{}", { .read_only_root = true }, 2, FINE },
	{ "a writable root", "{\"read_only_root\": false}", { .read_only_root = true }, 2,
		POSTURE_READ_ONLY_ROOT },
	{ "dropped capabilities", "{}", { .capabilities_dropped = true }, 2, FINE },
	{ "dropped capabilities with one back", "{\"capabilities_added\": [\"CHOWN\"]}",
		{ .capabilities_dropped = true }, 2, FINE },
	{ "one dropped capability", "{\"capabilities_dropped\": [\"CHOWN\"]}",
		{ .capabilities_dropped = true }, 2, POSTURE_CAPABILITIES_DROPPED },
	{ "all dropped and all added", "{\"capabilities_added\": [\"ALL\"]}",
		{ .capabilities_dropped = true, .allow_sys_admin = true }, 2,
		POSTURE_CAPABILITIES_DROPPED },
	{ "dropped by a privileged container", "{\"privileged\": true}",
		{ .capabilities_dropped = true, .allow_privileged = true, .allow_sys_admin = true },
		2, POSTURE_CAPABILITIES_DROPPED },
	{ "no new privileges", "{}", { .no_new_privileges = true }, 2, FINE },
	{ "new privileges", "{\"no_new_privileges\": false}", { .no_new_privileges = true }, 2,
		POSTURE_NO_NEW_PRIVILEGES },
	{ "a limit of processes", "{}", { .pids_limit = true }, 2, FINE },
	{ "no limit of processes", "{\"pids_limit\": 0}", { .pids_limit = true }, 2,
		POSTURE_PIDS_LIMIT },
	{ "a limit of minus one", "{\"pids_limit\": -1}", { .pids_limit = true }, 2,
		POSTURE_PIDS_LIMIT },
	{ "a limit of memory", "{}", { .memory_limit = true }, 2, FINE },
	{ "no limit of memory", "{\"memory_limit\": 0}", { .memory_limit = true }, 2,
		POSTURE_MEMORY_LIMIT },
	{ "the image's own digest", "{}", { .image_digest = DIGEST_A }, 2, FINE },
	{ "a repository's digest", "{}", { .image_digest = DIGEST_B }, 2, FINE },
	{ "another digest", "{}", { .image_digest = DIGEST_C }, 2, POSTURE_IMAGE_DIGEST },
	{ "the first of several", "{\"privileged\": true, \"pid_mode\": \"host\"}", { 0 }, 2,
		POSTURE_PRIVILEGED },
};

START_TEST(what_the_engine_will_run_is_judged)
{
	struct container_facts facts = container_example(configured[_i].changes);
	const enum posture_key found =
		posture_violation(&configured[_i].require, &facts, configured[_i].cgroup_version);

	ck_assert_msg(found == configured[_i].expect, "%s: %s", configured[_i].reads_as,
		posture_name(found));
	container_facts_done(&facts);
}
END_TEST

/* A user and a bounding set, on a read-only root, without new privileges; and what comes on top. */
#define RUNS(user, bounding, ...)                                                              \
	{                                                                                      \
		.uid = (user), .capabilities_bounding = (bounding), .no_new_privileges = true, \
		.read_only_root = true, __VA_ARGS__                                            \
	}

static const struct policy_require everything = { .non_root = true,
	.read_only_root = true,
	.capabilities_dropped = true,
	.no_new_privileges = true,
	.pids_limit = true,
	.memory_limit = true,
	.image_digest = DIGEST_A };
static const struct policy_require nothing;
static const struct policy_require lenient = { .allow_privileged = true,
	.allow_host_namespaces = true,
	.allow_engine_socket = true,
	.allow_sys_admin = true };

static const struct {
	const char *reads_as;
	const struct policy_require *require;
	struct running_posture running;
	enum posture_key expect;
} running[] = {
	{ "everything as asked", &everything, RUNS(1000, 1, .uid_offset = 0), FINE },
	{ "the host's pid namespace", &nothing, RUNS(1000, 1, .host_pid_namespace = true),
		POSTURE_HOST_NAMESPACES },
	{ "the host's ipc namespace", &nothing, RUNS(1000, 1, .host_ipc_namespace = true),
		POSTURE_HOST_NAMESPACES },
	{ "the host's cgroup namespace", &nothing, RUNS(1000, 1, .host_cgroup_namespace = true),
		POSTURE_HOST_NAMESPACES },
	{ "the host's cgroup namespace on version 1", &nothing,
		RUNS(1000, 1, .host_cgroup_namespace = true, .cgroup_v1 = true), FINE },
	{ "the host's pid namespace that is allowed", &lenient,
		RUNS(1000, 1, .host_pid_namespace = true), FINE },
	{ "SYS_ADMIN in the bounding set", &nothing,
		{ .uid = 1, .capabilities_bounding = SYS_ADMIN }, POSTURE_SYS_ADMIN },
	{ "SYS_ADMIN in effect only", &nothing, { .uid = 1, .capabilities_effective = SYS_ADMIN },
		POSTURE_SYS_ADMIN },
	{ "SYS_ADMIN in a user namespace of its own", &nothing,
		{ .uid = 1, .own_user_namespace = true, .capabilities_bounding = SYS_ADMIN },
		POSTURE_SYS_ADMIN },
	{ "SYS_ADMIN that is allowed", &lenient, { .uid = 0, .capabilities_bounding = SYS_ADMIN },
		FINE },
	{ "the default capabilities", &nothing, { .uid = 0, .capabilities_bounding = DEFAULT_14 },
		FINE },
	{ "the default capabilities where they were to be dropped", &everything,
		RUNS(1000, DEFAULT_14, .uid_offset = 0), POSTURE_CAPABILITIES_DROPPED },
	{ "more than the default", &everything,
		RUNS(1000, DEFAULT_14 | 1ULL << 12, .uid_offset = 0),
		POSTURE_CAPABILITIES_DROPPED },
	{ "root", &everything, RUNS(0, 1, .uid_offset = 0), POSTURE_NON_ROOT },
	{ "root of a user namespace", &everything,
		RUNS(100000, 1, .uid_offset = 100000, .own_user_namespace = true),
		POSTURE_NON_ROOT },
	{ "a user of a user namespace", &everything,
		RUNS(101000, 1, .uid_offset = 100000, .own_user_namespace = true), FINE },
	{ "a user below its own map", &everything,
		RUNS(1000, 1, .uid_offset = 100000, .own_user_namespace = true), POSTURE_NON_ROOT },
	{ "the same user without a namespace of its own", &everything,
		RUNS(1000, 1, .uid_offset = 100000), FINE },
	{ "a writable root", &everything,
		{ .uid = 1000, .capabilities_bounding = 1, .no_new_privileges = true },
		POSTURE_READ_ONLY_ROOT },
	{ "new privileges", &everything,
		{ .uid = 1000, .capabilities_bounding = 1, .read_only_root = true },
		POSTURE_NO_NEW_PRIVILEGES },
};

START_TEST(what_the_kernel_runs_is_judged)
{
	const enum posture_key found =
		posture_running_violation(running[_i].require, &running[_i].running);

	ck_assert_msg(
		found == running[_i].expect, "%s: %s", running[_i].reads_as, posture_name(found));
}
END_TEST

START_TEST(every_refusal_has_a_name_and_says_what_to_change)
{
	for (int key = POSTURE_PRIVILEGED; key <= POSTURE_IMAGE_DIGEST; key++) {
		ck_assert_str_ne(posture_name((enum posture_key)key), "posture");
		ck_assert_ptr_nonnull(strchr(posture_advice((enum posture_key)key), ';'));
	}
	ck_assert_str_eq(posture_advice(POSTURE_PRIVILEGED),
		"a privileged container; remove `privileged: true`");
}
END_TEST

static const struct {
	const char *changes;
	bool reads_all;
} roots[] = {
	{ "{\"capabilities_dropped\": []}", true },
	{ "{\"capabilities_dropped\": [\"DAC_OVERRIDE\"]}", false },
	{ "{\"capabilities_dropped\": [\"ALL\"]}", false },
	{ "{\"capabilities_dropped\": [\"ALL\"], \"capabilities_added\": [\"DAC_OVERRIDE\"]}",
		true },
	{ "{\"capabilities_dropped\": [\"ALL\"], \"capabilities_added\": [\"DAC_READ_SEARCH\"]}",
		true },
	{ "{\"capabilities_dropped\": [\"ALL\"], \"capabilities_added\": [\"CHOWN\"]}", false },
	{ "{\"capabilities_dropped\": [\"ALL\"], \"privileged\": true}", true },
};

START_TEST(root_reads_all_with_one_capability)
{
	struct container_facts facts = container_example(roots[_i].changes);

	ck_assert_msg(
		posture_root_reads_all(&facts) == roots[_i].reads_all, "%s", roots[_i].changes);
	container_facts_done(&facts);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, what_the_engine_will_run_is_judged, 0,
		sizeof configured / sizeof configured[0]);
	tcase_add_loop_test(
		cases, what_the_kernel_runs_is_judged, 0, sizeof running / sizeof running[0]);
	tcase_add_test(cases, every_refusal_has_a_name_and_says_what_to_change);
	tcase_add_loop_test(
		cases, root_reads_all_with_one_capability, 0, sizeof roots / sizeof roots[0]);
}

int main(void)
{
	return unit_test_run("posture", add);
}
