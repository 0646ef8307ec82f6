/* JSON (RFC 8259) in: strict and bounded, as a tree of nodes over the text, which is decoded in
 * place. Stricter than the RFC where a reader could be fooled: no name twice in an object, no NUL
 * and no half surrogate in a string. Does no I/O. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define JSON_DEPTH_MAX	 16
#define JSON_NODES_MAX	 16384
#define JSON_MEMBERS_MAX 64 /* of one object: names are compared with each other */

enum json_node_kind {
	NODE_NONE = 0,
	NODE_NULL,
	NODE_FALSE,
	NODE_TRUE,
	NODE_INTEGER, /* fits into 64 bits with sign, and has neither fraction nor exponent */
	NODE_NUMBER,  /* any other number; its worth is not kept */
	NODE_STRING,
	NODE_ARRAY,
	NODE_OBJECT,
};

struct json_node {
	enum json_node_kind kind;
	const char *key;      /* of an object's member, else NULL */
	const char *text;     /* NODE_STRING: UTF-8, ends in a NUL */
	int64_t number;	      /* NODE_INTEGER */
	uint32_t count;	      /* of what is inside an array or object */
	uint32_t first, next; /* indexes of nodes; 0: none */
};

struct json_tree {
	struct json_node *nodes; /* the first is the root */
	size_t count, room;
};

/* Reads TEXT of LENGTH bytes, one value and white space around it, and writes over it; TEXT[LENGTH]
 * must be there, and is not looked at. The tree points into TEXT; the caller owns it until
 * json_tree_done(). Returns 0, -EBADMSG for what is no such JSON, -E2BIG beyond a limit above,
 * -ENOMEM. */
int json_tree_read(char *text, size_t length, struct json_tree *ret_tree);
void json_tree_done(struct json_tree *tree);

/* The member NAME of OBJECT, or NULL: also when OBJECT is NULL or no object, or the member null. */
const struct json_node *json_tree_member(
	const struct json_tree *tree, const struct json_node *object, const char *name);

/* The item at INDEX of ARRAY, or NULL: also when ARRAY is NULL or no array. */
const struct json_node *json_tree_item(
	const struct json_tree *tree, const struct json_node *array, size_t index);

/* The text of a NODE_STRING, else NULL. NODE may be NULL. */
const char *json_node_text(const struct json_node *node);
