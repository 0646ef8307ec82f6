/* Compose files: what is read and written again reads as the same. */
#include "client/cli/compose/yaml.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *text = fuzz_copy(bytes, size), *written = NULL;
	json_t *json = NULL, *again = NULL;
	struct mayfly_error err;
	size_t length = 0;

	if (yaml_read(text, size, &json, &err) == 0 &&
		yaml_write(json, "", false, &written, &length, &err) == 0) {
		assert(strlen(written) == length);
		assert(yaml_read(written, length, &again, &err) == 0);
		assert(json_equal(json, again));
	}
	json_decref(json);
	json_decref(again);
	free(written);
	free(text);
	return 0;
}
