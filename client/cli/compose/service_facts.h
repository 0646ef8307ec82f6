/* What a grant needs to know about one service of a compose file. */
#pragma once

#include "client/cli/policy/file_spec.h"
#include "client/cli/terminal/text.h"
#include "proto/error.h"

struct service_facts {
	char *project;
	char *user;		   /* as the file has it; "" when it says nothing */
	struct file_spec *secrets; /* by its `secrets:` or the volumes of our driver */
	size_t secrets_count;
	const char *compose; /* the Compose that has read the file, as somebody would type it */
	bool compose_is_old; /* cannot do what `mayfly compose` and `compose convert` need */
	bool has_secrets; /* ordinary `secrets:`: they need `mayfly compose` or `compose convert` */
	bool has_volume;  /* mounts a volume of our driver already */
};

void service_facts_done(struct service_facts *facts);

/* Reads SERVICE of FILE as the installed Compose resolves it. PROJECT (NULL: Compose's own choice)
 * is its --project-name. DRIVER is our volume driver's name. Blocks.
 * Returns 0; -ENOENT with the nearest service; -EINVAL; another negative errno. */
int service_facts_read(const char *file, const char *service, const char *project,
	const char *driver, struct service_facts *ret_facts, struct mayfly_error *err);

/* The same from MODEL, what Compose's `config` printed. */
int service_facts_of_model(json_t *model, const char *service, const char *driver,
	struct service_facts *ret_facts, struct mayfly_error *err);

/* The project that Compose 1 takes from the directory of FILE: its name in small letters, without
 * what is no letter, digit, '-' or '_'. The caller frees it. */
char *project_of_directory(const char *file);
