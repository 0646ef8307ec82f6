#include "client/cli/compose/conversion.h"

#include "client/cli/compose/service_secret.h"

#include <stdlib.h>
#include <string.h>

/* The secrets of one service while it is planned. */
struct service_plan {
	json_t *model;
	const char *name;
	json_t *service;
	struct placed_secret *placed;
	size_t count;
};

static void service_plan_done(struct service_plan *plan)
{
	free(plan->placed);
}

static void read_service(struct service_plan *plan, struct text_list *refusals)
{
	json_t *secrets = json_object_get(plan->service, "secrets");
	size_t i;
	json_t *entry;

	plan->placed = calloc(json_array_size(secrets) + 1, sizeof *plan->placed);
	json_array_foreach (secrets, i, entry) {
		if (plan->placed && placed_secret_read(plan->model, plan->name, entry,
					    &plan->placed[plan->count], refusals))
			plan->count++;
	}
}

static void refuse_twice(const struct service_plan *plan, struct text_list *refusals)
{
	for (size_t i = 0; i < plan->count; i++)
		for (size_t j = 0; j < i; j++) {
			const struct placed_secret *a = &plan->placed[i], *b = &plan->placed[j];

			if (strcmp(a->directory, b->directory) == 0 &&
				strcmp(file_spec_path(&a->spec), file_spec_path(&b->spec)) == 0)
				text_list_add(refusals,
					"service %s: two secrets have the file %s/%s", plan->name,
					a->directory, file_spec_path(&a->spec));
			else if (strcmp(a->directory, b->directory) != 0 &&
				 (path_is_within(a->directory, b->directory) ||
					 path_is_within(b->directory, a->directory)))
				text_list_add(refusals,
					"service %s: %s and %s lie inside one another", plan->name,
					a->directory, b->directory);
		}
}

/* True for the first secret of its directory. */
static bool begins_directory(const struct service_plan *plan, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (strcmp(plan->placed[i].directory, plan->placed[index].directory) == 0)
			return false;
	return true;
}

static bool is_name_taken(json_t *model, const struct conversion *conversion, const char *name)
{
	if (json_object_get(json_object_get(model, "volumes"), name))
		return true;
	for (size_t i = 0; i < conversion->count; i++)
		if (strcmp(conversion->volumes[i].name, name) == 0)
			return true;
	return false;
}

/* "mayfly-web", "mayfly-web-2", ...: the first that the file does not have. */
static char *volume_name(json_t *model, const struct conversion *conversion, const char *service)
{
	char *name = text_format("mayfly-%s", service);

	for (unsigned number = 2; is_name_taken(model, conversion, name); number++) {
		free(name);
		name = text_format("mayfly-%s-%u", service, number);
	}
	return name;
}

/* The driver option: every file of DIRECTORY, separated by commas. */
static char *files_option(const struct service_plan *plan, const char *directory)
{
	char *option = text_copy("");

	for (size_t i = 0; i < plan->count; i++) {
		AUTO_FREE char *file = NULL;
		char *longer;

		if (strcmp(plan->placed[i].directory, directory) != 0)
			continue;
		file = file_spec_text(&plan->placed[i].spec);
		longer = text_format("%s%s%s", option, option[0] ? "," : "", file);
		free(option);
		option = longer;
	}
	return option;
}

static void add_volume(
	const struct service_plan *plan, const char *directory, struct conversion *conversion)
{
	AUTO_FREE char *taken = service_mount_within(plan->service, directory);
	struct service_volume *volumes =
		reallocarray(conversion->volumes, conversion->count + 1, sizeof *volumes);

	if (taken)
		text_list_add(&conversion->refusals,
			"service %s: it mounts %s itself, where its secrets would be", plan->name,
			taken);
	if (strcmp(directory, SECRETS_DIRECTORY) != 0)
		text_list_add(&conversion->notes,
			"service %s: the volume at %s hides what the image has there", plan->name,
			directory);
	if (!volumes)
		abort();
	conversion->volumes = volumes;
	volumes[conversion->count] = (struct service_volume){
		.service = text_copy(plan->name),
		.name = volume_name(plan->model, conversion, plan->name),
		.directory = text_copy(directory),
		.files = files_option(plan, directory),
	};
	conversion->count++;
}

static void plan_service(
	json_t *model, const char *name, json_t *service, struct conversion *conversion)
{
	MAYFLY_CLEANUP(service_plan_done)
	struct service_plan plan = { .model = model, .name = name, .service = service };

	read_service(&plan, &conversion->refusals);
	refuse_twice(&plan, &conversion->refusals);
	for (size_t i = 0; i < plan.count; i++) {
		json_t *definition =
			json_object_get(json_object_get(model, "secrets"), plan.placed[i].source);

		(void)json_object_set(
			conversion->served, plan.placed[i].spec.name, json_made(definition));
		if (begins_directory(&plan, i))
			add_volume(&plan, plan.placed[i].directory, conversion);
	}
}

/* A build's secrets are mounted by the builder, which knows no volumes: they stay. */
static void keep_build_secrets(
	json_t *model, const char *name, json_t *service, struct conversion *conversion)
{
	json_t *secrets = json_object_get(json_object_get(service, "build"), "secrets");
	size_t i;
	json_t *entry;

	json_array_foreach (secrets, i, entry) {
		const char *key = json_is_string(entry) ? json_string_value(entry)
							: json_text(entry, "source");
		json_t *definition = json_object_get(json_object_get(model, "secrets"), key);

		if (!definition)
			continue;
		(void)json_object_set(conversion->kept, key, definition);
		text_list_add(&conversion->notes,
			"service %s: %s is a secret of its build and stays Compose's own", name,
			key);
	}
}

void conversion_plan(json_t *model, struct conversion *ret_conversion)
{
	struct conversion conversion = { .kept = json_made(json_object()),
		.served = json_made(json_object()) };
	const char *name;
	json_t *service;

	json_object_foreach (json_object_get(model, "services"), name, service) {
		keep_build_secrets(model, name, service, &conversion);
		plan_service(model, name, service, &conversion);
	}
	*ret_conversion = conversion;
}

void conversion_done(struct conversion *conversion)
{
	for (size_t i = 0; i < conversion->count; i++) {
		free(conversion->volumes[i].service);
		free(conversion->volumes[i].name);
		free(conversion->volumes[i].directory);
		free(conversion->volumes[i].files);
	}
	free(conversion->volumes);
	json_decref(conversion->kept);
	json_decref(conversion->served);
	text_list_done(&conversion->refusals);
	text_list_done(&conversion->notes);
	*conversion = (struct conversion){ 0 };
}

void service_secrets(json_t *model, const char *service, struct file_spec **ret_specs,
	size_t *ret_count, struct text_list *refusals)
{
	MAYFLY_CLEANUP(service_plan_done)
	struct service_plan plan = { .model = model,
		.name = service,
		.service = json_object_get(json_object_get(model, "services"), service) };
	struct file_spec *specs;

	read_service(&plan, refusals);
	specs = calloc(plan.count + 1, sizeof *specs);
	if (!specs)
		abort();
	for (size_t i = 0; i < plan.count; i++)
		specs[i] = plan.placed[i].spec;
	*ret_specs = specs;
	*ret_count = plan.count;
}
