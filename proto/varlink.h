/* varlink messages: JSON objects that end in a NUL byte, over a unix stream socket.
 * Source: varlink.org, "Wire protocol"; descriptors beside messages as systemd does it: the JSON
 * names a descriptor by its index among those that came with the message.
 * Builds and takes apart messages; does no I/O. */
#pragma once

#include "proto/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A message carries names and metadata, never values: this is more than any of ours needs. */
#define VARLINK_MESSAGE_MAX_BYTES (256 * 1024)

#define VARLINK_ERROR_INTERFACE_NOT_FOUND    "org.varlink.service.InterfaceNotFound"
#define VARLINK_ERROR_METHOD_NOT_FOUND	     "org.varlink.service.MethodNotFound"
#define VARLINK_ERROR_METHOD_NOT_IMPLEMENTED "org.varlink.service.MethodNotImplemented"
#define VARLINK_ERROR_INVALID_PARAMETER	     "org.varlink.service.InvalidParameter"
#define VARLINK_ERROR_PERMISSION_DENIED	     "org.varlink.service.PermissionDenied"

struct varlink_call {
	json_t *message;    /* owned; the others point into it */
	const char *method; /* "org.mayfly.Operator.Put" */
	json_t *parameters; /* an object, empty if the caller sent none */
	bool more;	    /* the caller wants a stream of replies */
	bool oneway;	    /* the caller wants no reply */
};

struct varlink_reply {
	json_t *message;    /* owned; the others point into it */
	json_t *parameters; /* an object, empty if there were none */
	const char *error;  /* NULL when the call succeeded */
	bool continues;	    /* more replies follow */
};

/* Length of the message at the start of BUFFER without its NUL, or -EAGAIN when it is not all
 * there yet, or -EMSGSIZE when it cannot become a message within the limit. */
ssize_t varlink_message_length(const char *buffer, size_t length);

/* Takes TEXT of LENGTH bytes (without the NUL) apart. Nesting beyond jansson's limit, duplicate
 * keys and anything but an object are -EBADMSG. On success the caller owns *RET_CALL until
 * varlink_call_done(). */
int varlink_call_parse(
	const char *text, size_t length, struct varlink_call *ret_call, struct mayfly_error *err);
void varlink_call_done(struct varlink_call *call);

int varlink_reply_parse(
	const char *text, size_t length, struct varlink_reply *ret_reply, struct mayfly_error *err);
void varlink_reply_done(struct varlink_reply *reply);

/* Encoders. PARAMETERS is borrowed; NULL means an empty object. *RET_TEXT ends in a NUL that counts
 * into *RET_LENGTH, and is freed by the caller with free(). Return 0, -ENOMEM or -EMSGSIZE. */
int varlink_call_encode(
	const char *method, json_t *parameters, bool more, char **ret_text, size_t *ret_length);
int varlink_reply_encode(json_t *parameters, bool continues, char **ret_text, size_t *ret_length);
int varlink_error_encode(
	const char *error, json_t *parameters, char **ret_text, size_t *ret_length);
