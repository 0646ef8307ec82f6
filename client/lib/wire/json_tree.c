#include "client/lib/wire/json_tree.h"

#include "client/lib/wire/utf8.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	char *at, *end;
	struct json_tree tree;
	unsigned depth;
};

static void skip_space(struct reader *r)
{
	while (r->at < r->end && memchr(" \t\n\r", *r->at, 4))
		r->at++;
}

static bool take(struct reader *r, char c)
{
	if (r->at == r->end || *r->at != c)
		return false;
	r->at++;
	return true;
}

static int add_node(struct reader *r, uint32_t *ret_index)
{
	struct json_tree *tree = &r->tree;

	if (tree->count == JSON_NODES_MAX)
		return -E2BIG;
	if (tree->count == tree->room) {
		const size_t room = tree->room ? tree->room * 2 : 64;
		struct json_node *nodes = reallocarray(tree->nodes, room, sizeof *nodes);

		if (!nodes)
			return -ENOMEM;
		tree->nodes = nodes;
		tree->room = room;
	}
	tree->nodes[tree->count] = (struct json_node){ 0 };
	*ret_index = (uint32_t)tree->count++;
	return 0;
}

static int read_hex(struct reader *r, uint32_t *ret_unit)
{
	uint32_t unit = 0;

	if (r->end - r->at < 4)
		return -EBADMSG;
	for (int i = 0; i < 4; i++) {
		const char c = *r->at++;
		const char letter = (char)(c | 0x20);

		if (c >= '0' && c <= '9')
			unit = unit << 4 | (uint32_t)(c - '0');
		else if (letter >= 'a' && letter <= 'f')
			unit = unit << 4 | (uint32_t)(letter - 'a' + 10);
		else
			return -EBADMSG;
	}
	*ret_unit = unit;
	return 0;
}

/* What follows "\u": one unit, or two that make a pair. Six bytes become three at most, twelve
 * four. */
static int read_unicode(struct reader *r, char **out)
{
	uint32_t unit, second;

	if (read_hex(r, &unit) < 0 || unit == 0 || (unit >= 0xdc00 && unit < 0xe000))
		return -EBADMSG;
	if (unit >= 0xd800 && unit < 0xdc00) {
		if (!take(r, '\\') || !take(r, 'u') || read_hex(r, &second) < 0 ||
			second < 0xdc00 || second >= 0xe000)
			return -EBADMSG;
		unit = 0x10000 + ((unit - 0xd800) << 10) + (second - 0xdc00);
	}
	*out += utf8_write(unit, *out);
	return 0;
}

static int read_escape(struct reader *r, char **out)
{
	static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	const char *found;

	if (r->at == r->end)
		return -EBADMSG;
	if (take(r, 'u'))
		return read_unicode(r, out);
	found = memchr(names, *r->at, sizeof names - 1);
	if (!found)
		return -EBADMSG;
	r->at++;
	*(*out)++ = meanings[found - names];
	return 0;
}

/* Behind the opening quote. What is written is never longer than what was read, and the closing
 * quote leaves room for the NUL. */
static int read_string(struct reader *r, const char **ret_text)
{
	char *out = r->at;
	const char *text = out;

	while (r->at < r->end && *r->at != '"') {
		size_t size;

		if ((unsigned char)*r->at < 0x20)
			return -EBADMSG;
		if (take(r, '\\')) {
			const int e = read_escape(r, &out);

			if (e < 0)
				return e;
			continue;
		}
		size = utf8_character(r->at, (size_t)(r->end - r->at));
		if (size == 0)
			return -EBADMSG;
		memmove(out, r->at, size);
		out += size;
		r->at += size;
	}
	if (!take(r, '"'))
		return -EBADMSG;
	*out = '\0';
	*ret_text = text;
	return 0;
}

static size_t skip_digits(struct reader *r)
{
	const char *from = r->at;

	while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
		r->at++;
	return (size_t)(r->at - from);
}

/* Digits without a sign, of which FROM has COUNT. */
static bool digits_to_number(const char *from, size_t count, bool is_negative, int64_t *ret_number)
{
	int64_t number = 0;

	for (size_t i = 0; i < count; i++) {
		const int digit = from[i] - '0';

		if (__builtin_mul_overflow(number, 10, &number) ||
			__builtin_add_overflow(number, is_negative ? -digit : digit, &number))
			return false;
	}
	*ret_number = number;
	return true;
}

static int read_number(struct reader *r, struct json_node *node)
{
	const bool is_negative = take(r, '-');
	const char *digits = r->at;
	const size_t count = skip_digits(r);
	bool is_whole = true;

	if (count == 0 || (count > 1 && digits[0] == '0'))
		return -EBADMSG;
	if (take(r, '.')) {
		is_whole = false;
		if (skip_digits(r) == 0)
			return -EBADMSG;
	}
	if (take(r, 'e') || take(r, 'E')) {
		is_whole = false;
		if (!take(r, '+'))
			(void)take(r, '-'); /* A sign may be missing. */
		if (skip_digits(r) == 0)
			return -EBADMSG;
	}
	node->kind = is_whole && digits_to_number(digits, count, is_negative, &node->number)
			     ? NODE_INTEGER
			     : NODE_NUMBER;
	return 0;
}

static int read_word(struct reader *r, struct json_node *node)
{
	static const struct {
		const char *word;
		enum json_node_kind kind;
	} words[] = { { "null", NODE_NULL }, { "true", NODE_TRUE }, { "false", NODE_FALSE } };

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		const size_t length = strlen(words[i].word);

		if ((size_t)(r->end - r->at) < length || memcmp(r->at, words[i].word, length) != 0)
			continue;
		r->at += length;
		node->kind = words[i].kind;
		return 0;
	}
	return -EBADMSG;
}

static bool has_member(const struct json_tree *tree, uint32_t object, const char *key)
{
	for (uint32_t i = tree->nodes[object].first; i; i = tree->nodes[i].next)
		if (strcmp(tree->nodes[i].key, key) == 0)
			return true;
	return false;
}

/* A member's name with its colon. */
static int read_key(struct reader *r, uint32_t object, const char **ret_key)
{
	int e;

	if (!take(r, '"'))
		return -EBADMSG;
	e = read_string(r, ret_key);
	if (e < 0)
		return e;
	if (r->tree.nodes[object].count == JSON_MEMBERS_MAX)
		return -E2BIG;
	if (has_member(&r->tree, object, *ret_key))
		return -EBADMSG;
	skip_space(r);
	if (!take(r, ':'))
		return -EBADMSG;
	skip_space(r);
	return 0;
}

static int read_value(struct reader *r, const char *key, uint32_t *ret_index);

/* Behind the opening bracket of the node at PARENT. */
static int read_children(struct reader *r, uint32_t parent, char closing)
{
	const bool is_object = closing == '}';
	uint32_t previous = 0;

	skip_space(r);
	if (take(r, closing))
		return 0;
	do {
		const char *key = NULL;
		uint32_t index;
		int e;

		skip_space(r);
		e = is_object ? read_key(r, parent, &key) : 0;
		if (e == 0)
			e = read_value(r, key, &index);
		if (e < 0)
			return e;
		if (previous)
			r->tree.nodes[previous].next = index;
		else
			r->tree.nodes[parent].first = index;
		r->tree.nodes[parent].count++;
		previous = index;
		skip_space(r);
	} while (take(r, ','));
	return take(r, closing) ? 0 : -EBADMSG;
}

static int read_nested(struct reader *r, uint32_t index, enum json_node_kind kind)
{
	int e;

	if (r->depth == JSON_DEPTH_MAX)
		return -E2BIG;
	r->tree.nodes[index].kind = kind;
	r->depth++;
	e = read_children(r, index, kind == NODE_OBJECT ? '}' : ']');
	r->depth--;
	return e;
}

static int read_value(struct reader *r, const char *key, uint32_t *ret_index)
{
	uint32_t index;
	int e = add_node(r, &index);

	if (e < 0)
		return e;
	*ret_index = index;
	r->tree.nodes[index].key = key;
	if (take(r, '{'))
		return read_nested(r, index, NODE_OBJECT);
	if (take(r, '['))
		return read_nested(r, index, NODE_ARRAY);
	if (take(r, '"')) {
		r->tree.nodes[index].kind = NODE_STRING;
		return read_string(r, &r->tree.nodes[index].text);
	}
	if (r->at < r->end && (*r->at == '-' || (*r->at >= '0' && *r->at <= '9')))
		return read_number(r, &r->tree.nodes[index]);
	return read_word(r, &r->tree.nodes[index]);
}

int json_tree_read(char *text, size_t length, struct json_tree *ret_tree)
{
	struct reader r = { .at = text, .end = text + length };
	uint32_t root;
	int e;

	skip_space(&r);
	e = read_value(&r, NULL, &root);
	skip_space(&r);
	if (e == 0 && r.at != r.end)
		e = -EBADMSG;
	if (e < 0) {
		json_tree_done(&r.tree);
		return e;
	}
	*ret_tree = r.tree;
	return 0;
}

void json_tree_done(struct json_tree *tree)
{
	free(tree->nodes);
	*tree = (struct json_tree){ 0 };
}

const struct json_node *json_tree_member(
	const struct json_tree *tree, const struct json_node *object, const char *name)
{
	if (!object || object->kind != NODE_OBJECT)
		return NULL;
	for (uint32_t i = object->first; i; i = tree->nodes[i].next)
		if (strcmp(tree->nodes[i].key, name) == 0)
			return tree->nodes[i].kind == NODE_NULL ? NULL : &tree->nodes[i];
	return NULL;
}

const struct json_node *json_tree_item(
	const struct json_tree *tree, const struct json_node *array, size_t index)
{
	uint32_t i;

	if (!array || array->kind != NODE_ARRAY || index >= array->count)
		return NULL;
	for (i = array->first; index > 0; index--)
		i = tree->nodes[i].next;
	return &tree->nodes[i];
}

const char *json_node_text(const struct json_node *node)
{
	return node && node->kind == NODE_STRING ? node->text : NULL;
}
