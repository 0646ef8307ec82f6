/* What mayfly-engine says of a container: hostile, as the engine may be. */
#include "daemon/broker/identity/container_facts.h"
#include "tests/fuzz/fuzz.h"

static void check_facts(const struct container_facts *facts)
{
	assert(strlen(facts->id) == CONTAINER_ID_LENGTH);
	assert(facts->name && facts->image_name && facts->image_id && facts->user_text);
	assert(json_is_array(facts->image_digests) && json_is_object(facts->labels));
	assert(json_is_array(facts->capabilities_added));
	assert(json_is_array(facts->capabilities_dropped));
	assert(facts->volumes_count <= CONTAINER_TARGETS_MAX);
	for (size_t i = 0; i < facts->volumes_count; i++)
		assert(facts->volumes[i].name && facts->volumes[i].target);
	assert(facts->pid >= 0 && (facts->pid > 0 || !facts->running));
	assert(facts->pid == json_integer_value(json_object_get(facts->object, "pid")));
	assert(facts->pid_mode && facts->ipc_mode && facts->cgroupns_mode);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	json_t *object = json_loadb((const char *)bytes, size, JSON_REJECT_DUPLICATES, NULL);
	struct container_facts facts = { 0 };
	struct mayfly_error err;

	if (object && container_facts_parse(object, &facts, &err) == 0) {
		json_decref(object);
		check_facts(&facts);
		container_facts_done(&facts);
		return 0;
	}
	json_decref(object);
	return 0;
}
