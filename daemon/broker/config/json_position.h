/* A JSON text that knows on which line each value stands, for complaints. jansson keeps no lines:
 * a second reading of the same text finds them. Does no I/O.
 *
 * Glossary
 *   document  a text that jansson has accepted, with the line of everything in it
 *   place     one value in a document; a small copyable thing that owns nothing */
#pragma once

#include "daemon/broker/config/complaint.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct json_position {
	unsigned line;
	unsigned key_line; /* of the key before the value; 0: none */
	size_t end;	   /* index of the first position behind this value and all in it */
};

struct json_document {
	const char *file; /* borrowed: what complaints call the text */
	json_t *root;
	struct json_position *positions; /* each value, and behind it what it holds, in order */
	size_t positions_count;
};

struct json_place {
	const struct json_document *document;
	json_t *value;	 /* borrowed from the document */
	const char *key; /* NULL for the root and in an array; valid as long as the document */
	size_t position;
};

/* Reads TEXT of LENGTH bytes. FILE must outlive the document. Two equal keys in one object are an
 * error. The caller owns *RET_DOCUMENT until json_document_done().
 * Returns 0; -EINVAL with one complaint, always with a line; -ENOMEM. */
int json_document_parse(const char *file, const char *text, size_t length,
	struct json_document *ret_document, struct complaints *complaints);

/* The empty value is fine and is what it leaves behind. */
void json_document_done(struct json_document *document);

struct json_place json_document_root(const struct json_document *document);

/* A walk over the members of an object or the items of an array, in the order of the text. A value
 * of another kind has none. */
struct json_walk {
	struct json_place container;
	void *iterator;
	size_t index;
	size_t position;
};

struct json_walk json_walk_start(struct json_place container);
bool json_walk_next(struct json_walk *walk, struct json_place *ret_place);

/* The member KEY of OBJECT. False when there is none. */
bool json_place_member(struct json_place object, const char *key, struct json_place *ret_place);

/* The text of the string member KEY; NULL when there is none or it is no string. */
const char *json_place_text(struct json_place object, const char *key);

unsigned json_place_line(struct json_place place);
/* The line of the place's key; that of the value where there is no key. */
unsigned json_place_key_line(struct json_place place);

/* complaint_add() with the place's file and line. */
void complaint_at(struct complaints *list, struct json_place place, const char *nearest,
	const char *format, ...) MAYFLY_PRINTF(4, 5);

#define AUTO_DOCUMENT __attribute__((cleanup(json_document_done))) struct json_document
