/* Calls of a secrets server over HTTPS: libcurl does HTTP and TLS, the loop does the waiting. What a
 * call sends and gets may be secret: bodies lie in the arena, copies of libcurl's and OpenSSL's are
 * overwritten (wiping_memory.h).
 * Never follows a redirect, asks no proxy, reads no .netrc, speaks HTTP/1.1 and TLS 1.2 or later.
 * Callbacks come from the loop, never from within a function of this header, and may start and
 * cancel calls. Loop thread only. Does not block, but for the reading of certificates and the
 * handshake's arithmetic (about 1 to 2 ms a connection). */
#pragma once

#include "proto/error.h"
#include "proto/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct https_client;
struct https_call;

#define HTTPS_ANSWER_MAX_BYTES ((size_t)2 * 1024 * 1024)
#define HTTPS_LOCATION_SIZE    512

/* Whom to believe and what to show. Strings are borrowed by the client for its life. */
struct https_trust {
	const char *ca_file;   /* NULL: the host's own list of authorities */
	const char *cert_file; /* NULL: none is shown */
	const char *key_file;  /* NULL: it is in cert_file */
};

struct https_answer {
	int error;	     /* 0 or a negative errno: -ETIMEDOUT, -ECONNREFUSED, -EHOSTUNREACH (no
			    such name), -ECONNRESET, -EKEYREJECTED (TLS), -EFBIG, -ENOMEM */
	const char *why;     /* words for the error; valid during the callback, as all of this */
	bool was_sent;	     /* the request may have reached the server */
	long status;	     /* 0 while no answer has come */
	struct secret *body; /* of body_length bytes; the callee may secret_take() it */
	size_t body_length;
	uint32_t retry_after_s;		    /* 0: the server said nothing of it */
	char location[HTTPS_LOCATION_SIZE]; /* of a redirect, or "" */
};

struct https_request {
	const char *method;	    /* "GET" */
	const char *url;	    /* copied */
	const char *name_space;	    /* X-Vault-Namespace, or NULL */
	const struct secret *token; /* X-Vault-Token, or NULL; read before the function returns */
	struct secret *body;	    /* taken over; NULL or empty: none */
	uint32_t timeout_ms, connect_timeout_ms;
	/* On a connection of its own: libcurl sends a request a second time by itself when a
	 * connection that was used before ends without an answer. */
	bool is_once;
	void *context;
	/* The end, whatever it is. The call is gone afterwards. */
	void (*on_done)(void *context, struct https_answer *answer);
};

/* Returns 0 or a negative errno. ARENA holds what is received. */
int https_client_new(uv_loop_t *loop, struct arena *arena, const struct https_trust *trust,
	struct https_client **ret_client, struct mayfly_error *err);

/* Cancels every call without callbacks. NULL is fine. The memory is freed by the loop. */
void https_client_close(struct https_client *client);

/* *RET_CALL is valid until on_done() or the cancel. Returns 0 or a negative errno; the body is taken
 * either way. */
int https_call_start(struct https_client *client, const struct https_request *request,
	struct https_call **ret_call, struct mayfly_error *err);

/* No callback follows. */
void https_call_cancel(struct https_call *call);
