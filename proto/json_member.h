/* Members of JSON objects that may be absent. Nothing is allocated; OBJECT may be NULL. */
#pragma once

#include <jansson.h>

/* Member NAME of OBJECT as text, borrowed; "" when it is absent or no text. */
__attribute__((returns_nonnull)) static inline const char *json_text(
	const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* The same as a number; 0 when it is absent or none. */
static inline json_int_t json_number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}
