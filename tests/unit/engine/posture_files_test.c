#include "daemon/engine/facts/posture_files.h"

#include "unit_test.h"

#include <errno.h>
#include <string.h>

#define PLAIN "\"Privileged\":false,\"ReadonlyRootfs\":false"

static const struct {
	const char *reads_as;
	const char *host;
	const char *config;
	const char *member;
	const char *expect; /* JSON; NULL: the files are refused */
} rows[] = {
	{ "privileged", "{\"Privileged\":true,\"ReadonlyRootfs\":false}", "{}", "privileged",
		"true" },
	{ "not privileged", "{" PLAIN "}", "{}", "privileged", "false" },
	{ "privileged as a word is refused", "{\"Privileged\":\"true\",\"ReadonlyRootfs\":false}",
		"{}", "privileged", NULL },
	{ "privileged left out is refused", "{\"ReadonlyRootfs\":false}", "{}", "privileged",
		NULL },
	{ "a read-only root", "{\"Privileged\":false,\"ReadonlyRootfs\":true}", "{}",
		"read_only_root", "true" },
	{ "no option about new privileges", "{" PLAIN "}", "{}", "no_new_privileges", "false" },
	{ "no-new-privileges", "{" PLAIN ",\"SecurityOpt\":[\"no-new-privileges\"]}", "{}",
		"no_new_privileges", "true" },
	{ "no-new-privileges=true", "{" PLAIN ",\"SecurityOpt\":[\"no-new-privileges=true\"]}",
		"{}", "no_new_privileges", "true" },
	{ "no-new-privileges:true", "{" PLAIN ",\"SecurityOpt\":[\"no-new-privileges:true\"]}",
		"{}", "no_new_privileges", "true" },
	{ "no-new-privileges=1", "{" PLAIN ",\"SecurityOpt\":[\"no-new-privileges=1\"]}", "{}",
		"no_new_privileges", "true" },
	{ "no-new-privileges=false", "{" PLAIN ",\"SecurityOpt\":[\"no-new-privileges=false\"]}",
		"{\"NoNewPrivileges\":true}", "no_new_privileges", "false" },
	{ "the last option wins",
		"{" PLAIN ",\"SecurityOpt\":[\"no-new-privileges\",\"no-new-privileges=false\"]}",
		"{}", "no_new_privileges", "false" },
	{ "an option that only begins like it",
		"{" PLAIN ",\"SecurityOpt\":[\"no-new-privileges2\"]}", "{}", "no_new_privileges",
		"false" },
	{ "another option", "{" PLAIN ",\"SecurityOpt\":[\"seccomp=unconfined\"]}", "{}",
		"no_new_privileges", "false" },
	{ "the engine's own default", "{" PLAIN ",\"SecurityOpt\":null}",
		"{\"NoNewPrivileges\":true}", "no_new_privileges", "true" },
	{ "options that are no list are refused", "{" PLAIN ",\"SecurityOpt\":\"x\"}", "{}",
		"no_new_privileges", NULL },
	{ "capabilities in every spelling",
		"{" PLAIN ",\"CapAdd\":[\"sys_admin\",\"CAP_NET_ADMIN\",\"cap_sys_ptrace\"]}", "{}",
		"capabilities_added", "[\"SYS_ADMIN\",\"NET_ADMIN\",\"SYS_PTRACE\"]" },
	{ "all capabilities dropped", "{" PLAIN ",\"CapDrop\":[\"all\"]}", "{}",
		"capabilities_dropped", "[\"ALL\"]" },
	{ "no capabilities named", "{" PLAIN ",\"CapDrop\":null}", "{}", "capabilities_dropped",
		"[]" },
	{ "a capability that is no word is refused", "{" PLAIN ",\"CapAdd\":[7]}", "{}",
		"capabilities_added", NULL },
	{ "a capability without a name is refused", "{" PLAIN ",\"CapAdd\":[\"CAP_\"]}", "{}",
		"capabilities_added", NULL },
	{ "a limit of processes", "{" PLAIN ",\"PidsLimit\":100}", "{}", "pids_limit", "100" },
	{ "no limit of processes", "{" PLAIN ",\"PidsLimit\":null}", "{}", "pids_limit", "0" },
	{ "minus one is no limit", "{" PLAIN ",\"PidsLimit\":-1}", "{}", "pids_limit", "0" },
	{ "a limit that is no number is refused", "{" PLAIN ",\"PidsLimit\":\"7\"}", "{}",
		"pids_limit", NULL },
	{ "a limit of memory", "{" PLAIN ",\"Memory\":9223372036854775807}", "{}", "memory_limit",
		"9223372036854775807" },
	{ "the host's processes", "{" PLAIN ",\"PidMode\":\"host\"}", "{}", "pid_mode",
		"\"host\"" },
	{ "another's processes", "{" PLAIN ",\"PidMode\":\"container:x\"}", "{}", "pid_mode",
		"\"container:x\"" },
	{ "the host's memory", "{" PLAIN ",\"IpcMode\":\"host\"}", "{}", "ipc_mode", "\"host\"" },
	{ "an older engine's cgroup namespace", "{" PLAIN "}", "{}", "cgroupns_mode", "\"\"" },
	{ "the host's cgroups", "{" PLAIN ",\"CgroupnsMode\":\"host\"}", "{}", "cgroupns_mode",
		"\"host\"" },
	{ "a mode that is no word is refused", "{" PLAIN ",\"PidMode\":{}}", "{}", "pid_mode",
		NULL },
};

START_TEST(posture_is_read)
{
	json_t *host = json_loads(rows[_i].host, 0, NULL);
	json_t *config = json_loads(rows[_i].config, 0, NULL);
	json_t *expect =
		rows[_i].expect ? json_loads(rows[_i].expect, JSON_DECODE_ANY, NULL) : NULL;
	struct mayfly_error error = { 0 };
	json_t *facts = json_object();
	int r;

	ck_assert_ptr_nonnull(host);
	r = posture_add(facts, host, config, &error);
	ck_assert_msg(r == (expect ? 0 : -EBADMSG), "%s: %d %s", rows[_i].reads_as, r, error.text);
	if (expect)
		ck_assert_msg(json_equal(json_object_get(facts, rows[_i].member), expect), "%s",
			rows[_i].reads_as);
	json_decref(facts);
	json_decref(expect);
	json_decref(config);
	json_decref(host);
}
END_TEST

static void add(TCase *cases)
{
	tcase_add_loop_test(cases, posture_is_read, 0, sizeof rows / sizeof rows[0]);
}

int main(void)
{
	return unit_test_run("posture_files", add);
}
