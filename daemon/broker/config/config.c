#include "daemon/broker/config/config.h"

#include "daemon/broker/config/json_schema.h"
#include "proto/cleanup.h"
#include "proto/secret_name.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SHOWN_MAX 96

/* A configuration in the making. The document has passed its schema: types are right. */
struct making {
	struct config *config;
	struct complaints *complaints;
	bool out_of_memory;
};

static void config_free_p(struct config **config)
{
	config_free(*config);
	*config = NULL;
}

static char *copy(struct making *making, const char *text)
{
	char *copied = strdup(text);

	if (!copied)
		making->out_of_memory = true;
	return copied;
}

static char *member_or(
	struct making *making, struct json_place object, const char *key, const char *otherwise)
{
	const char *text = json_place_text(object, key);

	return copy(making, text ? text : otherwise);
}

/* ---- Sets. ---- */

static void check_set_name(struct making *making, struct json_place place, const char *name)
{
	struct mayfly_error err;

	/* The schema knows the letters; only the reserved name is left. */
	if (set_name_check(name, &err) < 0)
		complaint_at(making->complaints, place, NULL, "%s", err.text);
}

static struct config_set *add_set(struct making *making, const char *name)
{
	struct config *config = making->config;
	struct config_set *grown =
		reallocarray(config->sets, config->sets_count + 1, sizeof *grown);

	if (!grown) {
		making->out_of_memory = true;
		return NULL;
	}
	config->sets = grown;
	grown[config->sets_count] =
		(struct config_set){ .name = copy(making, name), .provider = SET_PROVIDER_STORE };
	return &grown[config->sets_count++];
}

static void read_inherits(struct making *making, struct config_set *set, struct json_place place)
{
	struct json_walk walk = json_walk_start(place);
	struct json_place item;

	set->inherits = calloc(json_array_size(place.value) + 1, sizeof *set->inherits);
	if (!set->inherits) {
		making->out_of_memory = true;
		return;
	}
	while (json_walk_next(&walk, &item))
		set->inherits[set->inherits_count++] = copy(making, json_string_value(item.value));
}

static void read_provider(struct making *making, struct config_set *set, struct json_place place)
{
	const char *provider = json_place_text(place, "provider");
	struct json_place vault;

	if (!json_place_member(place, "vault", &vault))
		return;
	/* The schema has the one with the other, and not this. */
	if (!provider || strcmp(provider, "vault") != 0) {
		complaint_at(making->complaints, vault, NULL,
			"'vault' belongs to a set of provider 'vault'");
		return;
	}
	set->provider = SET_PROVIDER_VAULT;
	if (config_vault_read(vault, &set->vault, making->complaints) < 0)
		making->out_of_memory = true;
}

static void read_sets(struct making *making, struct json_place sets)
{
	struct json_walk walk = json_walk_start(sets);
	struct json_place place, inherits;

	while (!making->out_of_memory && json_walk_next(&walk, &place)) {
		struct config_set *set;

		if (strcmp(place.key, "note") == 0)
			continue;
		check_set_name(making, place, place.key);
		set = add_set(making, place.key);
		if (set)
			read_provider(making, set, place);
		if (set && json_place_member(place, "inherits", &inherits))
			read_inherits(making, set, inherits);
	}
}

static void read_environment(struct making *making, struct json_place root)
{
	struct json_place place;

	if (!json_place_member(root, "environment", &place))
		return;
	check_set_name(making, place, json_string_value(place.value));
	making->config->environment = copy(making, json_string_value(place.value));
	if (!making->out_of_memory && !config_set_find(making->config, making->config->environment))
		(void)add_set(making, making->config->environment);
}

/* The name that is nearest to NAME among the sets' names, or NULL. */
static const char *nearest_set(const struct config *config, const char *name)
{
	const char *nearest = NULL;
	const char **names = calloc(config->sets_count + 1, sizeof *names);

	/* Without memory the complaint only lacks its hint. */
	if (!names)
		return NULL;
	for (size_t i = 0; i < config->sets_count; i++)
		names[i] = config->sets[i].name;
	nearest = nearest_word(name, names, config->sets_count);
	free(names);
	return nearest;
}

/* Whether START is found again from SET on, going through what is inherited. VISITED has one place
 * for each set: each is entered once, so that the walk is short whatever inherits what. */
static bool leads_to(const struct config *config, const struct config_set *set,
	const struct config_set *start, bool *visited)
{
	visited[set - config->sets] = true;
	for (size_t i = 0; i < set->inherits_count; i++) {
		const struct config_set *next = config_set_find(config, set->inherits[i]);

		if (!next)
			continue;
		if (next == start)
			return true;
		if (!visited[next - config->sets] && leads_to(config, next, start, visited))
			return true;
	}
	return false;
}

/* Whether what stands at PLACE, in the list of SET, is known and does not lead back to SET. */
static void check_inherited(
	struct making *making, const struct config_set *set, struct json_place place, bool *visited)
{
	const struct config *config = making->config;
	const char *name = json_string_value(place.value);
	const struct config_set *inherited = config_set_find(config, name);
	char shown[SHOWN_MAX];

	(void)error_quote(shown, sizeof shown, name, strlen(name));
	memset(visited, false, config->sets_count);
	if (!inherited)
		complaint_at(making->complaints, place, nearest_set(config, name),
			"set '%s' inherits from '%s', which is no known set", set->name, shown);
	else if (inherited == set)
		complaint_at(making->complaints, place, NULL, "set '%s' inherits from itself",
			set->name);
	else if (leads_to(config, inherited, set, visited))
		complaint_at(making->complaints, place, NULL,
			"set '%s' inherits from '%s', which in the end inherits from '%s': a "
			"circle",
			set->name, shown, set->name);
}

static void check_inheritance(struct making *making, struct json_place sets)
{
	AUTO_FREE bool *visited = calloc(making->config->sets_count + 1, sizeof *visited);
	struct json_walk walk = json_walk_start(sets);
	struct json_place place, inherits, item;

	if (!visited) {
		making->out_of_memory = true;
		return;
	}
	while (json_walk_next(&walk, &place)) {
		const struct config_set *set = config_set_find(making->config, place.key);
		struct json_walk names;

		if (!set || !json_place_member(place, "inherits", &inherits))
			continue;
		names = json_walk_start(inherits);
		while (json_walk_next(&names, &item))
			check_inherited(making, set, item, visited);
	}
}

/* ---- Engines. ---- */

static void read_engine(struct making *making, struct json_place place)
{
	struct config *config = making->config;

	config->engines[config->engines_count++] = (struct config_engine){
		.name = member_or(making, place, "name", "docker"),
		.socket = member_or(making, place, "socket", "/run/docker.sock"),
		.plugin_name = member_or(making, place, "plugin_name", "mayfly"),
		.exec_root = member_or(making, place, "exec_root", "/run/docker"),
	};
}

/* No two engines may share what tells them apart: a request on one's plugin socket is believed to
 * be about its containers. */
static void check_engine(struct making *making, struct json_place place, const char *key)
{
	const struct config *config = making->config;
	const struct config_engine *mine = &config->engines[config->engines_count - 1];

	for (size_t i = 0; i + 1 < config->engines_count; i++) {
		const struct config_engine *other = &config->engines[i];
		const char *const pairs[][3] = {
			{ "name", mine->name, other->name },
			{ "socket", mine->socket, other->socket },
			{ "plugin_name", mine->plugin_name, other->plugin_name },
		};

		for (size_t k = 0; k < sizeof pairs / sizeof pairs[0]; k++)
			if (strcmp(pairs[k][0], key) == 0 && strcmp(pairs[k][1], pairs[k][2]) == 0)
				complaint_at(making->complaints, place, NULL,
					"two engines have the %s '%s'", key, pairs[k][1]);
	}
}

static void read_engines(struct making *making, struct json_place root)
{
	static const char *const unique[] = { "name", "socket", "plugin_name" };
	struct json_place engines, place;
	struct json_walk walk;

	if (!json_place_member(root, "engines", &engines)) {
		read_engine(making, (struct json_place){ 0 });
		return;
	}
	walk = json_walk_start(engines);
	while (json_walk_next(&walk, &place)) {
		assert(making->config->engines_count < MAYFLY_ENGINES_MAX);
		read_engine(making, place);
		for (size_t i = 0; !making->out_of_memory && i < sizeof unique / sizeof unique[0];
			i++)
			check_engine(making, place, unique[i]);
	}
}

/* ---- The rest. ---- */

static void read_user(struct making *making, struct json_place root)
{
	struct json_place place;
	char number[24];

	if (!json_place_member(root, "user", &place)) {
		making->config->user = copy(making, "mayfly");
		return;
	}
	if (json_is_integer(place.value)) {
		(void)snprintf(number, sizeof number, "%" JSON_INTEGER_FORMAT,
			json_integer_value(place.value));
		making->config->user = copy(making, number);
		return;
	}
	/* The broker is the process that reads what strangers send. */
	if (strcmp(json_string_value(place.value), "root") == 0)
		complaint_at(making->complaints, place, NULL,
			"the broker never runs as root: name a user of its own");
	making->config->user = copy(making, json_string_value(place.value));
}

static unsigned number_or(struct json_place object, const char *key, unsigned otherwise)
{
	json_t *value = json_object_get(object.value, key);

	return value ? (unsigned)json_integer_value(value) : otherwise;
}

static struct config_container_socket read_container_socket(struct json_place root)
{
	struct json_place place = { 0 };

	(void)json_place_member(root, "container_socket", &place);
	return (struct config_container_socket){
		.connections = number_or(place, "connections", 64),
		.requests_per_second = number_or(place, "requests_per_second", 1000),
		.waits = number_or(place, "waits", 16),
	};
}

static void read_config(struct making *making, struct json_place root)
{
	struct json_place sets;
	const bool has_sets = json_place_member(root, "sets", &sets);

	if (has_sets)
		read_sets(making, sets);
	read_environment(making, root);
	if (has_sets && !making->out_of_memory)
		check_inheritance(making, sets);
	read_engines(making, root);
	read_user(making, root);
	making->config->operator_group = member_or(making, root, "operator_group", "mayfly");
	making->config->container_socket = read_container_socket(root);
	making->config->allow_reveal = json_is_true(json_object_get(root.value, "allow_reveal"));
}

int config_parse(const char *file, const char *text, size_t length, struct config **ret_config,
	struct complaints *complaints)
{
	MAYFLY_CLEANUP(json_schema_free_p) struct json_schema *schema = NULL;
	MAYFLY_CLEANUP(config_free_p) struct config *config = calloc(1, sizeof *config);
	struct making making = { .config = config, .complaints = complaints };
	const size_t before = complaints->count;
	AUTO_DOCUMENT document = { 0 };
	int r;

	if (!config)
		return -ENOMEM;
	r = json_schema_new(&mayflyd_schema, &schema);
	if (r < 0)
		return r;
	r = json_document_parse(file, text, length, &document, complaints);
	if (r < 0)
		return r;
	if (!json_schema_check(schema, &document, complaints))
		return -EINVAL;
	read_config(&making, json_document_root(&document));
	if (making.out_of_memory)
		return -ENOMEM;
	if (complaints->count > before)
		return -EINVAL;
	*ret_config = ptr_take(&config);
	return 0;
}

void config_free(struct config *config)
{
	if (!config)
		return;
	for (size_t i = 0; i < config->sets_count; i++) {
		for (size_t k = 0; k < config->sets[i].inherits_count; k++)
			free(config->sets[i].inherits[k]);
		free(config->sets[i].inherits);
		config_vault_unref(config->sets[i].vault);
		free(config->sets[i].name);
	}
	free(config->sets);
	for (size_t i = 0; i < config->engines_count; i++) {
		free(config->engines[i].name);
		free(config->engines[i].socket);
		free(config->engines[i].plugin_name);
		free(config->engines[i].exec_root);
	}
	free(config->environment);
	free(config->operator_group);
	free(config->user);
	free(config);
}

const struct config_set *config_set_find(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->sets_count; i++)
		if (strcmp(config->sets[i].name, name) == 0)
			return &config->sets[i];
	return NULL;
}

const struct config_vault *config_set_of_server(const struct config *config, const char *name)
{
	const struct config_set *set = config_set_find(config, name);

	return set ? set->vault : NULL;
}
