/* Policy files, and what they give to one container. A line "----" begins the next file. */
#include "daemon/broker/policy/plan.h"
#include "proto/secret_name.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#define FILES_MAX 3

static const char *const sets[] = { "common", "dev", "prod" };

static const char container[] =
	"{\"id\":\"eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee\","
	"\"name\":\"shop-web-1\",\"image_name\":\"shop/web:1\",\"image_id\":\"sha256:aa\","
	"\"image_digests\":[],\"labels\":{\"com.docker.compose.project\":\"shop\","
	"\"com.docker.compose.service\":\"web\"},\"volumes\":[{\"name\":\"s\",\"target\":"
	"\"run/"
	"secrets\"}],\"running\":false,\"pid\":0,\"announced\":true,\"root_mounted\":true,"
	"\"health\":\"\","
	"\"user\":{\"text\":\"\",\"uid\":0,\"gid\":0,\"error\":null},\"uid_offset\":0,"
	"\"gid_offset\":0,\"id_count\":4294967295,\"privileged\":false,\"read_only_root\":true,"
	"\"no_new_privileges\":true,\"engine_socket\":false,\"capabilities_added\":[],"
	"\"capabilities_dropped\":[\"ALL\"],\"pids_limit\":9,\"memory_limit\":9,\"pid_mode\":\"\","
	"\"ipc_mode\":\"private\",\"cgroupns_mode\":\"private\",\"shares_pid_namespace\":false}";

static size_t split(char *text, size_t size, struct policy_text files[FILES_MAX])
{
	static const char *const names[FILES_MAX] = { "a.json", "b.json", "c.json" };
	size_t count = 0;
	char *at = text;

	while (count < FILES_MAX) {
		char *end = strstr(at, "\n----\n");

		if (count == FILES_MAX - 1 || !end)
			end = text + size;
		files[count] = (struct policy_text){ names[count], at, (size_t)(end - at) };
		count++;
		if (end == text + size)
			break;
		at = end + 6;
	}
	return count;
}

static void check_plan(const struct plan *plan)
{
	struct mayfly_error err;

	assert(plan->files_count > 0 && plan->files_count <= MAYFLY_DELIVERY_MAX_FILES);
	for (size_t i = 0; i < plan->files_count; i++) {
		assert(file_path_check(plan->files[i].path, &err) == 0);
		assert((plan->files[i].mode & ~(mode_t)0777) == 0);
		for (size_t k = 0; k < i; k++)
			assert(strcmp(plan->files[i].path, plan->files[k].path) != 0);
	}
}

static void decide(struct policy *policy)
{
	json_t *object = json_loads(container, 0, NULL);
	struct container_facts facts = { 0 };
	struct mayfly_error err = { 0 };
	struct trail trail = { 0 };
	struct plan plan = { 0 };
	struct policy_question question = {
		.facts = &facts, .volume = "s", .environment = "prod", .cgroup_version = 2
	};
	int r;

	assert(container_facts_parse(object, &facts, &err) == 0);
	json_decref(object);
	r = policy_decide(policy, &question, &trail, &plan, &err);
	assert(r == 0 || (r == -EPERM && err.text[0]));
	if (r == 0)
		check_plan(&plan);
	plan_done(&plan);
	trail_done(&trail);
	container_facts_done(&facts);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *text = fuzz_text(bytes, size);
	struct policy_text files[FILES_MAX];
	struct complaints complaints = { 0 }, notes = { 0 };
	struct policy *policy = NULL;
	const size_t count = split(text, size, files);
	const int r = policy_parse(files, count, sets, 3, &policy, &complaints, &notes);

	assert((r == 0) == (complaints.count == 0) && (r == 0 || r == -EINVAL));
	if (r == 0) {
		decide(policy);
		policy_unref(policy);
	}
	complaints_done(&complaints);
	complaints_done(&notes);
	free(text);
	return 0;
}
