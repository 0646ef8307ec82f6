#include "client/cli/entry_point/image_config.h"

#include "client/cli/compose/program.h"

#include <errno.h>
#include <string.h>

/* The member NAME of CONFIG as an array of texts, the caller's; NULL if it is something else. */
static json_t *words_of(json_t *config, const char *name)
{
	json_t *words = json_object_get(config, name), *word;
	size_t i;

	if (!words || json_is_null(words))
		return json_made(json_array());
	json_array_foreach (words, i, word) {
		if (!json_is_string(word))
			return NULL;
	}
	return json_is_array(words) ? json_made(json_deep_copy(words)) : NULL;
}

int image_config_read(
	const char *image, json_t **ret_entrypoint, json_t **ret_command, struct mayfly_error *err)
{
	const char *const argv[] = { "docker", "image", "inspect", "--format", "{{json .Config}}",
		"--", image, NULL };
	MAYFLY_CLEANUP(program_output_done) struct program_output output = { 0 };
	AUTO_JSON json_t *config = NULL;
	AUTO_JSON json_t *entrypoint = NULL;
	AUTO_JSON json_t *command = NULL;
	int r = program_run(argv, &output, err);

	if (r < 0)
		return r;
	if (output.status != 0) {
		output.complaint[strcspn(output.complaint, "\n")] = '\0';
		return error_set(err, -ENOENT, "docker image inspect: %.200s", output.complaint);
	}
	config = json_loadb(output.text, output.length, JSON_REJECT_DUPLICATES, NULL);
	entrypoint = words_of(config, "Entrypoint");
	command = words_of(config, "Cmd");
	if (!json_is_object(config) || !entrypoint || !command)
		return error_set(err, -EBADMSG, "docker image inspect prints no configuration");
	*ret_entrypoint = ptr_take(&entrypoint);
	*ret_command = ptr_take(&command);
	return 0;
}
