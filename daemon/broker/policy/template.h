/* Templates: one file made of text and of the values of several secrets, as `{{NAME}}`,
 * `{{NAME|url}}`, `{{NAME|json}}` and `{{NAME|base64}}`. No logic, and no other meaning of two
 * opening braces. Rendered bytes live only in a `struct secret`. Does no I/O. */
#pragma once

#include "daemon/broker/policy/policy.h"
#include "proto/secret.h"

/* A piece of a template's text as it is read; nothing is copied. */
struct template_piece {
	const char *text; /* a literal, or the secret's name */
	size_t length;
	bool is_secret;
	enum template_filter filter; /* of a secret */
};

/* Reads the piece that starts at *AT, inside TEXT, and moves *AT behind it. A secret's name has not
 * been checked against secret_name_check().
 * Returns 1; 0 at the end; -EINVAL with what is wrong at which character in ERR and, when a filter
 * is misspelt, the nearest in *RET_NEAREST (else NULL). */
int template_next(const char *text, const char **at, struct template_piece *ret_piece,
	const char **ret_nearest, struct mayfly_error *err);

/* The value of secret NAME, borrowed until template_render() returns; NULL when there is none. */
typedef const struct secret *template_lookup(void *context, const char *name);

/* Renders ENTRY, a template, into *RET_VALUE of ARENA, which the caller owns. LOOKUP is asked twice
 * for each value and must answer the same. Does not block.
 * Returns 0; -ENOENT naming the secret that LOOKUP does not know; -EILSEQ for a value that is not
 * UTF-8 where `|json` needs that; -EFBIG above MAYFLY_VALUE_MAX_BYTES; -ENOMEM. */
int template_render(const struct policy_entry *entry, template_lookup *lookup, void *context,
	struct arena *arena, struct secret *ret_value, struct mayfly_error *err);
