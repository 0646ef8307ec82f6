#include "client/lib/wire/reply.h"

#include "client/lib/wire/failure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void reply_done(struct reply *reply)
{
	json_tree_done(&reply->tree);
	free(reply->text);
	*reply = (struct reply){ 0 };
}

struct reply reply_take(struct reply *reply)
{
	const struct reply taken = *reply;

	*reply = (struct reply){ 0 };
	return taken;
}

/* Finds the parts of a message that is JSON. Returns what is wrong, or NULL. */
static const char *find_parts(struct reply *reply)
{
	const struct json_tree *tree = &reply->tree;
	const struct json_node *root = tree->nodes;
	const struct json_node *error = json_tree_member(tree, root, "error");
	const struct json_node *continues = json_tree_member(tree, root, "continues");

	reply->parameters = json_tree_member(tree, root, "parameters");
	reply->error = json_node_text(error);
	reply->is_continued = continues && continues->kind == NODE_TRUE;
	if (root->kind != NODE_OBJECT)
		return "is no object";
	if (error && !reply->error)
		return "has an error that is no text";
	if (reply->parameters && reply->parameters->kind != NODE_OBJECT)
		return "has parameters that are no object";
	if (continues && continues->kind != NODE_TRUE && continues->kind != NODE_FALSE)
		return "has a \"continues\" that is neither true nor false";
	return NULL;
}

enum mayfly_status reply_read(
	char *text, size_t length, struct reply *ret_reply, struct mayfly_failure *failure)
{
	struct reply reply = { .text = text };
	const int r = json_tree_read(text, length, &reply.tree);
	const char *wrong = r == -E2BIG ? "is too large" : r < 0 ? "is no JSON" : NULL;

	if (!wrong)
		wrong = find_parts(&reply);
	if (!wrong) {
		*ret_reply = reply;
		return MAYFLY_OK;
	}
	reply_done(&reply);
	if (r == -ENOMEM)
		return failure_no_memory(failure);
	return failure_set(failure, MAYFLY_BAD_REPLY, "a reply of the broker %s", wrong);
}

bool reply_is_error(const struct reply *reply, const char *name)
{
	const size_t length = strlen(CONTAINER_INTERFACE);

	return reply->error && strncmp(reply->error, CONTAINER_INTERFACE, length) == 0 &&
	       reply->error[length] == '.' && strcmp(reply->error + length + 1, name) == 0;
}

const char *reply_text(const struct reply *reply, const char *name)
{
	return json_node_text(json_tree_member(&reply->tree, reply->parameters, name));
}

int64_t reply_number(const struct reply *reply, const char *name, int64_t fallback)
{
	const struct json_node *node = json_tree_member(&reply->tree, reply->parameters, name);

	return node && node->kind == NODE_INTEGER ? node->number : fallback;
}

/* How long TooMuch asks to wait. */
static uint32_t retry_after(const struct reply *reply)
{
	const int64_t ms = reply_number(reply, "retry_after_ms", 0);

	return ms < 0 ? 0 : ms > UINT32_MAX ? UINT32_MAX : (uint32_t)ms;
}

static enum mayfly_status status_of(const struct reply *reply)
{
	static const struct {
		const char *name;
		enum mayfly_status status;
	} errors[] = {
		{ "NotAttested", MAYFLY_NOT_ATTESTED },
		{ "EchoRequired", MAYFLY_NOT_ATTESTED }, /* again, although it was done */
		{ "Refused", MAYFLY_REFUSED },
		{ "NotYet", MAYFLY_NOT_YET },
		{ "NoTarget", MAYFLY_NO_TARGET },
		{ "NotReleasable", MAYFLY_NOT_RELEASABLE },
		{ "TooMuch", MAYFLY_TOO_MUCH },
	};

	for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
		if (reply_is_error(reply, errors[i].name))
			return errors[i].status;
	return MAYFLY_FAILED;
}

enum mayfly_status reply_failure(
	const struct reply *reply, const char *method, struct mayfly_failure *failure)
{
	const enum mayfly_status status = status_of(reply);
	const char *text = reply_text(reply, "text");
	const char *limit = reply_text(reply, "limit");
	const char *advice = reply_text(reply, "advice");

	if (text)
		(void)failure_set(failure, status, "%s: %s", method, text);
	else if (limit)
		(void)failure_set(failure, status, "%s: too often: %s", method, limit);
	else
		(void)failure_set(failure, status, "%s: %s", method, reply->error);
	if (advice)
		failure_advise(failure, advice);
	if (failure && status == MAYFLY_TOO_MUCH)
		failure->retry_after_ms = retry_after(reply);
	return status;
}

enum mayfly_status reply_lacks(const char *method, const char *what, struct mayfly_failure *failure)
{
	return failure_set(
		failure, MAYFLY_BAD_REPLY, "%s: the broker's reply has no valid %s", method, what);
}
