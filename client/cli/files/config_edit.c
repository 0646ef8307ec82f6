#include "client/cli/files/config_edit.h"

#include "client/cli/files/edited_file.h"
#include "client/cli/files/json_file.h"
#include "client/cli/operator/link.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <fcntl.h>

#define FOLDER "etc/mayfly"
#define NAME   "mayflyd.json"

int config_reload(struct cli *cli, json_t **ret_reply, struct mayfly_error *err)
{
	AUTO_JSON json_t *reply = NULL;
	AUTO_FREE char *changed = NULL;
	json_t *restart;
	int r = operator_ask(cli, "Reload", NULL, &reply, err);

	if (r < 0)
		return r;
	restart = json_object_get(reply, "restart_needed");
	if (json_array_size(restart) > 0) {
		changed = text_join(restart);
		say_aside("a restart of mayflyd is needed for: %s\n", changed);
	}
	if (ret_reply)
		*ret_reply = ptr_take(&reply);
	return 0;
}

/* The broker has refused: the file goes back to what it was. */
static int take_back(struct edited_file *file, struct mayfly_error *err)
{
	struct mayfly_error second;

	if (edited_file_restore(file, &second) < 0)
		say_aside("%s could not be put back: %s\n", file->path, second.text);
	return error_within(err, "%s is as it was", file->path);
}

int config_edit(struct cli *cli,
	int (*change)(json_t *config, void *data, struct mayfly_error *err), void *data,
	struct mayfly_error *err)
{
	MAYFLY_CLEANUP(edited_file_done) struct edited_file file = EDITED_FILE_EMPTY;
	AUTO_JSON json_t *config = NULL;
	AUTO_FREE char *text = NULL;
	size_t length;
	int r = edited_file_open(cli->root, FOLDER, NAME, true, &file, err);

	if (r == 0)
		r = json_file_parse(file.path, file.old_text, file.old_length, &config, err);
	if (r == 0)
		r = change(config, data, err);
	if (r <= 0)
		return r;
	text = json_file_text(config, &length);
	r = edited_file_write(&file, text, length, err);
	if (r < 0)
		return r;
	r = config_reload(cli, NULL, err);
	return r < 0 ? take_back(&file, err) : 0;
}

/* The file's object; an empty one if there is none that can be read. */
static json_t *config_peek(const char *root)
{
	AUTO_FREE char *path = text_format("%s/" FOLDER "/" NAME, root);
	AUTO_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	AUTO_FREE char *text = NULL;
	json_t *config = NULL;
	size_t length;

	if (fd < 0 || file_read_all(fd, path, &text, &length, NULL) < 0 ||
		json_file_parse(path, text, length, &config, NULL) < 0)
		return json_made(json_object());
	return config;
}

char *config_environment(const char *root)
{
	AUTO_JSON json_t *config = config_peek(root);

	return text_copy(json_text(config, "environment"));
}

char *config_plugin_name(const char *root)
{
	AUTO_JSON json_t *config = config_peek(root);
	const char *name =
		json_text(json_array_get(json_object_get(config, "engines"), 0), "plugin_name");

	return text_copy(name[0] ? name : "mayfly");
}
