#include "client/cli/compose/conversion.h"

#include <stdlib.h>
#include <string.h>

/* The service's side of a volume: read-only, and nothing is copied from the image, which would
 * mount it at `docker create` already. */
static json_t *mount_entry(const struct service_volume *volume)
{
	return json_made(json_pack("{s:s, s:s, s:s, s:b, s:{s:b}}", "type", "volume", "source",
		volume->name, "target", volume->directory, "read_only", 1, "volume", "nocopy", 1));
}

static json_t *definition(const struct service_volume *volume, const char *driver)
{
	return json_made(json_pack(
		"{s:s, s:{s:s}}", "driver", driver, "driver_opts", "files", volume->files));
}

/* Member NAME of OBJECT, made with EMPTY (taken over) if it is not there. */
static json_t *member(json_t *object, const char *name, json_t *empty)
{
	json_t *present = json_object_get(object, name);

	if (present && !json_is_null(present)) {
		json_decref(empty);
		return present;
	}
	(void)json_object_set_new(object, name, json_made(empty));
	return json_object_get(object, name);
}

/* Compose reads a short entry before it replaces variables, so "${DIR}:/data" looks like a
 * volume's name to it; written in the long form it would stay one. Such an entry gets its short
 * form back. NULL when it is another one. */
static json_t *short_form(json_t *entry)
{
	const char *source = json_text(entry, "source");
	const char *options[] = { json_is_true(json_object_get(entry, "read_only")) ? "ro" : "",
		json_is_true(json_object_get(json_object_get(entry, "volume"), "nocopy")) ? "nocopy"
											  : "",
		json_text(json_object_get(entry, "bind"), "selinux") };
	const char *before = ":";
	char *text;
	json_t *made;

	if (strcmp(json_text(entry, "type"), "volume") != 0 || !strchr(source, '$'))
		return NULL;
	text = text_format("%s:%s", source, json_text(entry, "target"));
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
		char *longer = text_format("%s%s%s", text, options[i][0] ? before : "", options[i]);

		free(text);
		text = longer;
		before = options[i][0] ? "," : before;
	}
	made = json_made(json_string(text));
	free(text);
	return made;
}

static void restore_short_forms(json_t *services)
{
	const char *name;
	json_t *service;

	json_object_foreach (services, name, service) {
		json_t *volumes = json_object_get(service, "volumes");

		for (size_t i = 0; i < json_array_size(volumes); i++) {
			json_t *entry = short_form(json_array_get(volumes, i));

			if (entry)
				(void)json_array_set_new(volumes, i, entry);
		}
	}
}

/* The top level in the order in which people write it; Compose prints it sorted. */
static json_t *in_reading_order(json_t *model)
{
	static const char *const order[] = { "name", "services", "networks", "volumes", "configs",
		"secrets" };
	json_t *ordered = json_made(json_object());
	const char *name;
	json_t *value;

	for (size_t i = 0; i < sizeof order / sizeof order[0]; i++)
		if (json_object_get(model, order[i]))
			(void)json_object_set(ordered, order[i], json_object_get(model, order[i]));
	json_object_foreach (model, name, value) {
		if (!json_object_get(ordered, name))
			(void)json_object_set(ordered, name, value);
	}
	return ordered;
}

json_t *conversion_apply(json_t *model, const struct conversion *conversion, const char *driver)
{
	AUTO_JSON json_t *copy = json_made(json_deep_copy(model));
	json_t *services = json_object_get(copy, "services");
	const char *name;
	json_t *service;

	json_object_foreach (services, name, service)
		(void)json_object_del(service, "secrets");
	restore_short_forms(services);
	for (size_t i = 0; i < conversion->count; i++) {
		const struct service_volume *volume = &conversion->volumes[i];
		json_t *owner = json_object_get(services, volume->service);

		(void)json_array_append_new(
			member(owner, "volumes", json_array()), mount_entry(volume));
		(void)json_object_set_new(member(copy, "volumes", json_object()), volume->name,
			definition(volume, driver));
	}
	(void)json_object_del(copy, "secrets");
	if (json_object_size(conversion->kept) > 0)
		(void)json_object_set(copy, "secrets", conversion->kept);
	return in_reading_order(copy);
}

/* {"!reset": VALUE} is VALUE under that tag (yaml_write). */
static json_t *reset(json_t *value)
{
	return json_made(json_pack("{s:o}", "!reset", value));
}

static json_t *reset_secrets(json_t *model, const struct conversion *conversion)
{
	json_t *secrets = json_made(json_object());
	const char *key;
	json_t *value;

	json_object_foreach (json_object_get(model, "secrets"), key, value) {
		if (!json_object_get(conversion->kept, key))
			(void)json_object_set_new(secrets, key, reset(json_null()));
	}
	return secrets;
}

json_t *conversion_override(json_t *model, const struct conversion *conversion, const char *driver)
{
	json_t *services = json_made(json_object()), *volumes = json_made(json_object());

	for (size_t i = 0; i < conversion->count; i++) {
		const struct service_volume *volume = &conversion->volumes[i];
		json_t *service = member(services, volume->service, json_object());

		if (!json_object_get(service, "secrets"))
			(void)json_object_set_new(service, "secrets", reset(json_array()));
		(void)json_array_append_new(
			member(service, "volumes", json_array()), mount_entry(volume));
		(void)json_object_set_new(volumes, volume->name, definition(volume, driver));
	}
	return json_made(json_pack("{s:o, s:o, s:o}", "services", services, "volumes", volumes,
		"secrets", reset_secrets(model, conversion)));
}

static bool has_mount(json_t *model, const struct service_volume *volume)
{
	json_t *service = json_object_get(json_object_get(model, "services"), volume->service);
	size_t i;
	json_t *entry;

	json_array_foreach (json_object_get(service, "volumes"), i, entry) {
		if (strcmp(json_text(entry, "source"), volume->name) == 0 &&
			strcmp(json_text(entry, "target"), volume->directory) == 0)
			return true;
	}
	return false;
}

bool conversion_is_in_force(json_t *model, const struct conversion *conversion)
{
	const char *name;
	json_t *service;

	json_object_foreach (json_object_get(model, "services"), name, service) {
		if (json_array_size(json_object_get(service, "secrets")) > 0)
			return false;
	}
	for (size_t i = 0; i < conversion->count; i++)
		if (!has_mount(model, &conversion->volumes[i]))
			return false;
	return true;
}
