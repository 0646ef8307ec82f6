#include "daemon/broker/provider/set_search.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool has(const struct set_search *search, const char *set)
{
	for (size_t i = 0; i < search->count; i++)
		if (strcmp(search->names[i], set) == 0)
			return true;
	return false;
}

static void add(struct set_search *search, const struct config_set *set)
{
	(void)snprintf(search->names[search->count], sizeof search->names[0], "%s", set->name);
	search->providers[search->count++] = set->provider;
}

/* Real recursion: inheritance is a graph without circles (checked when the configuration was read),
 * and a set that is reached on two ways counts where it is reached first. */
static int add_with_inherited(
	const struct config *config, const char *name, struct set_search *search)
{
	const struct config_set *set = config_set_find(config, name);
	int r = 0;

	if (!set)
		return -ENOENT;
	if (has(search, name))
		return 0;
	if (search->count == SET_SEARCH_MAX)
		return -E2BIG;
	add(search, set);
	for (size_t i = 0; i < set->inherits_count && r == 0; i++)
		r = add_with_inherited(config, set->inherits[i], search);
	return r;
}

int set_search_make(const struct config *config, const char *set, struct set_search *ret_search)
{
	struct set_search search = { 0 };
	const int r = add_with_inherited(config, set, &search);

	if (r == 0)
		*ret_search = search;
	return r;
}

void set_search_make_all(const struct config *config, struct set_search *ret_search)
{
	ret_search->count = 0;
	for (size_t i = 0; i < config->sets_count && i < SET_SEARCH_MAX; i++)
		add(ret_search, &config->sets[i]);
}
