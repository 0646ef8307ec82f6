/* What `mayfly allow` was asked for: a grant as JSON, and what is known beside it. */
#pragma once

#include "client/cli/cli.h"
#include "client/cli/compose/service_facts.h"
#include "client/cli/terminal/text.h"

#include <jansson.h>

struct grant_wish {
	char *name;
	json_t *grant;		  /* a whole grant of that name */
	const char *compose_file; /* NULL: not by --compose */
	const char *service;
	struct service_facts facts; /* of the service, with --compose */
};

/* Reads options and, with --compose, the compose file. CLI_ERROR_USAGE for options that do not
 * fit together. The caller owns *RET_WISH. */
int grant_wish_read(struct cli *cli, struct grant_wish *ret_wish, struct mayfly_error *err);
void grant_wish_done(struct grant_wish *wish);
