/* One reply of the broker, taken apart. Strict about the protocol, deaf to members that it does not
 * know: a broker may be newer. Does no I/O. */
#pragma once

#include "client/lib/wire/json_tree.h"
#include "include/mayfly/status.h"

#include <stdbool.h>

#define CONTAINER_INTERFACE "org.mayfly.Container"

/* Owns its text; all zero is empty. */
struct reply {
	char *text;
	struct json_tree tree;
	const struct json_node *parameters; /* an object, or NULL */
	const char *error;		    /* its full name; NULL: none */
	bool is_continued;		    /* more replies follow */
};

/* Takes TEXT of LENGTH bytes, which was malloc()ed with a byte behind it, whatever is returned.
 * MAYFLY_BAD_REPLY or MAYFLY_NO_MEMORY, in FAILURE too. Ready for a fuzzer: any bytes will do. */
enum mayfly_status reply_read(
	char *text, size_t length, struct reply *ret_reply, struct mayfly_failure *failure);
void reply_done(struct reply *reply);
/* Moves the contents out of *REPLY, which is empty then. */
struct reply reply_take(struct reply *reply);

/* True if REPLY is the error NAME of our interface. */
bool reply_is_error(const struct reply *reply, const char *name);

/* The parameters' member NAME as text, or NULL; as a whole number, or FALLBACK. */
const char *reply_text(const struct reply *reply, const char *name);
int64_t reply_number(const struct reply *reply, const char *name, int64_t fallback);

/* What the error of REPLY, which has one, is to the caller of METHOD; in FAILURE too. */
enum mayfly_status reply_failure(
	const struct reply *reply, const char *method, struct mayfly_failure *failure);

/* MAYFLY_BAD_REPLY: the reply to METHOD has no valid WHAT. */
enum mayfly_status reply_lacks(
	const char *method, const char *what, struct mayfly_failure *failure);
