/* Changes of ROOT/etc/mayfly/mayflyd.json: written, then the broker reads it again; if it refuses,
 * the old file is put back. */
#pragma once

#include "client/cli/cli.h"

#include <jansson.h>

/* Opens the file, lets CHANGE work on its object, writes it if CHANGE returns 1 (0: nothing to
 * change), asks the broker to reload and prints what needs a restart. CHANGE returns a negative
 * errno with ERR to stop. Returns 0 or a negative errno. */
int config_edit(struct cli *cli,
	int (*change)(json_t *config, void *data, struct mayfly_error *err), void *data,
	struct mayfly_error *err);

/* The environment that the file names, "" if none or if it cannot be read. The caller frees it. */
char *config_environment(const char *root);

/* The driver name that this host's engine knows us by: `plugin_name` of the first engine in the
 * file, else "mayfly". The caller frees it. */
char *config_plugin_name(const char *root);

/* Asks the broker to read configuration and policy again; prints what needs a restart. */
int config_reload(struct cli *cli, json_t **ret_reply, struct mayfly_error *err);
