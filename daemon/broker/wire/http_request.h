/* HTTP/1.1 requests as container engines send them to a volume plugin (RFC 9112, the part that Go's
 * and curl's clients use): a request line, header fields, a body of Content-Length bytes. Chunked
 * bodies are refused. Takes bytes apart; does no I/O. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define HTTP_HEAD_MAX_BYTES (16 * 1024)
#define HTTP_BODY_MAX_BYTES (64 * 1024)

struct http_request {
	char method[8];
	char path[128];
	const char *body; /* points into the buffer */
	size_t body_length;
	size_t length; /* of the whole request in the buffer: what follows is the next one
			  (pipelining) */
	bool keep_alive;
	bool expects_continue; /* "Expect: 100-continue", and the body is not there yet */
};

/* Looks for one request at the start of BUFFER.
 * Returns 0 with *RET_REQUEST; -EAGAIN when it is not all there (ret_request->expects_continue may
 * be set); or an HTTP status, as a negative number, with which to answer before closing: -400
 * malformed, -411 no length, -413 body too large, -414/-431 head too large, -501 a transfer
 * encoding, -505 another version. */
int http_request_parse(const char *buffer, size_t length, struct http_request *ret_request);

/* "Bad Request" for 400, and so on; "Error" for what is not known. */
const char *http_status_text(int status);
