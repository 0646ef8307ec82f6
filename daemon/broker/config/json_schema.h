/* Enforces a JSON Schema (draft 2020-12) on a document, with a complaint for everything that breaks
 * it. Knows exactly the keywords that our published schemas use; a keyword that it does not know is
 * an assertion when the schema is read, so the published file never promises more than is enforced.
 *
 * Keywords: type, enum, const (strings and booleans), minLength, maxLength, pattern (what POSIX
 * extended and ECMA expressions have in common), minimum, maximum, minItems, maxItems, uniqueItems,
 * items, required, maxProperties, properties, patternProperties, propertyNames,
 * additionalProperties, if with then and else, $ref to #/$defs/NAME, $defs. `title` is the noun
 * that complaints use ("a set's name: a small letter, then ..."); description, default, $schema and
 * $id bind nothing. Narrower than the draft in one thing: 1.0 is no integer. */
#pragma once

#include "daemon/broker/config/json_position.h"
#include "daemon/broker/config/schema_text.h"

struct json_schema;

/* Reads a schema of ours. The caller owns *RET_SCHEMA until json_schema_free(). A schema that is
 * wrong is a mistake in our tree: it ends the process. Returns 0 or -ENOMEM. */
int json_schema_new(const struct schema_text *text, struct json_schema **ret_schema);
void json_schema_free(struct json_schema *schema); /* NULL is fine */

/* Adds a complaint for everything in DOCUMENT that breaks SCHEMA. True when there was nothing. */
bool json_schema_check(const struct json_schema *schema, const struct json_document *document,
	struct complaints *complaints);

static inline void json_schema_free_p(struct json_schema **schema)
{
	json_schema_free(*schema);
	*schema = NULL;
}
