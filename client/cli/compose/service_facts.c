#include "client/cli/compose/service_facts.h"

#include "client/cli/compose/compose_command.h"
#include "client/cli/compose/conversion.h"
#include "proto/secret_name.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_MAX 256

void service_facts_done(struct service_facts *facts)
{
	free(facts->project);
	free(facts->user);
	free(facts->secrets);
	*facts = (struct service_facts){ 0 };
}

static int refuse_unknown(json_t *services, const char *service, struct mayfly_error *err)
{
	const char *names[NAMES_MAX], *name, *nearest;
	size_t count = 0;
	json_t *value;
	char shown[80], hint[120] = "";

	json_object_foreach (services, name, value) {
		if (count < NAMES_MAX)
			names[count++] = name;
	}
	nearest = nearest_word(service, names, count);
	if (nearest)
		(void)snprintf(hint, sizeof hint, "; did you mean '%s'?", nearest);
	return error_set(err, -ENOENT, "the file has no service '%s'%s",
		error_quote(shown, sizeof shown, service, strlen(service)), hint);
}

static void add_spec(struct service_facts *facts, const struct file_spec *spec)
{
	for (size_t i = 0; i < facts->secrets_count; i++)
		if (strcmp(facts->secrets[i].name, spec->name) == 0)
			return;
	facts->secrets = reallocarray(facts->secrets, facts->secrets_count + 1, sizeof *spec);
	if (!facts->secrets)
		abort();
	facts->secrets[facts->secrets_count++] = *spec;
}

/* The files that a volume of ours names: the volume renames and owns them, the grant only has to
 * name them. */
static int add_chosen_files(
	struct service_facts *facts, const char *files, struct mayfly_error *err)
{
	while (*files) {
		const size_t length = strcspn(files, ",");
		struct file_spec spec = { 0 }, bare = { 0 };
		int r = file_spec_parse(files, length, &spec, err);

		if (r < 0)
			return error_within(err, "a volume's option \"files\"");
		memcpy(bare.name, spec.name, sizeof bare.name);
		add_spec(facts, &bare);
		files += length;
		files += strspn(files, ",");
	}
	return 0;
}

/* The top-level volume behind one mount of a service, or NULL. */
static json_t *mounted_volume(json_t *model, json_t *mount)
{
	const char *text = json_string_value(mount);
	AUTO_FREE char *source = NULL;

	if (!text)
		source = text_copy(json_text(mount, "source"));
	else
		source = text_format("%.*s", (int)strcspn(text, ":"), text);
	return json_object_get(json_object_get(model, "volumes"), source);
}

static int read_volumes(json_t *model, json_t *service, const char *driver,
	struct service_facts *facts, struct mayfly_error *err)
{
	size_t i;
	json_t *mount;

	json_array_foreach (json_object_get(service, "volumes"), i, mount) {
		json_t *volume = mounted_volume(model, mount);
		int r;

		if (!volume || strcmp(json_text(volume, "driver"), driver) != 0)
			continue;
		facts->has_volume = true;
		r = add_chosen_files(
			facts, json_text(json_object_get(volume, "driver_opts"), "files"), err);
		if (r < 0)
			return r;
	}
	return 0;
}

static char *user_of(json_t *service)
{
	json_t *user = json_object_get(service, "user");

	if (json_is_integer(user))
		return text_format("%lld", json_integer_value(user));
	return text_copy(json_text(service, "user"));
}

static mode_t mode_of(const struct file_spec *spec)
{
	return spec->has_mode ? spec->mode : 0400;
}

/* What a grant must give for both uses: the wider mode, and no owner where they differ. The volume
 * options narrow the one and say the other. */
static void merge(struct file_spec *spec, const struct file_spec *other)
{
	spec->mode = mode_of(spec) | mode_of(other);
	spec->has_mode = spec->has_mode || other->has_mode;
	spec->has_uid = spec->has_uid && other->has_uid && spec->uid == other->uid;
	spec->has_gid = spec->has_gid && other->has_gid && spec->gid == other->gid;
}

/* A secret that a service has at several places is one of its grant's. */
static void merge_all(struct service_facts *facts)
{
	size_t kept = 0;

	for (size_t i = 0; i < facts->secrets_count; i++) {
		size_t same = 0;

		while (same < kept &&
			strcmp(facts->secrets[same].name, facts->secrets[i].name) != 0)
			same++;
		if (same < kept)
			merge(&facts->secrets[same], &facts->secrets[i]);
		else
			facts->secrets[kept++] = facts->secrets[i];
	}
	facts->secrets_count = kept;
}

static int read_secrets(
	json_t *model, const char *service, struct service_facts *facts, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(text_list_done) struct text_list refusals = { 0 };

	service_secrets(model, service, &facts->secrets, &facts->secrets_count, &refusals);
	facts->has_secrets = facts->secrets_count > 0;
	/* The volume's option renames; the grant keeps the name by which that option knows it. */
	for (size_t i = 0; i < facts->secrets_count; i++)
		facts->secrets[i].path[0] = '\0';
	merge_all(facts);
	if (refusals.count > 0)
		return error_set(err, -EINVAL, "%s", refusals.items[0]);
	return 0;
}

int service_facts_of_model(json_t *model, const char *service, const char *driver,
	struct service_facts *ret_facts, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(service_facts_done) struct service_facts facts = { 0 };
	json_t *services = json_object_get(model, "services");
	json_t *found = json_object_get(services, service);
	int r;

	if (!found)
		return refuse_unknown(services, service, err);
	facts.project = text_copy(json_text(model, "name"));
	facts.user = user_of(found);
	r = read_secrets(model, service, &facts, err);
	if (r == 0)
		r = read_volumes(model, found, driver, &facts, err);
	if (r < 0)
		return r;
	*ret_facts = facts;
	facts = (struct service_facts){ 0 };
	return 0;
}

char *project_of_directory(const char *file)
{
	char path[PATH_MAX];
	char *slash, *name, *end;

	if (!realpath(file, path))
		return text_copy("");
	slash = strrchr(path, '/');
	*slash = '\0';
	name = strrchr(path, '/');
	name = text_copy(name ? name + 1 : "");
	end = name;
	for (const char *c = name; *c; c++)
		if (isalnum((unsigned char)*c) || *c == '-' || *c == '_')
			*end++ = (char)tolower((unsigned char)*c);
	*end = '\0';
	return name;
}

static void config_options(const char *file, const char *project, struct text_list *options)
{
	text_list_add(options, "-f");
	text_list_add(options, "%s", file);
	if (!project)
		return;
	text_list_add(options, "-p");
	text_list_add(options, "%s", project);
}

/* The project's name: as asked for, as Compose says, or as Compose 1 makes it. A name with a
 * variable is mangled by `config --no-interpolate`, so it is looked for in the raw model. */
static int settle_project(struct service_facts *facts, const struct compose_command *command,
	const struct config_request *request, const char *file, const char *project,
	struct mayfly_error *err)
{
	const struct config_request raw = { .options = request->options };
	const char *variable = getenv("COMPOSE_PROJECT_NAME");
	AUTO_JSON json_t *model = NULL;
	int r;

	if (!command->has_json || project) {
		free(facts->project);
		facts->project = project		   ? text_copy(project)
				 : variable && variable[0] ? text_copy(variable)
							   : project_of_directory(file);
		return 0;
	}
	r = compose_config(command, &raw, &model, err);
	if (r == 0 && strchr(json_text(model, "name"), '$'))
		return error_set(err, -EINVAL,
			"the project's name in the file has a variable\ngive --project-name NAME");
	return r;
}

int service_facts_read(const char *file, const char *service, const char *project,
	const char *driver, struct service_facts *ret_facts, struct mayfly_error *err)
{
	MAYFLY_CLEANUP(compose_command_done) struct compose_command command = { 0 };
	MAYFLY_CLEANUP(service_facts_done) struct service_facts facts = { 0 };
	MAYFLY_CLEANUP(text_list_done) struct text_list options = { 0 };
	const struct config_request request = { .options = &options, .normalize = true };
	AUTO_JSON json_t *model = NULL;
	struct mayfly_error old;
	int r = compose_command_find(&command, err);

	config_options(file, project, &options);
	if (r == 0)
		r = compose_config(&command, &request, &model, err);
	if (r == 0)
		r = service_facts_of_model(model, service, driver, &facts, err);
	if (r == 0)
		r = settle_project(&facts, &command, &request, file, project, err);
	if (r < 0)
		return r;
	facts.compose = compose_command_text(&command);
	facts.compose_is_old = compose_command_require(&command, &old) < 0;
	if (!facts.project[0])
		return error_set(
			err, -EINVAL, "the project's name is not known\ngive --project-name NAME");
	*ret_facts = facts;
	facts = (struct service_facts){ 0 };
	return 0;
}
