#include "client/cli/policy/policy_files.h"

#include "client/cli/files/config_edit.h"
#include "client/cli/files/edited_file.h"
#include "client/cli/files/json_file.h"
#include "client/cli/operator/link.h"
#include "client/cli/operator/reply_error.h"
#include "client/cli/terminal/print.h"
#include "client/cli/terminal/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

void policy_files_done(struct policy_files *files)
{
	for (size_t i = 0; i < files->count; i++) {
		free(files->items[i].name);
		free(files->items[i].text);
		json_decref(files->items[i].json);
	}
	free(files->items);
	*files = (struct policy_files){ 0 };
}

static struct policy_file *add_file(struct policy_files *files, const char *name)
{
	files->items = reallocarray(files->items, files->count + 1, sizeof *files->items);
	if (!files->items)
		abort();
	files->items[files->count] = (struct policy_file){ .name = text_copy(name) };
	return &files->items[files->count++];
}

static int read_file(
	int directory, const char *folder, struct policy_file *file, struct mayfly_error *err)
{
	AUTO_FREE char *path = text_format("%s/%s", folder, file->name);
	AUTO_FD fd = openat(directory, file->name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	size_t length;
	int r;

	if (fd < 0)
		return error_errno(err, -errno, "open '%s'", path);
	r = file_read_all(fd, path, &file->text, &length, err);
	if (r == 0)
		r = json_file_parse(path, file->text, length, &file->json, err);
	return r;
}

static int is_policy_name(const struct dirent *entry)
{
	const size_t length = strlen(entry->d_name);

	return entry->d_name[0] != '.' && length > 5 &&
	       strcmp(entry->d_name + length - 5, ".json") == 0;
}

/* Orders by bytes, whatever the locale is. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int read_entries(const char *folder, struct policy_files *files, struct mayfly_error *err)
{
	AUTO_FD directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent **entries = NULL;
	int count, r = 0;

	if (directory < 0)
		return errno == ENOENT ? 0 : error_errno(err, -errno, "open '%s'", folder);
	count = scandir(folder, &entries, is_policy_name, by_name);
	if (count < 0)
		return error_errno(err, -errno, "read '%s'", folder);
	for (int i = 0; i < count; i++) {
		if (r == 0)
			r = read_file(directory, folder, add_file(files, entries[i]->d_name), err);
		free(entries[i]);
	}
	free(entries);
	return r;
}

int policy_files_read(const char *root, struct policy_files *ret_files, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(policy_files_done) struct policy_files files = { 0 };
	AUTO_FREE char *folder = text_format("%s/" POLICY_FOLDER, root);
	int r = read_entries(folder, &files, err);

	if (r < 0)
		return r;
	*ret_files = files;
	files = (struct policy_files){ 0 };
	return 0;
}

struct policy_file *policy_files_find(
	struct policy_files *files, const char *name, json_t **ret_grant, size_t *ret_index)
{
	for (size_t i = 0; i < files->count; i++) {
		json_t *grants = json_object_get(files->items[i].json, "grants");
		size_t index;
		json_t *grant;

		json_array_foreach (grants, index, grant) {
			if (strcmp(json_text(grant, "name"), name) != 0)
				continue;
			*ret_grant = grant;
			if (ret_index)
				*ret_index = index;
			return &files->items[i];
		}
	}
	return NULL;
}

struct policy_file *policy_files_get(struct policy_files *files, const char *name)
{
	struct policy_file *file;

	for (size_t i = 0; i < files->count; i++)
		if (strcmp(files->items[i].name, name) == 0)
			return &files->items[i];
	file = add_file(files, name);
	file->json = json_made(json_object());
	return file;
}

json_t *policy_file_grants(struct policy_file *file)
{
	json_t *grants = json_object_get(file->json, "grants");

	if (grants)
		return json_is_array(grants) ? grants : NULL;
	(void)json_object_set_new(file->json, "grants", json_made(json_array()));
	return json_object_get(file->json, "grants");
}

bool policy_file_is_empty(const struct policy_file *file)
{
	const char *name;
	json_t *value;

	json_object_foreach (file->json, name, value) {
		if (strcmp(name, "note") != 0 &&
			!(strcmp(name, "grants") == 0 && json_array_size(value) == 0))
			return false;
	}
	return true;
}

void policy_notes_print(json_t *notes)
{
	size_t i;
	json_t *note;

	json_array_foreach (notes, i, note)
		say_aside("note: %s: %s\n", json_text(note, "where"), json_text(note, "text"));
}

static json_t *as_parameter(const struct policy_files *files)
{
	json_t *list = json_made(json_array());

	for (size_t i = 0; i < files->count; i++) {
		AUTO_FREE char *text = NULL;
		size_t length;

		if (policy_file_is_empty(&files->items[i]))
			continue;
		text = json_file_text(files->items[i].json, &length);
		(void)json_array_append_new(list, json_made(json_pack("{s:s, s:s}", "name",
							  files->items[i].name, "text", text)));
	}
	return list;
}

int policy_files_check(struct cli *cli, const struct policy_files *files, struct mayfly_error *err)
{
	json_t *list = as_parameter(files);
	AUTO_JSON json_t *reply = NULL;
	int r;

	if (json_array_size(list) == 0) {
		/* To the broker an empty list means what is on disk. */
		json_decref(list);
		return 0;
	}
	r = operator_ask(
		cli, "CheckPolicy", json_made(json_pack("{s:o}", "files", list)), &reply, err);
	if (r == -EMSGSIZE)
		return 0;
	if (r < 0)
		return r;
	complaints_print(json_object_get(reply, "complaints"));
	if (json_array_size(json_object_get(reply, "complaints")) > 0)
		return error_set(err, -EINVAL,
			"the policy would have mistakes\nmend what is named above; nothing was "
			"written");
	policy_notes_print(json_object_get(reply, "notes"));
	return 0;
}

static int write_or_remove(
	struct edited_file *edited, const struct policy_file *file, struct mayfly_error *err)
{
	AUTO_FREE char *text = NULL;
	size_t length;

	if (policy_file_is_empty(file))
		return edited_file_remove(edited, err);
	text = json_file_text(file->json, &length);
	return edited_file_write(edited, text, length, err);
}

static bool has_changed(const struct edited_file *edited, const struct policy_file *file)
{
	if (!edited->old_text || !file->text)
		return edited->old_text || file->text;
	return strcmp(edited->old_text, file->text) != 0;
}

int policy_file_commit(struct cli *cli, const struct policy_file *file, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(edited_file_done) struct edited_file edited = EDITED_FILE_EMPTY;
	struct mayfly_error second;
	int r = edited_file_open(cli->root, POLICY_FOLDER, file->name, true, &edited, err);

	if (r < 0)
		return r;
	if (has_changed(&edited, file))
		return error_set(err, -EBUSY,
			"somebody has changed %s meanwhile\nnothing was written; try again",
			edited.path);
	r = write_or_remove(&edited, file, err);
	if (r < 0)
		return r;
	r = config_reload(cli, NULL, err);
	if (r == 0)
		return 0;
	if (edited_file_restore(&edited, &second) < 0)
		say_aside("%s could not be put back: %s\n", edited.path, second.text);
	return error_within(err, "%s is as it was", edited.path);
}
