/* mayflyd.json as a struct. Read whole, checked whole, then used: never a half.
 * Knows nothing of policy; reads files, writes none. */
#pragma once

#include "daemon/broker/config/complaint.h"
#include "daemon/broker/config/config_vault.h"
#include "include/mayfly/limits.h"
#include "proto/error.h"

#include <stdbool.h>
#include <sys/types.h>

enum set_provider { SET_PROVIDER_INVALID = 0, SET_PROVIDER_STORE, SET_PROVIDER_VAULT };

struct config_set {
	char *name;
	enum set_provider provider;
	struct config_vault *vault; /* of provider vault, else NULL */
	char **inherits; /* names of other sets, in order of search; checked: known, no circle */
	size_t inherits_count;
};

struct config_engine {
	char *name;	   /* default "docker" */
	char *socket;	   /* default "/run/docker.sock"; below no --root: it is not ours */
	char *plugin_name; /* default "mayfly" */
	char *exec_root;   /* dockerd --exec-root, default "/run/docker" */
};

/* Of one container, and of one user of the host outside of containers. */
struct config_container_socket {
	unsigned connections;	      /* default 64 */
	unsigned requests_per_second; /* default 1000; bursts of twice as many */
	unsigned waits;		      /* default 16 */
};

struct config {
	char *environment; /* the set that a grant without `set` means; NULL: not chosen yet */
	struct config_set *sets;
	size_t sets_count;
	struct config_engine engines[MAYFLY_ENGINES_MAX]; /* at least one: the default */
	size_t engines_count;
	char *operator_group; /* default "mayfly"; need not exist: then only root */
	char *user;	      /* default "mayfly"; a name, or a number as text */
	bool allow_reveal;    /* default false */
	struct config_container_socket container_socket;
};

/* Reads ROOT/etc/mayfly/mayflyd.json ("" is the real root). A file that is not there is an empty
 * one. A set `environment` names need not be listed: it then has the provider `store`.
 * On success the caller owns *RET_CONFIG until config_free(). Blocks on file reads.
 * Returns 0; -EINVAL with COMPLAINTS filled; another negative errno when the file cannot be read.
 */
int config_load(const char *root, struct config **ret_config, struct complaints *complaints,
	struct mayfly_error *err);

/* The same from TEXT of LENGTH bytes, called FILE in complaints. Does no I/O. */
int config_parse(const char *file, const char *text, size_t length, struct config **ret_config,
	struct complaints *complaints);

void config_free(struct config *config);

/* NULL when there is no such set; the first one, also when it is none of provider `vault`. */
const struct config_vault *config_set_of_server(const struct config *config, const char *name);
const struct config_set *config_set_find(const struct config *config, const char *name);
