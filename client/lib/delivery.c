#include "client/lib/delivery.h"

#include "client/lib/rfc3339.h"
#include "client/lib/wire/failure.h"

#include <stdatomic.h>
#include <stdlib.h>

/* The reply is kept whole: everything that is asked for stands in its text. */
struct mayfly_delivery {
	atomic_uint references;
	struct reply reply;
	const struct json_node *node, *files;
	int64_t expires_unix_s;
	bool is_new;
};

static const struct json_node *member(
	const struct mayfly_delivery *delivery, const struct json_node *node, const char *name)
{
	return json_tree_member(&delivery->reply.tree, node, name);
}

static const char *text_of(
	const struct mayfly_delivery *delivery, const struct json_node *node, const char *name)
{
	return json_node_text(member(delivery, node, name));
}

static bool is_count(const struct json_node *node)
{
	return node && node->kind == NODE_INTEGER && node->number >= 0;
}

static bool is_path(const char *text)
{
	return text && text[0] == '/';
}

/* What is wrong with FILE, or NULL. */
static const char *check_file(const struct mayfly_delivery *delivery, const struct json_node *file)
{
	const struct json_node *secrets = member(delivery, file, "secrets");
	const struct json_node *secret;

	if (!is_path(text_of(delivery, file, "path")))
		return "path of a file";
	if (!secrets || secrets->kind != NODE_ARRAY)
		return "list of a file's secrets";
	for (size_t i = 0; (secret = json_tree_item(&delivery->reply.tree, secrets, i)); i++) {
		if (!text_of(delivery, secret, "name"))
			return "name of a secret";
		if (!is_count(member(delivery, secret, "version")))
			return "version of a secret";
	}
	return NULL;
}

/* Finds the parts of DELIVERY. Returns what is wrong, or NULL. */
static const char *find_parts(struct mayfly_delivery *delivery)
{
	const struct json_tree *tree = &delivery->reply.tree;
	const struct json_node *expires, *is_new, *file;
	const char *wrong = NULL;

	delivery->node = member(delivery, delivery->reply.parameters, "delivery");
	delivery->files = member(delivery, delivery->node, "files");
	expires = member(delivery, delivery->node, "expires");
	is_new = member(delivery, delivery->reply.parameters, "is_new");
	delivery->is_new = is_new && is_new->kind == NODE_TRUE;
	if (!text_of(delivery, delivery->node, "lease"))
		return "lease";
	if (!is_path(text_of(delivery, delivery->node, "target")))
		return "target";
	if (!is_count(member(delivery, delivery->node, "generation")))
		return "generation";
	if (expires && !rfc3339_parse(json_node_text(expires), &delivery->expires_unix_s))
		return "time of its end";
	if (!delivery->files || delivery->files->kind != NODE_ARRAY)
		return "list of files";
	for (size_t i = 0; !wrong && (file = json_tree_item(tree, delivery->files, i)); i++)
		wrong = check_file(delivery, file);
	return wrong;
}

enum mayfly_status delivery_read(struct reply *reply, const char *method,
	struct mayfly_delivery **ret_delivery, struct mayfly_failure *failure)
{
	struct mayfly_delivery *delivery = calloc(1, sizeof *delivery);
	const char *wrong;

	if (!delivery)
		return failure_no_memory(failure);
	atomic_init(&delivery->references, 1);
	delivery->reply = reply_take(reply);
	wrong = find_parts(delivery);
	if (wrong) {
		mayfly_delivery_free(delivery);
		return reply_lacks(method, wrong, failure);
	}
	*ret_delivery = delivery;
	return MAYFLY_OK;
}

struct mayfly_delivery *delivery_ref(struct mayfly_delivery *delivery)
{
	atomic_fetch_add_explicit(&delivery->references, 1, memory_order_relaxed);
	return delivery;
}

void mayfly_delivery_free(struct mayfly_delivery *delivery)
{
	if (!delivery ||
		atomic_fetch_sub_explicit(&delivery->references, 1, memory_order_acq_rel) > 1)
		return;
	reply_done(&delivery->reply);
	free(delivery);
}

const char *mayfly_delivery_lease(const struct mayfly_delivery *delivery)
{
	return text_of(delivery, delivery->node, "lease");
}

const char *mayfly_delivery_target(const struct mayfly_delivery *delivery)
{
	return text_of(delivery, delivery->node, "target");
}

uint64_t mayfly_delivery_generation(const struct mayfly_delivery *delivery)
{
	return (uint64_t)member(delivery, delivery->node, "generation")->number;
}

const char *mayfly_delivery_expires(const struct mayfly_delivery *delivery)
{
	return text_of(delivery, delivery->node, "expires");
}

int64_t mayfly_delivery_expires_unix_s(const struct mayfly_delivery *delivery)
{
	return delivery->expires_unix_s;
}

bool mayfly_delivery_is_new(const struct mayfly_delivery *delivery)
{
	return delivery->is_new;
}

size_t mayfly_delivery_file_count(const struct mayfly_delivery *delivery)
{
	return delivery->files->count;
}

static const struct json_node *file_at(const struct mayfly_delivery *delivery, size_t index)
{
	return json_tree_item(&delivery->reply.tree, delivery->files, index);
}

static const struct json_node *secret_at(
	const struct mayfly_delivery *delivery, size_t index, size_t secret_index)
{
	return json_tree_item(&delivery->reply.tree,
		member(delivery, file_at(delivery, index), "secrets"), secret_index);
}

const char *mayfly_delivery_file_path(const struct mayfly_delivery *delivery, size_t index)
{
	return text_of(delivery, file_at(delivery, index), "path");
}

size_t mayfly_delivery_secret_count(const struct mayfly_delivery *delivery, size_t index)
{
	const struct json_node *secrets = member(delivery, file_at(delivery, index), "secrets");

	return secrets ? secrets->count : 0;
}

const char *mayfly_delivery_secret_name(
	const struct mayfly_delivery *delivery, size_t index, size_t secret_index)
{
	return text_of(delivery, secret_at(delivery, index, secret_index), "name");
}

uint64_t mayfly_delivery_secret_version(
	const struct mayfly_delivery *delivery, size_t index, size_t secret_index)
{
	const struct json_node *version =
		member(delivery, secret_at(delivery, index, secret_index), "version");

	return version ? (uint64_t)version->number : 0;
}
