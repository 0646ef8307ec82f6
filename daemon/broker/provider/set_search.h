/* Where a name of a set is looked for: in the set itself, then in what it inherits, in order and
 * depth first. Never elsewhere. Pure. */
#pragma once

#include "daemon/broker/config/config.h"

#include <stddef.h>

#define SET_SEARCH_MAX 32

/* Owns its names: a work item may outlive the configuration. */
struct set_search {
	char names[SET_SEARCH_MAX][MAYFLY_SET_NAME_MAX + 1];
	enum set_provider providers[SET_SEARCH_MAX];
	size_t count;
};

/* Returns 0; -ENOENT when CONFIG has no set SET; -E2BIG beyond SET_SEARCH_MAX sets. */
int set_search_make(const struct config *config, const char *set, struct set_search *ret_search);

/* All sets of CONFIG, for "it does exist in ...". At most SET_SEARCH_MAX. */
void set_search_make_all(const struct config *config, struct set_search *ret_search);
