/* Reads JSON where it lies, for answers that hold secrets: nothing is copied but by
 * json_slice_decode(), into memory of the caller's choice. Strict (RFC 8259, valid UTF-8, no
 * surrogate alone, no byte behind the end). Pure; no allocation; recursion is bounded.
 *
 * A slice is the text of one value inside a document that json_slice_check() has passed; it is
 * valid as long as the document's bytes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct json_slice {
	const char *text;
	size_t length;
};

enum json_slice_kind {
	JSON_SLICE_NONE = 0,
	JSON_SLICE_OBJECT,
	JSON_SLICE_ARRAY,
	JSON_SLICE_STRING,
	JSON_SLICE_NUMBER,
	JSON_SLICE_TRUE,
	JSON_SLICE_FALSE,
	JSON_SLICE_NULL,
};

#define JSON_SLICE_DEPTH_MAX 32

/* Whether TEXT is one JSON value, nested at most JSON_SLICE_DEPTH_MAX deep. Returns 0 and the value
 * without the white space around it, or -EBADMSG. */
int json_slice_check(const char *text, size_t length, struct json_slice *ret_document);

enum json_slice_kind json_slice_kind(struct json_slice slice);

/* The value of KEY in OBJECT. False when OBJECT is none, or has no such key or has it twice. */
bool json_slice_member(struct json_slice object, const char *key, struct json_slice *ret_value);
/* The same through objects in objects: "data", "metadata", NULL. */
bool json_slice_path(
	struct json_slice object, const char *const *keys, struct json_slice *ret_value);

/* How many members OBJECT or items ARRAY has. */
size_t json_slice_count(struct json_slice object_or_array);
/* Item INDEX of ARRAY; false beyond its end. */
bool json_slice_item(struct json_slice array, size_t index, struct json_slice *ret_value);

/* The bytes of a string, without quotes and escapes. INTO NULL only counts; otherwise it has room
 * for what was counted. Returns their number, or -EINVAL for what is no string. */
ssize_t json_slice_decode(struct json_slice string, char *into);
/* The same as text with an end, for what is no secret. False when it is no string, has a zero byte
 * or does not fit. */
bool json_slice_text(struct json_slice string, char *buffer, size_t size);

/* A number without fraction that fits. */
bool json_slice_integer(struct json_slice number, int64_t *ret_value);
