/* The Docker Compose that is installed, and what its `config` can do. */
#pragma once

#include "client/cli/terminal/text.h"
#include "proto/error.h"

#include <jansson.h>
#include <stdbool.h>

/* Needed for `!reset`, without which the original's secrets would stay, and for `--profile "*"`,
 * without which services would be missing. */
#define COMPOSE_NEEDED "2.24.4"

struct compose_command {
	const char *words[2]; /* "docker", "compose", or "docker-compose" and NULL */
	char *version;	      /* as it calls itself */
	bool has_json;	      /* config --format json: Compose 2 */
	bool has_no_interpolate, has_no_env_resolution, has_no_path_resolution, has_no_normalize;
};

/* Finds `docker compose`, else `docker-compose`, by running it. -ENOENT with what to install. */
int compose_command_find(struct compose_command *ret_command, struct mayfly_error *err);
void compose_command_done(struct compose_command *command);

/* As somebody would type it: "docker compose" or "docker-compose". Static. */
const char *compose_command_text(const struct compose_command *command);

/* -EOPNOTSUPP naming the version that is needed, if COMMAND is older. */
int compose_command_require(const struct compose_command *command, struct mayfly_error *err);

/* Which of its knowledge `config` shall use. Variables are never replaced and env files never read
 * where Compose can leave that out: no value of theirs is wanted here. */
struct config_request {
	const struct text_list *options; /* before the command: -f, -p, --profile, ... */
	bool normalize;			 /* names of project and volumes are filled in */
	bool keep_paths;		 /* relative paths stay relative */
};

/* Runs `config` and parses its answer, JSON or YAML. The caller owns *RET_MODEL. When Compose
 * refuses, its words have been printed on standard error. Blocks. */
int compose_config(const struct compose_command *command, const struct config_request *request,
	json_t **ret_model, struct mayfly_error *err);
