#include "client/cli/entry_point/entry_point.h"

#include "client/cli/compose/service_secret.h"
#include "client/cli/entry_point/env_wish.h"
#include "client/cli/entry_point/image_config.h"

#include <stdlib.h>
#include <string.h>

/* Where the program is bound in a container. */
#define BOUND_AT "/mayfly"

static void entry_point_done(struct entry_point *point)
{
	free(point->service);
	free(point->directory);
	json_decref(point->variables);
	json_decref(point->entrypoint);
	json_decref(point->command);
}

void entry_points_done(struct entry_points *points)
{
	for (size_t i = 0; i < points->count; i++)
		entry_point_done(&points->items[i]);
	free(points->items);
	*points = (struct entry_points){ 0 };
}

static json_t *service_of(json_t *model, const char *name)
{
	return json_object_get(json_object_get(model, "services"), name);
}

/* The entry point of SERVICE, made for DIRECTORY if there is none. */
static struct entry_point *point_of(
	struct entry_points *points, const char *service, const char *directory)
{
	struct entry_point *items;

	for (size_t i = 0; i < points->count; i++)
		if (strcmp(points->items[i].service, service) == 0)
			return &points->items[i];
	items = reallocarray(points->items, points->count + 1, sizeof *items);
	if (!items)
		abort();
	points->items = items;
	items[points->count] = (struct entry_point){ .service = text_copy(service),
		.directory = text_copy(directory),
		.variables = json_made(json_array()) };
	return &items[points->count++];
}

static bool has_variable(const struct entry_point *point, const char *name)
{
	const size_t length = strlen(name);
	size_t i;
	json_t *variable;

	json_array_foreach (point->variables, i, variable) {
		const char *text = json_string_value(variable);

		if (strncmp(text, name, length) == 0 && text[length] == '=')
			return true;
	}
	return false;
}

static void add_variable(struct entry_points *points, const struct env_wish *wish,
	const struct mounted_file *file, struct text_list *refusals)
{
	struct entry_point *point = point_of(points, wish->service, file->directory);
	AUTO_FREE char *variable = text_format("%s=%s", wish->name, file->path);

	if (strcmp(point->directory, file->directory) != 0)
		text_list_add(refusals,
			"service %s: all variables come from one directory, and %s lies in %s, not "
			"in %s",
			wish->service, wish->secret, file->directory, point->directory);
	else if (has_variable(point, wish->name))
		text_list_add(refusals, "service %s: %s is given twice", wish->service, wish->name);
	else
		(void)json_array_append_new(point->variables, json_made(json_string(variable)));
}

int entry_points_add(struct entry_points *points, const char *text, const struct mounts *mounts,
	struct text_list *refusals, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(env_wish_done) struct env_wish wish = { 0 };
	MAYFLY_CLEANUP(mounted_file_done) struct mounted_file file = { 0 };
	int r = env_wish_parse(text, &wish, err);

	if (r < 0)
		return r;
	if (!service_of(mounts->model, wish.service))
		text_list_add(refusals, "--env: the file has no service %s", wish.service);
	else if (mounted_file_find(mounts, wish.service, wish.secret, &file, refusals))
		add_variable(points, &wish, &file, refusals);
	return 0;
}

/* True if the file says nothing, or nothing but that it is empty. */
static bool is_empty(json_t *value)
{
	return json_is_string(value) ? !json_string_value(value)[0] : json_array_size(value) == 0;
}

/* An entry point as a list. In the short form Compose takes words apart as a shell does: here only
 * what needs no shell's rules. NULL for anything else; else the caller's. */
static json_t *list_of(json_t *value)
{
	const char *text = json_string_value(value);
	json_t *list;

	if (json_is_array(value))
		return json_made(json_deep_copy(value));
	if (!text || strpbrk(text, "\"'\\$"))
		return NULL;
	list = json_made(json_array());
	for (text += strspn(text, " "); *text; text += strspn(text, " ")) {
		const size_t length = strcspn(text, " ");

		(void)json_array_append_new(list, json_made(json_stringn(text, length)));
		text += length;
	}
	return list;
}

/* Words of an image as a compose file needs them: there, "$$" is one. */
static json_t *escaped(json_t *words)
{
	json_t *list = json_made(json_array()), *word;
	size_t i;

	json_array_foreach (words, i, word) {
		char *text = text_copy("");

		for (const char *c = json_string_value(word); *c; c++) {
			char *longer = text_format("%s%c%s", text, *c, *c == '$' ? "$" : "");

			free(text);
			text = longer;
		}
		(void)json_array_append_new(list, json_made(json_string(text)));
		free(text);
	}
	return list;
}

static void refuse_image(const char *service, const char *why, struct text_list *refusals)
{
	text_list_add(refusals,
		"service %s: what its image runs is not known: %s\n"
		"  give the service `entrypoint:` and `command:`, as lists, in the compose file "
		"(the "
		"image's, see docker image inspect), and convert again",
		service, why);
}

/* Asks the image of POINT's service. */
static void read_image(struct entry_point *point, json_t *service, struct text_list *refusals)
{
	const char *image = json_text(service, "image");
	/* With `entrypoint: []` the file takes the image's away, and its command stays. */
	const bool is_reset = json_object_get(service, "entrypoint") != NULL;
	AUTO_JSON json_t *entrypoint = NULL;
	AUTO_JSON json_t *command = NULL;
	struct mayfly_error err;

	if (!image[0] || strchr(image, '$')) {
		refuse_image(point->service,
			image[0] ? "its name has a variable"
				 : "it is built here and has no `image:`",
			refusals);
		return;
	}
	if (image_config_read(image, &entrypoint, &command, &err) < 0) {
		refuse_image(point->service, err.text, refusals);
		return;
	}
	point->entrypoint = is_reset ? json_made(json_array()) : escaped(entrypoint);
	if (is_empty(json_object_get(service, "command")))
		point->command = escaped(command);
	if (is_empty(point->entrypoint) && point->command && is_empty(point->command))
		refuse_image(point->service, "it has neither entry point nor command", refusals);
}

static void complete(struct entry_point *point, json_t *model, struct text_list *refusals)
{
	json_t *service = service_of(model, point->service);
	json_t *entrypoint = json_object_get(service, "entrypoint");
	AUTO_FREE char *taken = service_mount_within(service, BOUND_AT);

	if (taken)
		text_list_add(refusals,
			"service %s: it mounts %s itself, where the program would be",
			point->service, taken);
	if (!is_empty(entrypoint)) {
		point->entrypoint = list_of(entrypoint);
		if (!point->entrypoint)
			text_list_add(refusals, "service %s: write its `entrypoint:` as a list",
				point->service);
	} else if (entrypoint && !is_empty(json_object_get(service, "command"))) {
		point->entrypoint = json_made(json_array());
	} else {
		read_image(point, service, refusals);
	}
}

void entry_points_complete(struct entry_points *points, json_t *model, struct text_list *refusals)
{
	for (size_t i = 0; i < points->count; i++)
		complete(&points->items[i], model, refusals);
}

static void append_text(json_t *list, const char *text)
{
	(void)json_array_append_new(list, json_made(json_string(text)));
}

/* [/mayfly, exec, --env, NAME=PATH, ..., --, what was run before] */
static json_t *make_entrypoint(const struct entry_point *point)
{
	json_t *list = json_made(json_pack("[s, s]", BOUND_AT, "exec")), *variable;
	size_t i;

	json_array_foreach (point->variables, i, variable) {
		append_text(list, "--env");
		append_text(list, json_string_value(variable));
	}
	if (strcmp(point->directory, SECRETS_DIRECTORY) != 0) {
		append_text(list, "--from");
		append_text(list, point->directory);
	}
	append_text(list, "--");
	(void)json_array_extend(list, point->entrypoint);
	return list;
}

void entry_points_apply(const struct entry_points *points, const char *program, json_t *model)
{
	for (size_t i = 0; i < points->count; i++) {
		const struct entry_point *point = &points->items[i];
		json_t *service = service_of(model, point->service);

		/* A file that is missing on the host is an error there, not a directory. */
		if (!json_is_array(json_object_get(service, "volumes")))
			(void)json_object_set_new(service, "volumes", json_made(json_array()));
		(void)json_array_append_new(json_object_get(service, "volumes"),
			json_made(json_pack("{s:s, s:s, s:s, s:b, s:{s:b}}", "type", "bind",
				"source", program, "target", BOUND_AT, "read_only", 1, "bind",
				"create_host_path", 0)));
		(void)json_object_set_new(service, "entrypoint", make_entrypoint(point));
		if (point->command)
			(void)json_object_set(service, "command", point->command);
	}
}
