/* JSON files as people keep them: order of keys stays, 2 spaces, a final newline.
 * Does no I/O. */
#pragma once

#include "proto/error.h"

#include <jansson.h>
#include <stddef.h>

/* Parses TEXT of the file PATH, which must be one object without duplicate keys. NULL text is an
 * empty object. The caller owns *RET_JSON. -EINVAL names the line. */
int json_file_parse(const char *path, const char *text, size_t length, json_t **ret_json,
	struct mayfly_error *err);

/* The text of JSON, which the caller frees; its length without NUL in *RET_LENGTH. */
char *json_file_text(json_t *json, size_t *ret_length);
