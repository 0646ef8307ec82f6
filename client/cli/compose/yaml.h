/* YAML in and out, as JSON in memory. libyaml does the syntax; here is only what a plain scalar
 * means. Does no I/O. */
#pragma once

#include "proto/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Reads one document. Plain scalars become null, booleans and whole numbers as in YAML 1.1's core
 * (0440 is octal); everything else is a string. Aliases are shared, not copied; circles, nesting
 * beyond 64 levels and keys that are no scalars are -EBADMSG. The caller owns *RET_JSON. */
int yaml_read(const char *text, size_t length, json_t **ret_json, struct mayfly_error *err);

/* Writes JSON as YAML in block style, below HEADER (comment lines with their newlines, or "").
 * Strings that a reader of YAML 1.1 or 1.2 could take for something else are quoted. With WITH_TAGS
 * an object whose only key begins with '!' is its value under that tag: {"!reset": null}.
 * *RET_TEXT ends in a NUL and is freed by the caller. */
int yaml_write(json_t *json, const char *header, bool with_tags, char **ret_text,
	size_t *ret_length, struct mayfly_error *err);
