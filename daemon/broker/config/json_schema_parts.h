/* What reading a schema leaves for checking with it. Private to json_schema.c and
 * json_schema_check.c. */
#pragma once

#include "daemon/broker/config/json_schema.h"

#include <regex.h>

struct compiled_pattern {
	const char *text; /* borrowed from the schema */
	regex_t expression;
};

struct json_schema {
	json_t *root;
	struct compiled_pattern *patterns;
	size_t patterns_count;
};

#define JSON_SCHEMA_WORDS_MAX 64 /* keys of one object, values of one enum */

/* A JSON type for people: "object" is "an object". "real" is a number with a fraction, which no key
 * takes. NULL for another word. */
const char *json_type_in_words(const char *type);

/* What REFERENCE ("#/$defs/NAME") means; NULL when there is no such thing. */
json_t *json_schema_resolve(const struct json_schema *schema, const char *reference);

/* Does TEXT match PATTERN, one of those that stand in SCHEMA? */
bool json_schema_matches(const struct json_schema *schema, const char *pattern, const char *text);
