#include "client/lib/identity.h"

#include "client/lib/wire/failure.h"

#include <stdlib.h>
#include <string.h>

/* The reply is kept whole: everything that is asked for stands in its text. */
struct mayfly_identity {
	struct reply reply;
	const struct json_node *grants, *facts;
};

static const char *fact_text(const struct mayfly_identity *identity, size_t index, const char *name)
{
	const struct json_tree *tree = &identity->reply.tree;

	return json_node_text(
		json_tree_member(tree, json_tree_item(tree, identity->facts, index), name));
}

/* Finds the parts of IDENTITY. Returns what is wrong, or NULL. */
static const char *find_parts(struct mayfly_identity *identity)
{
	const struct reply *reply = &identity->reply;

	identity->grants = json_tree_member(&reply->tree, reply->parameters, "grants");
	identity->facts = json_tree_member(&reply->tree, reply->parameters, "facts");
	if (!reply_text(reply, "container") || !reply_text(reply, "container_id") ||
		!reply_text(reply, "engine"))
		return "container";
	if (!identity->grants || identity->grants->kind != NODE_ARRAY)
		return "list of grants";
	if (!identity->facts || identity->facts->kind != NODE_ARRAY)
		return "list of facts";
	for (size_t i = 0; i < identity->grants->count; i++)
		if (!mayfly_identity_grant(identity, i))
			return "grant";
	for (size_t i = 0; i < identity->facts->count; i++)
		if (!fact_text(identity, i, "fact") || !fact_text(identity, i, "value") ||
			!fact_text(identity, i, "known_by"))
			return "fact";
	return NULL;
}

enum mayfly_status identity_read(
	struct reply *reply, struct mayfly_identity **ret_identity, struct mayfly_failure *failure)
{
	struct mayfly_identity *identity = calloc(1, sizeof *identity);
	const char *wrong;

	if (!identity)
		return failure_no_memory(failure);
	identity->reply = reply_take(reply);
	wrong = find_parts(identity);
	if (wrong) {
		mayfly_identity_free(identity);
		return reply_lacks("WhoAmI", wrong, failure);
	}
	*ret_identity = identity;
	return MAYFLY_OK;
}

void mayfly_identity_free(struct mayfly_identity *identity)
{
	if (!identity)
		return;
	reply_done(&identity->reply);
	free(identity);
}

const char *mayfly_identity_container(const struct mayfly_identity *identity)
{
	return reply_text(&identity->reply, "container");
}

const char *mayfly_identity_container_id(const struct mayfly_identity *identity)
{
	return reply_text(&identity->reply, "container_id");
}

const char *mayfly_identity_engine(const struct mayfly_identity *identity)
{
	return reply_text(&identity->reply, "engine");
}

size_t mayfly_identity_grant_count(const struct mayfly_identity *identity)
{
	return identity->grants->count;
}

const char *mayfly_identity_grant(const struct mayfly_identity *identity, size_t index)
{
	return json_node_text(json_tree_item(&identity->reply.tree, identity->grants, index));
}

size_t mayfly_identity_fact_count(const struct mayfly_identity *identity)
{
	return identity->facts->count;
}

const char *mayfly_identity_fact_name(const struct mayfly_identity *identity, size_t index)
{
	return fact_text(identity, index, "fact");
}

const char *mayfly_identity_fact_value(const struct mayfly_identity *identity, size_t index)
{
	return fact_text(identity, index, "value");
}

bool mayfly_identity_fact_is_proved(const struct mayfly_identity *identity, size_t index)
{
	const char *known_by = fact_text(identity, index, "known_by");

	return known_by && strcmp(known_by, "kernel") == 0;
}
