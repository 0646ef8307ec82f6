/* mayflyd.json. */
#include "daemon/broker/config/config.h"
#include "proto/secret_name.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>

static void check_config(const struct config *config)
{
	struct mayfly_error err;

	assert(config->engines_count >= 1 && config->engines_count <= MAYFLY_ENGINES_MAX);
	for (size_t i = 0; i < config->engines_count; i++)
		assert(config->engines[i].name[0] && config->engines[i].socket[0] == '/' &&
			config->engines[i].plugin_name[0] &&
			!strchr(config->engines[i].plugin_name, '/'));
	assert(strcmp(config->user, "root") != 0 && strcmp(config->user, "0") != 0);
	for (size_t i = 0; i < config->sets_count; i++) {
		const struct config_set *set = &config->sets[i];

		assert(set_name_check(set->name, &err) == 0);
		for (size_t k = 0; k < set->inherits_count; k++)
			assert(config_set_find(config, set->inherits[k]));
	}
	assert(!config->environment || config_set_find(config, config->environment));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	char *text = fuzz_text(bytes, size);
	struct complaints complaints = { 0 };
	struct config *config = NULL;
	const int r = config_parse("mayflyd.json", text, size, &config, &complaints);

	if (r == 0)
		check_config(config);
	assert((r == 0) == (complaints.count == 0) && (r == 0 || r == -EINVAL));
	for (size_t i = 0; i < complaints.count; i++)
		assert(strncmp(complaints.items[i].where, "mayflyd.json", 12) == 0 &&
			complaints.items[i].text[0]);
	config_free(config);
	complaints_done(&complaints);
	free(text);
	return 0;
}
